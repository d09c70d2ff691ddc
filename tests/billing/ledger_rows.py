"""Reads a ledger as an auditor would: straight from its tables."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from billing.database import open_engine
from billing.ledger import rows_hash
from billing.queries import ENTRY_COLUMNS, HASH_START
from billing.store import RequestInFull, Store, UsageLine

if TYPE_CHECKING:
    from typing import Any


class EntryRow(NamedTuple):
    request_id: str
    attempt: int
    kind: int
    amount_nano_usd: int
    requests: int


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    engine = open_engine(url)
    try:
        with engine.begin() as tx:
            return [tuple(row) for row in tx.exec_driver_sql(sql)]
    finally:
        engine.dispose()


def entries(url: str) -> list[EntryRow]:
    found = query(url, f"SELECT {', '.join(EntryRow._fields)} FROM entries ORDER BY id")
    return [EntryRow(*row) for row in found]


def chain_is_whole(url: str) -> bool:
    """Recomputes every hash of writer 0's chain from the entries as stored."""
    batches = query(url, "SELECT id, rows, prev_hash, hash FROM batches WHERE writer = 0 ORDER BY id")
    before = HASH_START
    for batch_id, count, prev_hash, stored in batches:
        rows = query(url, f"SELECT {', '.join(ENTRY_COLUMNS)} FROM entries WHERE batch_id = {batch_id} ORDER BY id")
        if bytes(prev_hash) != before or len(rows) != count or rows_hash(before, rows) != bytes(stored):
            return False
        before = bytes(stored)
    return sum(int(batch[1]) for batch in batches) == len(entries(url))


def usage_of(url: str, *columns: str) -> dict[tuple[str | None, ...], UsageLine]:
    with closing(Store(url)) as store:
        return store.usage(columns, None, None)


def page_of(url: str, request_id: str) -> RequestInFull:
    with closing(Store(url)) as store:
        found = store.request(request_id)
    assert found is not None
    return found
