"""Reads a ledger as an auditor would: straight from its tables."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from billing.database import open_engine
from billing.store import RequestInFull, Store, UsageLine
from billing.verify import verify

if TYPE_CHECKING:
    from pathlib import Path
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


def chain_is_whole(url: str, state: Path | None = None) -> bool:
    """Whatever `ledger verify` looks at is as it was written."""
    engine = open_engine(url)
    try:
        return verify(engine, state).problems == ()
    finally:
        engine.dispose()


def usage_of(url: str, *columns: str) -> dict[tuple[str | None, ...], UsageLine]:
    with closing(Store(url)) as store:
        return store.usage(columns, None, None)


def page_of(url: str, request_id: str) -> RequestInFull:
    with closing(Store(url)) as store:
        found = store.request(request_id)
    assert found is not None
    return found
