"""Teams in memory, and what a key may do together with its team: merged once for each pair, not for each request.

`replace` swaps everything at once, from any thread; what a request looks up meanwhile is of before or of after.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from billing.keys import Key, name_matches
from billing.limits import NO_LIMITS, UNLIMITED, Limit, Limits, limits_of, with_defaults
from billing.rates import Subject
from billing.tag_rules import TagRules, tagged, together

MERGED_MAX: Final = 100_000
# Of one key: models that it named, tags that it sent.
NAMES_MAX: Final = 1000

_NOBODY: Final[tuple[Subject, ...]] = ()


@dataclass(frozen=True, slots=True)
class TeamRules:
    """What a team brings to each of its keys."""

    id: str
    organization_id: str | None = None
    models_allowed: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    tags: Mapping[str, str] = field(default_factory=dict)
    tags_required: tuple[str, ...] = ()
    tags_allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_NO_TEAM: Final = TeamRules("")


class Holder:
    """A key as its team leaves it. `key` has the team's organization where it has none, and both lists of models;
    `own` are the key's limits, those of the configuration where it has none.
    """

    __slots__ = ("_by_model", "_by_tags", "_patterned", "_whole", "key", "own", "source", "tag_rules")

    def __init__(
        self,
        source: Key,
        key: Key,
        own: Limits,
        whole: tuple[Subject, ...],
        patterned: tuple[tuple[str, Subject], ...],
        tag_rules: TagRules | None,
    ) -> None:
        self.source = source
        self.key = key
        self.own = own
        self._whole = whole
        self._patterned = patterned
        self.tag_rules = tag_rules
        self._by_model: dict[str, tuple[Subject, ...]] = {}
        self._by_tags: dict[tuple[str, ...], tuple[str, ...]] = {}

    def subjects(self, names: tuple[str, ...]) -> tuple[Subject, ...]:
        """Every limit that binds a request for a model that goes by these names; none: it is free of them."""
        if not self._patterned:
            return self._whole
        found = self._by_model.get(names[0])
        if found is None:
            matching = (
                subject for pattern, subject in self._patterned if any(name_matches(pattern, name) for name in names)
            )
            found = (*self._whole, *matching)
            if len(self._by_model) >= NAMES_MAX:
                self._by_model.clear()
            self._by_model[names[0]] = found
        return found

    def tagged(self, tags: tuple[str, ...]) -> tuple[str, ...]:
        """The request's tags with those that key and team fix. Raises `TagNotAllowed`."""
        rules = self.tag_rules
        if rules is None:
            return tags
        found = self._by_tags.get(tags)
        if found is None:
            found = tagged(rules, tags)
            if len(self._by_tags) >= NAMES_MAX:
                self._by_tags.clear()
            self._by_tags[tags] = found
        return found


class Tenancy:
    def __init__(
        self,
        teams: Iterable[TeamRules] = (),
        model_limits: Mapping[str, Limit] | None = None,
        defaults: Limit = UNLIMITED,
    ) -> None:
        """`model_limits` are everybody's together, by pattern; `defaults` each key's, where it says nothing."""
        self._defaults = defaults
        self._teams: dict[str, TeamRules] = {}
        self._models: tuple[tuple[str, Subject], ...] = ()
        # By identity: a key is replaced, never changed, and while it rotates two of one id are good.
        self._merged: dict[int, Holder] = {}
        self.replace(teams, model_limits or {})

    def of(self, key: Key) -> Holder:
        found = self._merged.get(id(key))
        return self._merge(key) if found is None else found

    def team(self, team_id: str) -> TeamRules | None:
        return self._teams.get(team_id)

    def replace(self, teams: Iterable[TeamRules], model_limits: Mapping[str, Limit]) -> None:
        """Other teams and limits of models from now on."""
        known = {team.id: team for team in teams}
        models = tuple(
            (pattern, Subject(f"model:{pattern}", f"model `{pattern}`", limit))
            for pattern, limit in sorted(model_limits.items())
            if limit != UNLIMITED
        )
        if known == self._teams and models == self._models:
            return
        self._teams, self._models = known, models
        # Last: what is merged from here on is of the new teams; what was being merged lands in the old mapping.
        self._merged = {}

    def _merge(self, key: Key) -> Holder:
        merged = self._merged
        team = self._teams.get(key.team_id, _NO_TEAM) if key.team_id is not None else _NO_TEAM
        rules = together(
            (team.tags, key.tags), (team.tags_required, key.tags_required), (team.tags_allowed, key.tags_allowed)
        )
        given = limits_of(key.limits)
        own = Limits(with_defaults(given.whole, self._defaults), given.models)
        whole, patterned = [], []
        for name, words, limits in (
            (f"key:{key.id}", f"key `{key.id}`", own),
            (f"team:{team.id}", f"team `{team.id}`", team.limits),
        ):
            if limits.whole != UNLIMITED:
                whole.append(Subject(name, words, limits.whole))
            patterned += [
                (pattern, Subject(f"{name} model:{pattern}", f"model `{pattern}` of {words}", limit))
                for pattern, limit in limits.models
            ]
        effective = replace(
            key, organization_id=key.organization_id or team.organization_id, team_models_allowed=team.models_allowed
        )
        holder = Holder(
            key, effective, own, tuple(whole) or _NOBODY, (*patterned, *self._models), rules if rules.any else None
        )
        if len(merged) >= MERGED_MAX:
            merged.clear()
        # Both are kept by the holder, so that no other key can come to have their identity.
        merged[id(key)] = merged[id(effective)] = holder
        return holder
