"""What a key ring is kept up to date by: which keys there are in which version, and those that have changed."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from billing import tables as t
from billing.queries.rows import Row


def live_key_versions(tx: Connection) -> dict[str, int]:
    c = t.keys.c
    found = tx.execute(select(c.id, c.version).where(c.revoked_at_us.is_(None)))
    return {row.id: row.version for row in found}


def keys_of(tx: Connection, key_ids: Sequence[str]) -> list[Row]:
    return [*tx.execute(select(t.keys).where(t.keys.c.id.in_(key_ids)))]
