"""The flusher's statements: entries in batches, their chains, the accounts they name, the sums they add to.

They are text with many rows to a statement: the flusher's thread shares the interpreter lock with the event loop and
waits for it after each statement, so few and large ones count more than pretty ones.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from billing import tables as t
from billing.holds import EntryKind
from billing.queries.rows import Row, chunks, insert

HASH_START: Final = bytes(32)  # before a writer's first batch
ENTRY_COLUMNS: Final = tuple(t.entries.c.keys())
_REQUEST_COLUMNS: Final = tuple(t.requests.c.keys())
_ACCOUNT_COLUMNS: Final = tuple(name for name in t.accounts.c.keys() if name != "id")  # noqa: SIM118 - not a dict
_PRICE_COLUMNS: Final = ("version", "document", "seen_at_us")

_USAGE_SUMS: Final = (
    *("requests", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
    *("cost_nano_usd", "estimated_nano_usd", "saved_nano_usd"),
)
_USAGE_COLUMNS: Final = ("quarter", "account_id", *_USAGE_SUMS)
_ADDED: Final = " ON CONFLICT (quarter, account_id) DO UPDATE SET " + ", ".join(
    f"{name} = usage_quarters.{name} + excluded.{name}" for name in _USAGE_SUMS
)


class BatchRow(NamedTuple):
    id: int
    last_id: int
    writer: int
    rows: int
    from_us: int
    to_us: int
    at_us: int
    prev_hash: bytes
    hash: bytes
    seal: int


def insert_entries(tx: Connection, rows: Sequence[Row]) -> None:
    insert(tx, "entries", ENTRY_COLUMNS, rows)


def insert_requests(tx: Connection, rows: Sequence[Row]) -> None:
    """A request's row is written once; what recovery tells of it later does not replace it."""
    insert(tx, "requests", _REQUEST_COLUMNS, rows, " ON CONFLICT (request_id) DO NOTHING")


def insert_batch(tx: Connection, batch: BatchRow) -> None:
    insert(tx, "batches", BatchRow._fields, [batch])


def chain_end(tx: Connection, writer: int) -> tuple[int, bytes]:
    """The writer's last entry id and last hash."""
    b = t.batches.c
    statement = select(b.last_id, b.hash).where(b.writer == writer).order_by(b.id.desc()).limit(1)
    row = tx.execute(statement).first()
    return (row.last_id, bytes(row.hash)) if row else (0, HASH_START)


def chain_holds(tx: Connection, writer: int, last_id: int, digest: bytes) -> bool:
    """Whether one of the writer's batches ends with that entry and has that hash."""
    b = t.batches.c
    statement = select(b.last_id, b.hash).where(b.writer == writer, b.id <= last_id).order_by(b.id.desc()).limit(1)
    row = tx.execute(statement).first()
    return row is not None and row.last_id == last_id and bytes(row.hash) == digest


def posted_attempts(tx: Connection, request_ids: Iterable[str]) -> set[tuple[str, int, int]]:
    """Which attempts of these requests stand in the ledger: request, attempt, kind."""
    e = t.entries.c
    found: set[tuple[str, int, int]] = set()
    for ids in chunks(sorted(set(request_ids)), 500):
        rows = tx.execute(select(e.request_id, e.attempt, e.kind).where(e.request_id.in_(ids)))
        found.update((row.request_id, row.attempt, row.kind) for row in rows)
    return found


def intern_accounts(tx: Connection, rows: Sequence[Row]) -> dict[str, int]:
    """Ids by name, made where missing. Rows: name, side, key, team, user, end user, provider, model, organization."""
    insert(tx, "accounts", _ACCOUNT_COLUMNS, rows, " ON CONFLICT (name) DO NOTHING")
    a = t.accounts.c
    ids: dict[str, int] = {}
    for names in chunks([row[0] for row in rows], 500):
        ids.update((row.name, row.id) for row in tx.execute(select(a.name, a.id).where(a.name.in_(names))))
    return ids


def insert_account_tags(tx: Connection, rows: Sequence[Row]) -> None:
    """Rows: account, tag's name, tag's value."""
    insert(tx, "account_tags", ("account_id", "name", "value"), rows, " ON CONFLICT (account_id, name) DO NOTHING")


def intern_price(tx: Connection, version: str, document: str, seen_at_us: int) -> Row:
    """The row as stored: id, version, document, and when it was first seen."""
    insert(tx, "prices", _PRICE_COLUMNS, [(version, document, seen_at_us)], " ON CONFLICT (document) DO NOTHING")
    return tuple(tx.execute(select(t.prices).where(t.prices.c.document == document)).one())


def add_to_usage(tx: Connection, rows: Sequence[Row]) -> None:
    """Rows: quarter hour, account, what is added to each of its sums; in the order of the first two."""
    insert(tx, "usage_quarters", _USAGE_COLUMNS, rows, _ADDED)


def usage_values() -> str:
    """What entries add to usage, in the order of its columns, said to the database: what `entry_rows` summed, again."""
    saving, estimated = int(EntryKind.SAVING), (int(EntryKind.ESTIMATED), int(EntryKind.UNKNOWN))
    bought = f"CASE WHEN kind = {saving} THEN 0 ELSE"
    values = (
        "requests",
        # A kept answer's tokens were not bought again, its cost was not paid again.
        *(f"{bought} {name} END" for name in _USAGE_SUMS[1:5]),
        f"{bought} amount_nano_usd END",
        f"CASE WHEN kind IN {estimated} THEN amount_nano_usd ELSE 0 END",
        f"CASE WHEN kind = {saving} THEN amount_nano_usd ELSE 0 END",
    )
    return ", ".join(f"SUM({value})" for value in values)
