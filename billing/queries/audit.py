"""The audit log: one chain, extended by one transaction at a time."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, func, select

from billing import tables as t
from billing.queries.ledger import HASH_START
from billing.queries.rows import Row, insert

_AUDIT_LOCK: Final = 0x61756469  # any number, of PostgreSQL's advisory locks


def audit_end(tx: Connection) -> tuple[int, bytes]:
    """The last row's id and hash. Until the transaction ends nobody else adds one; SQLite's has the lock already."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(_AUDIT_LOCK)))
    return audit_last(tx)


def audit_last(tx: Connection) -> tuple[int, bytes]:
    """The last row's id and hash, as of now."""
    a = t.audit.c
    row = tx.execute(select(a.id, a.hash).order_by(a.id.desc()).limit(1)).first()
    return (row.id, bytes(row.hash)) if row else (0, HASH_START)


def audit_hash(tx: Connection, row_id: int) -> bytes | None:
    a = t.audit.c
    found = tx.execute(select(a.hash).where(a.id == row_id)).scalar_one_or_none()
    return bytes(found) if isinstance(found, bytes | memoryview) else None


def insert_audit(tx: Connection, row: Row) -> None:
    insert(tx, "audit", tuple(t.audit.c.keys()), [row])


def list_audit(tx: Connection, limit: int, before_id: int | None, filters: Mapping[str, str]) -> list[Row]:
    """Newest first."""
    a = t.audit.c
    statement = select(t.audit).where(*(a[name] == value for name, value in filters.items()))
    if before_id is not None:
        statement = statement.where(a.id < before_id)
    return [*tx.execute(statement.order_by(a.id.desc()).limit(limit))]


def audit_after(tx: Connection, last_id: int, limit: int) -> list[Row]:
    """In the order of their ids, as stored."""
    a = t.audit.c
    return [*tx.execute(select(t.audit).where(a.id > last_id).order_by(a.id).limit(limit))]
