"""The state of the database itself: which schema it has."""

from typing import Final

from sqlalchemy import Connection, func, inspect, select, update

from billing import tables as t
from billing.queries.rows import mark

_MIGRATION_LOCK: Final = 0x7475726E  # any number, of PostgreSQL's advisory locks


def lock_migrations(tx: Connection) -> None:
    """Two gateways that start at once migrate one after the other; SQLite's transaction has the lock already."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


def schema_revision(tx: Connection) -> str | None:
    if not inspect(tx).has_table("alembic_version"):
        return None
    return tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()


def control_version(tx: Connection, room: str) -> int:
    """Bumped by every change of a room, in the change's own transaction."""
    return int(tx.exec_driver_sql(f"SELECT version FROM control WHERE name = {mark(tx)}", (room,)).scalar_one())  # noqa: S608


def control_versions(tx: Connection) -> dict[str, int]:
    c = t.control.c
    return {name: int(version) for name, version in tx.execute(select(c.name, c.version))}


def bump_control(tx: Connection, room: str) -> None:
    """Tells every worker that the room has changed, once this transaction is committed."""
    c = t.control.c
    tx.execute(update(t.control).where(c.name == room).values(version=c.version + 1))
