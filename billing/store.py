"""The control plane of the books: teams, keys, reports and single requests, synchronous, to be called from threads;
what else it keeps hangs below it by name.

Frozen values leave, never rows. Times, ids and secrets are arguments; a change bumps its row's `version`, tells the
audit log by whom it was made and raises the version of its room that every worker watches, all in one transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from billing import queries
from billing.audit import Actor, AuditLog
from billing.budget_events import Outbox, Watch
from billing.budget_store import Budgets
from billing.changes import LIMITS, TENANCY, Change
from billing.database import open_engine, writing
from billing.demands import demand_id, demand_known, demand_name, demand_version
from billing.holds import EntryKind
from billing.idempotency import Idempotency
from billing.keys import Key, digest
from billing.limits import Limit, demand_limits, limits_of
from billing.members import Members
from billing.migrating import MigrationFailed, behind, migrate
from billing.model_limits import ModelLimits
from billing.organizations import Organizations
from billing.pages import Page, paged
from billing.price import Usage
from billing.price_list import PriceList
from billing.queries.corrections import Lease, list_leases
from billing.queries.people import forget_members
from billing.refusals import AlreadyExists, Conflict, Invalid, NotFound, Stale
from billing.request_log import RequestRow, unpack_request
from billing.tenancy import TeamRules
from billing.tenant_rows import (
    TEAM_RULES,
    Team,
    key_of,
    key_told,
    key_values,
    limits_in,
    stored,
    team_of,
    team_told,
    team_values,
)
from billing.usage import UsageLine, usage
from billing.usage_span import QUARTER_US, SpanTooLong
from billing.users import Users

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Invalid",
    "MigrationFailed",
    "NotFound",
    "SpanTooLong",
    "Stale",
    "Store",
    "Team",
    "UsageLine",
    "migrate",
]

KEYS_AT_ONCE: Final = 500

_TEAM_CHANGES: Final = frozenset({"name", "organization_id"}) | TEAM_RULES
_KEY_CHANGES: Final = _TEAM_CHANGES | {"team_id", "user_id", "expires_at_us", "scopes"}
_COLUMNS: Final = frozenset({*queries.USAGE_COLUMNS, "day"})
_FILTERS: Final = frozenset(queries.USAGE_COLUMNS.values())


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


class Store:
    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._reading = open_engine(database_url)
        self._writing = writing(self._reading)
        self.audit = AuditLog(self._reading)
        self.budgets = Budgets(self._reading)
        self.idempotency = Idempotency(self._reading)
        self.members = Members(self._reading)
        self.model_limits = ModelLimits(self._reading)
        self.organizations = Organizations(self._reading)
        self.outbox = Outbox(self._reading)
        self.price_list = PriceList(self._reading)
        self.users = Users(self._reading)
        self.watch: Watch | None = None

    @property
    def engine(self) -> Engine:
        """For what stands beside the store on the same database."""
        return self._reading

    def tell(self, watch: Watch) -> None:
        """Who hears of thresholds that a change of a budget crosses; corrections are given it, too."""
        self.watch = self.budgets.watch = watch

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
                found += map(key_of, queries.keys_of(tx, key_ids[at : at + KEYS_AT_ONCE]))
        return tuple(found)

    def leases(self) -> tuple[Lease, ...]:
        """What workers hold of budgets, each with its account's budget, subject and window."""
        with self._reading.begin() as tx:
            return tuple(list_leases(tx))

    def teams(self, limit: int, after: str | None = None, organization_id: str | None = None) -> Page[Team]:
        with self._reading.begin() as tx:
            found = [team_of(row) for row in queries.list_teams(tx, limit + 1, after, organization_id)]
        return paged(found, limit, lambda team: team.id)

    def team(self, team_id: str) -> Team | None:
        with self._reading.begin() as tx:
            row = queries.get_team(tx, team_id)
        return team_of(row) if row else None

    def team_names(self) -> dict[str, str]:
        with self._reading.begin() as tx:
            return queries.team_names(tx)

    def team_rules(self) -> tuple[TeamRules, ...]:
        """Of every team there is, as the data plane keeps them."""
        with self._reading.begin() as tx:
            teams = [team_of(row) for row in queries.live_teams(tx)]
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
        return {pattern: limits_of(limits_in(document)).whole for pattern, document in found.items()}

    def create_team(
        self,
        team_id: str,
        name: str,
        organization_id: str | None,
        actor: Actor,
        now_at_us: int,
        rules: Mapping[str, object] | None = None,
    ) -> Team:
        """`rules` are the fields of `Team` that bind its keys."""
        demand_known(rules or {}, TEAM_RULES)
        demand_id("team", team_id)
        demand_name("team", name)
        team = Team(team_id, name, organization_id, 1, now_at_us, **(rules or {}))  # type: ignore[arg-type]
        demand_limits(team.limits)
        try:
            with self._writing.begin() as tx:
                queries.insert_team(tx, team_values(team))
                rooms = _rooms_of({"limits"} if team.limits else ())
                Change(actor, now_at_us, "team.create", team_id).note(tx, None, team_told(team), rooms)
        except IntegrityError:
            raise AlreadyExists(f"a team {team_id!r} exists or existed: take another id") from None
        return team

    def update_team(
        self, team_id: str, changes: Mapping[str, object], version: int | None, actor: Actor, now_at_us: int
    ) -> Team:
        """With `version`, only if nobody changed it since. What changes nothing leaves no trace."""
        demand_known(changes, _TEAM_CHANGES)
        _demand_sound("team", changes)
        with self._writing.begin() as tx:
            team = _team(tx, team_id, version)
            values = _news(team, changes)
            if not values:
                return team
            queries.update_team(tx, team_id, values)
            changed = _team(tx, team_id, None)
            change = Change(actor, now_at_us, "team.update", team_id)
            change.note(tx, team_told(team), team_told(changed), _rooms_of(values))
            return changed

    def delete_team(self, team_id: str, version: int | None, actor: Actor, now_at_us: int) -> None:
        """Takes it out of every list, and its members with it. Its row stays, for the entries that name it."""
        with self._writing.begin() as tx:
            team = _team(tx, team_id, version)
            if queries.team_has_live_keys(tx, team_id):
                raise Conflict(f"team {team_id!r} has keys that work: revoke or move them first")
            before = {**team_told(team), "members": forget_members(tx, team_id=team_id)}
            queries.update_team(tx, team_id, {"deleted_at_us": now_at_us})
            rooms = _rooms_of({"limits"} if team.limits else ())
            Change(actor, now_at_us, "team.delete", team_id).note(tx, before, None, rooms)

    def keys(
        self, limit: int, after: str | None = None, team_id: str | None = None, user_id: str | None = None
    ) -> Page[Key]:
        with self._reading.begin() as tx:
            found = [key_of(row) for row in queries.list_keys(tx, limit + 1, after, team_id, user_id)]
        return paged(found, limit, lambda key: key.id)

    def all_keys(self) -> tuple[Key, ...]:
        """Every key that is not revoked, for the ring."""
        with self._reading.begin() as tx:
            return tuple(key_of(row) for row in queries.live_keys(tx))

    def key(self, key_id: str) -> Key | None:
        with self._reading.begin() as tx:
            row = queries.get_key(tx, key_id)
        return key_of(row) if row else None

    def create_key(self, key: Key, actor: Actor, now_at_us: int) -> None:
        """Keeps a key that was issued here or brought along. Its secret is not among what is kept."""
        demand_limits(key.limits)
        try:
            with self._writing.begin() as tx:
                _demand_new_secret(tx, key.digest, key.id)
                _demand_team(tx, key.team_id)
                queries.insert_key(tx, key_values(key))
                rooms = _rooms_of({"limits"} if key.limits else ())
                Change(actor, now_at_us, "key.create", key.id).note(tx, None, key_told(key), rooms)
        except IntegrityError:
            raise AlreadyExists(f"a key {key.id!r} exists, with this or another secret: take another id") from None

    def update_key(
        self, key_id: str, changes: Mapping[str, object], version: int | None, actor: Actor, now_at_us: int
    ) -> Key:
        """With `version`, only if nobody changed it since. What changes nothing leaves no trace."""
        demand_known(changes, _KEY_CHANGES)
        _demand_sound("key", changes)
        with self._writing.begin() as tx:
            key = _live_key(tx, key_id, version)
            if "team_id" in changes:
                _demand_team(tx, changes["team_id"])
            values = _news(key, changes)
            return _changed(tx, key, values, Change(actor, now_at_us, "key.update", key_id)) if values else key

    def revoke_key(self, key_id: str, version: int | None, actor: Actor, now_at_us: int) -> Key:
        """Once and for ever; a second time changes nothing."""
        with self._writing.begin() as tx:
            key = _existing_key(tx, key_id, version)
            if key.revoked_at_us is not None:
                return key
            return _changed(tx, key, {"revoked_at_us": now_at_us}, Change(actor, now_at_us, "key.revoke", key_id))

    def rotate_key(
        self, key_id: str, secret: str, old_until_us: int, version: int | None, actor: Actor, now_at_us: int
    ) -> Key:
        """A new secret under the same id. The one before it goes on until then; one from before that ends now."""
        new = digest(secret.encode())
        with self._writing.begin() as tx:
            key = _live_key(tx, key_id, version)
            _demand_new_secret(tx, new, key_id)
            return _changed(
                tx,
                key,
                {"digest": new, "prefix": prefix_of(secret), "old_digest": key.digest, "old_until_us": old_until_us},
                Change(actor, now_at_us, "key.rotate", key_id),
            )

    def requests(self, limit: int, after: str | None = None) -> Page[RequestRow]:
        """The last ones, newest first."""
        with self._reading.begin() as tx:
            found = [unpack_request(document) for document in queries.list_requests(tx, limit + 1, after)]
        return paged(found, limit, lambda row: row.request_id)

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
        demand_known(dict.fromkeys(name for name in columns if not name.startswith("tag:")), _COLUMNS)
        demand_known(filters, _FILTERS)
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


def _demand_sound(what: str, changes: Mapping[str, object]) -> None:
    if "name" in changes:
        demand_name(what, str(changes["name"]))
    if "limits" in changes:
        demand_limits(changes["limits"])


def _news(before: Team | Key, changes: Mapping[str, object]) -> dict[str, object]:
    """Those of the changes that change something, as they are stored."""
    asked = {name: stored(name, value) for name, value in changes.items()}
    return {name: value for name, value in asked.items() if value != stored(name, getattr(before, name))}


def _rooms_of(names: Collection[str]) -> set[str]:
    """Whose versions rise when these fields change."""
    return {TENANCY, LIMITS} if "limits" in names else {TENANCY}


def _team(tx: Connection, team_id: str, version: int | None) -> Team:
    row = queries.get_team(tx, team_id, locked=True)
    if row is None:
        raise NotFound(f"no team {team_id!r}: list them to see which there are")
    team = team_of(row)
    demand_version(team.version, version)
    return team


def _demand_team(tx: Connection, team_id: object) -> None:
    if team_id is not None:
        _team(tx, str(team_id), None)


def _demand_new_secret(tx: Connection, new: bytes, key_id: str) -> None:
    if queries.digest_taken(tx, new, key_id):
        raise AlreadyExists("another key has this secret: give each key its own")


def _existing_key(tx: Connection, key_id: str, version: int | None) -> Key:
    row = queries.get_key(tx, key_id, locked=True)
    if row is None:
        raise NotFound(f"no key {key_id!r}: list them to see which there are")
    key = key_of(row)
    demand_version(key.version, version)
    return key


def _live_key(tx: Connection, key_id: str, version: int | None) -> Key:
    key = _existing_key(tx, key_id, version)
    if key.revoked_at_us is not None:
        raise Conflict(f"key {key_id!r} is revoked, for ever: create another")
    return key


def _changed(tx: Connection, key: Key, values: Mapping[str, object], change: Change) -> Key:
    queries.update_key(tx, key.id, values)
    changed = _existing_key(tx, key.id, None)
    change.note(tx, key_told(key), key_told(changed), _rooms_of(values))
    return changed


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
