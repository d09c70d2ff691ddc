"""The audit log: one chain, extended by one transaction at a time."""

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
    a = t.audit.c
    row = tx.execute(select(a.id, a.hash).order_by(a.id.desc()).limit(1)).first()
    return (row.id, bytes(row.hash)) if row else (0, HASH_START)


def insert_audit(tx: Connection, row: Row) -> None:
    insert(tx, "audit", tuple(t.audit.c.keys()), [row])
