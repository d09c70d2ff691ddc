"""Which budgets bind a charge, and which window of each. Pure: the same charge always names the same accounts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from billing.windows import Window, span

EACH: Final = "*"  # as a scope's id: each of them separately, those first seen later included
SCOPE_TYPES: Final = ("organization", "team", "user", "member", "key", "tag", "model", "end_user", "provider")


@dataclass(frozen=True, slots=True)
class Rule:
    """A budget as far as admission reads it. Without a limit it only watches."""

    id: str
    scope_type: str
    scope_id: str
    scope_team_id: str | None
    limit_nano_usd: int | None
    soft_limit_nano_usd: int | None
    window: Window
    timezone: str
    over_budget: str | None = None


class Dimensions(NamedTuple):
    """Whom and what a charge is for."""

    organization_id: str | None
    team_id: str | None
    user_id: str | None
    key_id: str | None  # None, as the two below: of what was spent before it moved in here
    end_user: str | None
    provider: str | None
    model: str | None
    tags: tuple[str, ...]


class Account(NamedTuple):
    """One budget, one subject of it, one window. `end_us` is None where the window never ends."""

    budget_id: str
    subject: str
    start_us: int
    end_us: int | None


@dataclass(slots=True)
class Rulebook:
    """All budgets, by what they are for: a charge looks up its own scopes and reads no others."""

    rules: tuple[Rule, ...] = ()
    _of: dict[tuple[str, str], list[Rule]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rule in self.rules:
            self._of.setdefault((rule.scope_type, rule.scope_id), []).append(rule)

    def accounts(self, charge: Dimensions, at_us: int) -> tuple[tuple[Rule, Account], ...]:
        """Every account that the charge counts against at that instant."""
        found = []
        for scope_type, names in _scopes_of(charge).items():
            for name, subject in names:
                for rule in self._of.get((scope_type, name), ()):
                    if rule.scope_team_id in (None, charge.team_id):
                        start_us, end_us = span(rule.window, rule.timezone, at_us)
                        found.append((rule, Account(rule.id, subject, start_us, end_us)))
        return tuple(found)


def _scopes_of(charge: Dimensions) -> dict[str, list[tuple[str, str]]]:
    """By scope type: under which id a budget binds this charge, and the subject that it then counts."""
    member = f"{charge.team_id}/{charge.user_id}" if charge.team_id is not None else None
    model = (
        []
        if charge.model is None
        else [
            (charge.model, charge.model),
            (f"{charge.provider}/{charge.model}", f"{charge.provider}/{charge.model}"),
            (EACH, charge.model),
        ]
    )
    return {
        "organization": _named(charge.organization_id),
        "team": _named(charge.team_id),
        "user": _named(charge.user_id),
        "member": _named(charge.user_id, member) if charge.user_id is not None and member is not None else [],
        "key": _named(charge.key_id),
        "tag": list(_tags(charge.tags)),
        "model": model,
        "end_user": _named(charge.end_user),
        "provider": _named(charge.provider),
    }


def _named(name: str | None, subject: str | None = None) -> list[tuple[str, str]]:
    if name is None:
        return []
    return [(name, subject or name), (EACH, subject or name)]


def _tags(tags: Iterable[str]) -> Iterable[tuple[str, str]]:
    """A budget may be one tag's, each value's of a name, or each tag's. A name that comes twice counts once."""
    seen = set()
    for tag in tags:
        name = tag.partition("=")[0]
        if name not in seen:
            seen.add(name)
            yield from ((tag, tag), (f"{name}={EACH}", tag), (EACH, tag))
