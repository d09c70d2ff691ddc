"""Organizations: what teams and users belong to, and the widest of the scopes that a budget may have."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from billing import queries
from billing.audit import Actor
from billing.changes import TENANCY, Change
from billing.database import writing
from billing.demands import demand_id, demand_known, demand_name, demand_version
from billing.pages import Page, paged
from billing.queries import people as q
from billing.refusals import AlreadyExists, Conflict, NotFound

_CHANGES: Final = frozenset({"name"})


@dataclass(frozen=True, slots=True)
class Organization:
    id: str
    name: str
    version: int
    created_at_us: int


class Organizations:
    def __init__(self, engine: Engine) -> None:
        self._reading = engine
        self._writing = writing(engine)

    def list(self, limit: int, after: str | None = None) -> Page[Organization]:
        with self._reading.begin() as tx:
            found = [_of(row) for row in q.list_organizations(tx, limit + 1, after)]
        return paged(found, limit, lambda one: one.id)

    def get(self, organization_id: str) -> Organization | None:
        with self._reading.begin() as tx:
            row = q.get_organization(tx, organization_id)
        return _of(row) if row else None

    def names(self) -> dict[str, str]:
        """Deleted ones included: reports still name them."""
        with self._reading.begin() as tx:
            return q.organization_names(tx)

    def create(self, organization_id: str, name: str, actor: Actor, now_at_us: int) -> Organization:
        demand_id("organization", organization_id)
        demand_name("organization", name)
        made = Organization(organization_id, name, 1, now_at_us)
        try:
            with self._writing.begin() as tx:
                q.insert_organization(tx, asdict(made))
                change = Change(actor, now_at_us, "organization.create", organization_id)
                change.note(tx, None, _told(made), [TENANCY])
        except IntegrityError:
            raise AlreadyExists(f"an organization {organization_id!r} exists or existed: take another id") from None
        return made

    def update(
        self, organization_id: str, changes: Mapping[str, object], version: int | None, actor: Actor, now_at_us: int
    ) -> Organization:
        """With `version`, only if nobody changed it since. What changes nothing leaves no trace."""
        demand_known(changes, _CHANGES)
        demand_name("organization", str(changes.get("name", "unchanged")))
        with self._writing.begin() as tx:
            before = _demand(tx, organization_id, version)
            if all(getattr(before, name) == value for name, value in changes.items()):
                return before
            q.update_organization(tx, organization_id, changes)
            after = _demand(tx, organization_id, None)
            change = Change(actor, now_at_us, "organization.update", organization_id)
            change.note(tx, _told(before), _told(after), [TENANCY])
            return after

    def delete(self, organization_id: str, version: int | None, actor: Actor, now_at_us: int) -> None:
        """Takes it out of every list. Its row stays, for the reports that name it."""
        with self._writing.begin() as tx:
            before = _demand(tx, organization_id, version)
            inhabitant = q.lives_in(tx, organization_id)
            if inhabitant is not None:
                raise Conflict(f"{inhabitant} is of organization {organization_id!r}: move or delete it first")
            q.update_organization(tx, organization_id, {"deleted_at_us": now_at_us})
            change = Change(actor, now_at_us, "organization.delete", organization_id)
            change.note(tx, _told(before), None, [TENANCY])


def demand_organization(tx: Connection, organization_id: str | None) -> None:
    if organization_id is not None:
        _demand(tx, organization_id, None)


def _demand(tx: Connection, organization_id: str, version: int | None) -> Organization:
    row = q.get_organization(tx, organization_id, locked=True)
    if row is None:
        raise NotFound(f"no organization {organization_id!r}: list them to see which there are")
    found = _of(row)
    demand_version(found.version, version)
    return found


def _of(row: queries.Row) -> Organization:
    return Organization(*row[:4])


def _told(one: Organization) -> dict[str, Any]:
    return {"id": one.id, "name": one.name}
