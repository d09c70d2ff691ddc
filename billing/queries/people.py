"""Organizations, users and who of them belongs to which team. What is deleted is in no list; its row stays."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, or_, select, update

from billing import tables as t
from billing.queries.rows import Row, first, page

ORGANIZATION_COLUMNS: Final = tuple(t.organizations.c.keys())
USER_COLUMNS: Final = tuple(t.users.c.keys())


def list_organizations(tx: Connection, limit: int, after: str | None) -> list[Row]:
    return _list(tx, t.organizations, limit, after, {})


def get_organization(tx: Connection, organization_id: str, *, locked: bool = False) -> Row | None:
    return _get(tx, t.organizations, organization_id, locked=locked)


def insert_organization(tx: Connection, values: Mapping[str, object]) -> None:
    tx.execute(t.organizations.insert().values(**values))


def update_organization(tx: Connection, organization_id: str, values: Mapping[str, object]) -> None:
    _update(tx, t.organizations, organization_id, values)


def organization_names(tx: Connection) -> dict[str, str]:
    """Deleted ones included: reports still name them."""
    c = t.organizations.c
    return {row.id: row.name for row in tx.execute(select(c.id, c.name))}


def lives_in(tx: Connection, organization_id: str) -> str | None:
    """A live team, user or key of the organization, in words; None when it has none."""
    for what, table, gone in (
        ("team", t.teams, t.teams.c.deleted_at_us),
        ("user", t.users, t.users.c.deleted_at_us),
        ("key", t.keys, t.keys.c.revoked_at_us),
    ):
        of = (table.c.organization_id == organization_id, gone.is_(None))
        found = tx.execute(select(table.c.id).where(*of).limit(1)).scalar_one_or_none()
        if found is not None:
            return f"{what} {found!r}"
    return None


def list_users(tx: Connection, limit: int, after: str | None, filters: Mapping[str, str]) -> list[Row]:
    return _list(tx, t.users, limit, after, filters)


def get_user(tx: Connection, user_id: str, *, locked: bool = False) -> Row | None:
    return _get(tx, t.users, user_id, locked=locked)


def user_by_email(tx: Connection, email: str) -> Row | None:
    c = t.users.c
    return first(tx, select(t.users).where(c.email == email, c.deleted_at_us.is_(None)), locked=False)


def insert_user(tx: Connection, values: Mapping[str, object]) -> None:
    tx.execute(t.users.insert().values(**values))


def update_user(tx: Connection, user_id: str, values: Mapping[str, object]) -> None:
    _update(tx, t.users, user_id, values)


def user_names(tx: Connection) -> dict[str, str]:
    """Deleted ones included: reports still name them."""
    return {row.id: row.name for row in tx.execute(select(t.users.c.id, t.users.c.name))}


def live_key_of_user(tx: Connection, user_id: str) -> str | None:
    c = t.keys.c
    found = select(c.id).where(c.user_id == user_id, c.revoked_at_us.is_(None)).limit(1)
    return tx.execute(found).scalar_one_or_none()


def list_members(tx: Connection, team_id: str | None, user_id: str | None) -> list[Row]:
    """Oldest first."""
    c = t.members.c
    statement = select(c.team_id, c.user_id, c.created_at_us).order_by(c.created_at_us, c.team_id, c.user_id)
    if team_id is not None:
        statement = statement.where(c.team_id == team_id)
    if user_id is not None:
        statement = statement.where(c.user_id == user_id)
    return [*tx.execute(statement)]


def insert_member(tx: Connection, team_id: str, user_id: str, created_at_us: int) -> None:
    tx.execute(t.members.insert().values(team_id=team_id, user_id=user_id, created_at_us=created_at_us))


def delete_member(tx: Connection, team_id: str, user_id: str) -> bool:
    """Whether there was one."""
    c = t.members.c
    return tx.execute(delete(t.members).where(c.team_id == team_id, c.user_id == user_id)).rowcount > 0


def forget_members(tx: Connection, *, team_id: str | None = None, user_id: str | None = None) -> list[str]:
    """Of a team or a user that goes: everybody in it, or it everywhere. Answers the other side's ids."""
    c = t.members.c
    other = c.user_id if team_id is not None else c.team_id
    gone = or_(c.team_id == team_id, c.user_id == user_id)
    ids = [*tx.execute(select(other).where(gone).order_by(other)).scalars()]
    tx.execute(delete(t.members).where(gone))
    return ids


def _list(tx: Connection, table: Table, limit: int, after: str | None, filters: Mapping[str, str]) -> list[Row]:
    """Oldest first."""
    c = table.c
    statement = select(table).where(c.deleted_at_us.is_(None), *(c[name] == value for name, value in filters.items()))
    return page(tx, statement.order_by(c.created_at_us, c.id).limit(limit), c.created_at_us, c.id, after)


def _get(tx: Connection, table: Table, row_id: str, *, locked: bool) -> Row | None:
    statement = select(table).where(table.c.id == row_id, table.c.deleted_at_us.is_(None))
    return first(tx, statement, locked=locked)


def _update(tx: Connection, table: Table, row_id: str, values: Mapping[str, Any]) -> None:
    """Of a row that the caller has locked."""
    tx.execute(update(table).where(table.c.id == row_id).values(**values, version=table.c.version + 1))
