"""Teams and keys: who may spend."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, or_, select, update

from billing import tables as t
from billing.queries.rows import Row, first, page

KEY_COLUMNS: Final = tuple(t.keys.c.keys())
TEAM_COLUMNS: Final = tuple(t.teams.c.keys())


def list_teams(tx: Connection, limit: int, after: str | None, organization_id: str | None = None) -> list[Row]:
    """Oldest first; a deleted team is in no list."""
    c = t.teams.c
    statement = select(t.teams).where(c.deleted_at_us.is_(None)).order_by(c.created_at_us, c.id).limit(limit)
    if organization_id is not None:
        statement = statement.where(c.organization_id == organization_id)
    return page(tx, statement, c.created_at_us, c.id, after)


def live_teams(tx: Connection) -> list[Row]:
    return [*tx.execute(select(t.teams).where(t.teams.c.deleted_at_us.is_(None)))]


def get_team(tx: Connection, team_id: str, *, locked: bool = False) -> Row | None:
    """Locked, it stays as it is until the transaction ends; in SQLite a writing transaction is alone anyway."""
    return first(tx, select(t.teams).where(t.teams.c.id == team_id, t.teams.c.deleted_at_us.is_(None)), locked=locked)


def team_names(tx: Connection) -> dict[str, str]:
    """Deleted ones included: reports still name them."""
    return {row.id: row.name for row in tx.execute(select(t.teams.c.id, t.teams.c.name))}


def insert_team(tx: Connection, values: Mapping[str, object]) -> None:
    tx.execute(t.teams.insert().values(**values))


def update_team(tx: Connection, team_id: str, values: Mapping[str, object]) -> None:
    """Of a row that the caller has locked."""
    c = t.teams.c
    tx.execute(update(t.teams).where(c.id == team_id).values(**values, version=c.version + 1))


def team_has_live_keys(tx: Connection, team_id: str) -> bool:
    c = t.keys.c
    return tx.execute(select(c.id).where(c.team_id == team_id, c.revoked_at_us.is_(None)).limit(1)).first() is not None


def list_keys(
    tx: Connection, limit: int, after: str | None, team_id: str | None, user_id: str | None = None
) -> list[Row]:
    """Oldest first, revoked ones included."""
    c = t.keys.c
    statement = select(t.keys).order_by(c.created_at_us, c.id).limit(limit)
    if team_id is not None:
        statement = statement.where(c.team_id == team_id)
    if user_id is not None:
        statement = statement.where(c.user_id == user_id)
    return page(tx, statement, c.created_at_us, c.id, after)


def live_keys(tx: Connection) -> list[Row]:
    return [*tx.execute(select(t.keys).where(t.keys.c.revoked_at_us.is_(None)))]


def get_key(tx: Connection, key_id: str, *, locked: bool = False) -> Row | None:
    return first(tx, select(t.keys).where(t.keys.c.id == key_id), locked=locked)


def digest_taken(tx: Connection, digest: bytes, key_id: str) -> bool:
    """Whether another key has, or while it rotates still has, this secret."""
    c = t.keys.c
    taken = select(c.id).where(or_(c.digest == digest, c.old_digest == digest), c.id != key_id)
    return tx.execute(taken.limit(1)).first() is not None


def insert_key(tx: Connection, values: Mapping[str, object]) -> None:
    tx.execute(t.keys.insert().values(**values))


def update_key(tx: Connection, key_id: str, values: Mapping[str, object]) -> None:
    """Of a row that the caller has locked."""
    c = t.keys.c
    tx.execute(update(t.keys).where(c.id == key_id).values(**values, version=c.version + 1))
