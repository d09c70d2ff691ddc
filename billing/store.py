"""The control plane of the books: teams, keys, reports and single requests, synchronous, to be called from threads.

Frozen values leave, never rows. Times, ids and secrets are arguments; a change bumps its row's `version`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from billing import queries
from billing.budget_events import Outbox
from billing.database import open_engine, writing
from billing.holds import EntryKind
from billing.keys import Key, digest
from billing.limits import Limit, limits_of
from billing.migrating import MigrationFailed, behind, migrate
from billing.price import Usage
from billing.price_list import PriceList
from billing.refusals import AlreadyExists, Conflict, Invalid, NotFound, Stale
from billing.request_log import RequestRow, unpack_request
from billing.tenancy import TeamRules
from billing.usage import UsageLine, usage
from billing.usage_span import QUARTER_US, SpanTooLong

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Invalid",
    "MigrationFailed",
    "NotFound",
    "SpanTooLong",
    "Stale",
    "Store",
    "UsageLine",
    "migrate",
]

KEYS_AT_ONCE: Final = 500

_TEAM_RULES: Final = frozenset({"models_allowed", "limits", "tags", "tags_required", "tags_allowed"})
_TEAM_CHANGES: Final = frozenset({"name", "organization_id"}) | _TEAM_RULES
_KEY_CHANGES: Final = frozenset(
    {
        *("name", "team_id", "user_id", "organization_id", "models_allowed", "expires_at_us", "scopes", "limits"),
        *("tags", "tags_required", "tags_allowed"),
    }
)
_IN_JSON: Final = frozenset({"models_allowed", "scopes", "limits", "tags", "tags_required", "tags_allowed"})
_COLUMNS: Final = frozenset({*queries.USAGE_COLUMNS, "day"})
_FILTERS: Final = frozenset(queries.USAGE_COLUMNS.values())
_json: Final = msgspec.json.Encoder()
_texts: Final = msgspec.json.Decoder(tuple[str, ...])
_limits: Final = msgspec.json.Decoder(dict[str, object])
_tags: Final = msgspec.json.Decoder(dict[str, str])
_tags_allowed: Final = msgspec.json.Decoder(dict[str, tuple[str, ...]])


@dataclass(frozen=True, slots=True)
class Team:
    """What it allows and fixes binds each of its keys, beside what the key itself says."""

    id: str
    name: str
    organization_id: str | None
    version: int
    created_at_us: int
    models_allowed: tuple[str, ...] = ()  # none means all
    limits: Mapping[str, object] = field(default_factory=dict)  # `billing.limits` reads it
    tags: Mapping[str, str] = field(default_factory=dict)
    tags_required: tuple[str, ...] = ()
    tags_allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    batch_id: int
    attempt: int
    kind: str
    sequence: int
    debit: str
    credit: str
    amount_nano_usd: int
    usage: Usage
    price_version: str
    at_us: int


@dataclass(frozen=True, slots=True)
class RequestInFull:
    row: RequestRow
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class TeamPage:
    data: tuple[Team, ...]
    has_more: bool
    next: str | None


@dataclass(frozen=True, slots=True)
class KeyPage:
    data: tuple[Key, ...]
    has_more: bool
    next: str | None


@dataclass(frozen=True, slots=True)
class RequestPage:
    data: tuple[RequestRow, ...]
    has_more: bool
    next: str | None


class Store:
    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._reading = open_engine(database_url)
        self._writing = writing(self._reading)
        self.price_list = PriceList(self._reading)
        self.outbox = Outbox(self._reading)

    @property
    def engine(self) -> Engine:
        """For what stands beside the store on the same database."""
        return self._reading

    def migrate(self, to: str = "head") -> tuple[str, ...]:
        return migrate(self._database_url, to)

    def behind(self) -> tuple[str, ...]:
        """The revisions of this release that the database has not."""
        with self._reading.begin() as tx:
            return behind(tx)

    def close(self) -> None:
        self._reading.dispose()

    def control_versions(self) -> dict[str, int]:
        """By room, a number that every change in it raises."""
        with self._reading.begin() as tx:
            return queries.control_versions(tx)

    def key_versions(self) -> dict[str, int]:
        """Of every key that is not revoked, by its id: a ring that holds other versions is out of date."""
        with self._reading.begin() as tx:
            return queries.live_key_versions(tx)

    def keys_of(self, key_ids: Sequence[str]) -> tuple[Key, ...]:
        """Those of the keys that exist, however many are asked for."""
        found: list[Key] = []
        with self._reading.begin() as tx:
            for at in range(0, len(key_ids), KEYS_AT_ONCE):
                found += map(_key, queries.keys_of(tx, key_ids[at : at + KEYS_AT_ONCE]))
        return tuple(found)

    def teams(self, limit: int, after: str | None = None) -> TeamPage:
        with self._reading.begin() as tx:
            found = [_team_of(row) for row in queries.list_teams(tx, limit + 1, after)]
        data, more = tuple(found[:limit]), len(found) > limit
        return TeamPage(data, more, data[-1].id if more else None)

    def team(self, team_id: str) -> Team | None:
        with self._reading.begin() as tx:
            row = queries.get_team(tx, team_id)
        return _team_of(row) if row else None

    def team_names(self) -> dict[str, str]:
        with self._reading.begin() as tx:
            return queries.team_names(tx)

    def team_rules(self) -> tuple[TeamRules, ...]:
        """Of every team there is, as the data plane keeps them."""
        with self._reading.begin() as tx:
            teams = [_team_of(row) for row in queries.live_teams(tx)]
        return tuple(
            TeamRules(
                team.id,
                team.organization_id,
                team.models_allowed,
                limits_of(team.limits),
                team.tags,
                team.tags_required,
                team.tags_allowed,
            )
            for team in teams
        )

    def limits_of_models(self) -> dict[str, Limit]:
        """By pattern, what everybody together may do with the models of that name."""
        with self._reading.begin() as tx:
            found = queries.model_limits(tx)
        return {pattern: limits_of(_limits.decode(document)).whole for pattern, document in found.items()}

    def create_team(
        self,
        team_id: str,
        name: str,
        organization_id: str | None,
        created_at_us: int,
        rules: Mapping[str, object] | None = None,
    ) -> Team:
        """`rules` are the fields of `Team` that bind its keys."""
        _only(rules or {}, _TEAM_RULES)
        team = Team(team_id, name, organization_id, 1, created_at_us, **(rules or {}))  # type: ignore[arg-type]
        try:
            with self._writing.begin() as tx:
                queries.insert_team(tx, _team_values(team))
        except IntegrityError:
            raise AlreadyExists(f"a team {team_id!r} exists or existed: take another id") from None
        return team

    def update_team(self, team_id: str, changes: Mapping[str, object], version: int | None = None) -> Team:
        """With `version`, only if nobody changed it since."""
        _only(changes, _TEAM_CHANGES)
        with self._writing.begin() as tx:
            _team(tx, team_id, version)
            queries.update_team(tx, team_id, {name: _stored(name, value) for name, value in changes.items()})
            return _team(tx, team_id, None)

    def delete_team(self, team_id: str, deleted_at_us: int, version: int | None = None) -> None:
        """Takes it out of every list. Its row stays, for the entries that name it."""
        with self._writing.begin() as tx:
            _team(tx, team_id, version)
            if queries.team_has_live_keys(tx, team_id):
                raise Conflict(f"team {team_id!r} has keys that work: revoke or move them first")
            queries.update_team(tx, team_id, {"deleted_at_us": deleted_at_us})

    def keys(self, limit: int, after: str | None = None, team_id: str | None = None) -> KeyPage:
        with self._reading.begin() as tx:
            found = [_key(row) for row in queries.list_keys(tx, limit + 1, after, team_id)]
        data, more = tuple(found[:limit]), len(found) > limit
        return KeyPage(data, more, data[-1].id if more else None)

    def all_keys(self) -> tuple[Key, ...]:
        """Every key that is not revoked, for the ring."""
        with self._reading.begin() as tx:
            return tuple(_key(row) for row in queries.live_keys(tx))

    def key(self, key_id: str) -> Key | None:
        with self._reading.begin() as tx:
            row = queries.get_key(tx, key_id)
        return _key(row) if row else None

    def create_key(self, key: Key) -> None:
        """Keeps a key that was issued here or brought along. Its secret is not among what is kept."""
        try:
            with self._writing.begin() as tx:
                _demand_new_secret(tx, key.digest, key.id)
                _demand_team(tx, key.team_id)
                queries.insert_key(tx, _key_values(key))
        except IntegrityError:
            raise AlreadyExists(f"a key {key.id!r} exists, with this or another secret: take another id") from None

    def update_key(self, key_id: str, changes: Mapping[str, object], version: int | None = None) -> Key:
        """With `version`, only if nobody changed it since."""
        _only(changes, _KEY_CHANGES)
        with self._writing.begin() as tx:
            key = _live_key(tx, key_id, version)
            if "team_id" in changes:
                _demand_team(tx, changes["team_id"])
            return _changed(tx, key, {name: _stored(name, value) for name, value in changes.items()})

    def revoke_key(self, key_id: str, revoked_at_us: int, version: int | None = None) -> Key:
        """Once and for ever; a second time changes nothing."""
        with self._writing.begin() as tx:
            key = _existing_key(tx, key_id, version)
            return key if key.revoked_at_us is not None else _changed(tx, key, {"revoked_at_us": revoked_at_us})

    def rotate_key(self, key_id: str, secret: str, old_until_us: int, version: int | None = None) -> Key:
        """A new secret under the same id. The one before it goes on until then; one from before that ends now."""
        new = digest(secret.encode())
        with self._writing.begin() as tx:
            key = _live_key(tx, key_id, version)
            _demand_new_secret(tx, new, key_id)
            return _changed(
                tx,
                key,
                {"digest": new, "prefix": prefix_of(secret), "old_digest": key.digest, "old_until_us": old_until_us},
            )

    def requests(self, limit: int, after: str | None = None) -> RequestPage:
        """The last ones, newest first."""
        with self._reading.begin() as tx:
            found = [unpack_request(document) for document in queries.list_requests(tx, limit + 1, after)]
        data, more = tuple(found[:limit]), len(found) > limit
        return RequestPage(data, more, data[-1].request_id if more else None)

    def request(self, request_id: str) -> RequestInFull | None:
        with self._reading.begin() as tx:
            document = queries.get_request(tx, request_id)
            entries = queries.request_entries(tx, request_id) if document is not None else []
        return RequestInFull(unpack_request(document), tuple(map(_entry, entries))) if document is not None else None

    def usage(
        self,
        columns: Sequence[str],
        from_at_us: int | None,
        to_at_us: int | None,
        timezone: str = "UTC",
        filters: Mapping[str, str] | None = None,
    ) -> dict[tuple[str | None, ...], UsageLine]:
        """Sums by team, user, key, model, provider, day or `tag:NAME`; `from` inclusive, `to` exclusive."""
        filters = filters or {}
        _only(dict.fromkeys(name for name in columns if not name.startswith("tag:")), _COLUMNS)
        _only(filters, _FILTERS)
        with self._reading.begin() as tx:
            used = queries.used_span(tx)
            if used is None:
                return {}
            begin, end = used[0] * QUARTER_US, (used[1] + 1) * QUARTER_US
            begin = begin if from_at_us is None else max(begin, from_at_us)
            end = end if to_at_us is None else min(end, to_at_us)
            return usage(tx, columns, (begin, end), ZoneInfo(timezone), filters)


def prefix_of(secret: str) -> str:
    """What lists show of a key of ours: everything before its random part."""
    return secret[: secret.rindex("-")]


def _only(given: Mapping[str, object], known: frozenset[str]) -> None:
    for name in given:
        if name not in known:
            raise Invalid(f"{name!r} is not known here: use {', '.join(sorted(known))}")


def _team_values(team: Team) -> dict[str, object]:
    return {
        "id": team.id,
        "name": team.name,
        "organization_id": team.organization_id,
        "version": team.version,
        "created_at_us": team.created_at_us,
        **{name: _stored(name, getattr(team, name)) for name in _TEAM_RULES},
    }


def _team_of(row: queries.Row) -> Team:
    given = dict(zip(queries.TEAM_COLUMNS, row, strict=True))
    return Team(
        given["id"],
        given["name"],
        given["organization_id"],
        given["version"],
        given["created_at_us"],
        _texts.decode(given["models_allowed"]),
        _limits.decode(given["limits"]),
        _tags.decode(given["tags"]),
        _texts.decode(given["tags_required"]),
        _tags_allowed.decode(given["tags_allowed"]),
    )


def _team(tx: Connection, team_id: str, version: int | None) -> Team:
    row = queries.get_team(tx, team_id, locked=True)
    if row is None:
        raise NotFound(f"no team {team_id!r}: list them to see which there are")
    team = _team_of(row)
    _demand_version(team.version, version)
    return team


def _demand_team(tx: Connection, team_id: object) -> None:
    if team_id is not None:
        _team(tx, str(team_id), None)


def _demand_new_secret(tx: Connection, new: bytes, key_id: str) -> None:
    if queries.digest_taken(tx, new, key_id):
        raise AlreadyExists("another key has this secret: give each key its own")


def _demand_version(present: int, expected: int | None) -> None:
    if expected is not None and expected != present:
        raise Stale(f"version {expected} was changed to {present} since: read it again")


def _existing_key(tx: Connection, key_id: str, version: int | None) -> Key:
    row = queries.get_key(tx, key_id, locked=True)
    if row is None:
        raise NotFound(f"no key {key_id!r}: list them to see which there are")
    key = _key(row)
    _demand_version(key.version, version)
    return key


def _live_key(tx: Connection, key_id: str, version: int | None) -> Key:
    key = _existing_key(tx, key_id, version)
    if key.revoked_at_us is not None:
        raise Conflict(f"key {key_id!r} is revoked, for ever: create another")
    return key


def _changed(tx: Connection, key: Key, values: Mapping[str, object]) -> Key:
    queries.update_key(tx, key.id, values)
    return _existing_key(tx, key.id, None)


def _stored(name: str, value: object) -> object:
    return _json.encode(value).decode() if name in _IN_JSON else value


def _key_values(key: Key) -> dict[str, object]:
    return {name: _stored(name, getattr(key, name)) for name in queries.KEY_COLUMNS}


def _key(row: queries.Row) -> Key:
    given = dict(zip(queries.KEY_COLUMNS, row, strict=True))
    return Key(
        **{
            **given,
            "digest": bytes(given["digest"]),
            "old_digest": None if given["old_digest"] is None else bytes(given["old_digest"]),
            "models_allowed": _texts.decode(given["models_allowed"]),
            "scopes": _texts.decode(given["scopes"]),
            "limits": _limits.decode(given["limits"]),
            "tags": _tags.decode(given["tags"]),
            "tags_required": _texts.decode(given["tags_required"]),
            "tags_allowed": _tags_allowed.decode(given["tags_allowed"]),
        }
    )


def _entry(row: queries.Row) -> Entry:
    entry_id, batch_id, attempt, kind, sequence, debit, credit, amount, *tokens, price_version, at_us = row
    return Entry(
        id=entry_id,
        batch_id=batch_id,
        attempt=attempt,
        kind=EntryKind(kind).name.lower(),
        sequence=sequence,
        debit=debit,
        credit=credit,
        amount_nano_usd=amount,
        usage=Usage(*tokens),
        price_version=price_version,
        at_us=at_us,
    )
