"""Every SQL statement of the books, one function each. They take the caller's transaction and never commit.

What the flusher uses is written as text with many rows to a statement: its thread shares the interpreter lock with the
event loop and waits for it after each statement, so few and large ones count more than pretty ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, inspect, select

from billing import tables as t
from billing.holds import EntryKind

QUARTER_US: Final = 15 * 60 * 1_000_000
HASH_START: Final = bytes(32)  # before a writer's first batch

_MIGRATION_LOCK: Final = 0x7475726E  # any number, of PostgreSQL's advisory locks

# Statements are prepared once per size and cached by the driver; a remainder is put together from these.
_SIZES: Final = (512, 128, 32, 8, 2, 1)

Row = tuple[Any, ...]


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


ENTRY_COLUMNS: Final = tuple(t.entries.c.keys())
_REQUEST_COLUMNS: Final = tuple(t.requests.c.keys())
_ACCOUNT_COLUMNS: Final = tuple(name for name in t.accounts.c.keys() if name != "id")  # noqa: SIM118 - not a dict
_PRICE_COLUMNS: Final = ("version", "document", "seen_at_us")


def lock_migrations(tx: Connection) -> None:
    """Two gateways that start at once migrate one after the other; SQLite's transaction has the lock already."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


def schema_revision(tx: Connection) -> str | None:
    if not inspect(tx).has_table("alembic_version"):
        return None
    return tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()


def insert_entries(tx: Connection, rows: Sequence[Row]) -> None:
    _insert(tx, "entries", ENTRY_COLUMNS, rows)


def insert_requests(tx: Connection, rows: Sequence[Row]) -> None:
    """A request's row is written once; what recovery tells of it later does not replace it."""
    _insert(tx, "requests", _REQUEST_COLUMNS, rows, " ON CONFLICT (request_id) DO NOTHING")


def insert_batch(tx: Connection, batch: BatchRow) -> None:
    _insert(tx, "batches", BatchRow._fields, [batch])


def chain_end(tx: Connection, writer: int) -> tuple[int, bytes]:
    """The writer's last entry id and last hash."""
    b = t.batches.c
    statement = select(b.last_id, b.hash).where(b.writer == writer).order_by(b.id.desc()).limit(1)
    row = tx.execute(statement).first()
    return (row.last_id, bytes(row.hash)) if row else (0, HASH_START)


def posted_attempts(tx: Connection, request_ids: Iterable[str]) -> set[tuple[str, int, bool]]:
    """Which attempts of these requests stand in the ledger: request, attempt, and whether as a saving."""
    e = t.entries.c
    found: set[tuple[str, int, bool]] = set()
    for ids in _chunks(sorted(set(request_ids)), 500):
        rows = tx.execute(select(e.request_id, e.attempt, e.kind).where(e.request_id.in_(ids)))
        found.update((row.request_id, row.attempt, row.kind == EntryKind.SAVING) for row in rows)
    return found


def intern_accounts(tx: Connection, rows: Sequence[Row]) -> dict[str, int]:
    """Ids by name, made where missing. Rows: name, side, key, team, user, end user, provider, model."""
    _insert(tx, "accounts", _ACCOUNT_COLUMNS, rows, " ON CONFLICT (name) DO NOTHING")
    a = t.accounts.c
    ids: dict[str, int] = {}
    for names in _chunks([row[0] for row in rows], 500):
        ids.update((row.name, row.id) for row in tx.execute(select(a.name, a.id).where(a.name.in_(names))))
    return ids


def insert_account_tags(tx: Connection, rows: Sequence[Row]) -> None:
    """Rows: account, tag's name, tag's value."""
    _insert(tx, "account_tags", ("account_id", "name", "value"), rows, " ON CONFLICT (account_id, name) DO NOTHING")


def intern_price(tx: Connection, version: str, document: str, seen_at_us: int) -> int:
    _insert(tx, "prices", _PRICE_COLUMNS, [(version, document, seen_at_us)], " ON CONFLICT (document) DO NOTHING")
    return int(tx.execute(select(t.prices.c.id).where(t.prices.c.document == document)).scalar_one())


def add_to_usage(tx: Connection, batch: BatchRow) -> None:
    """Adds a batch's entries to their quarter hours; summed by the database, outside the interpreter lock."""
    saving, estimated = int(EntryKind.SAVING), (int(EntryKind.ESTIMATED), int(EntryKind.UNKNOWN))
    sums = {
        "requests": "requests",
        # A kept answer's tokens were not bought again, its cost was not paid again.
        "input_tokens": f"CASE WHEN kind = {saving} THEN 0 ELSE input_tokens END",
        "cached_input_tokens": f"CASE WHEN kind = {saving} THEN 0 ELSE cached_input_tokens END",
        "output_tokens": f"CASE WHEN kind = {saving} THEN 0 ELSE output_tokens END",
        "reasoning_tokens": f"CASE WHEN kind = {saving} THEN 0 ELSE reasoning_tokens END",
        "cost_nano_usd": f"CASE WHEN kind = {saving} THEN 0 ELSE amount_nano_usd END",
        "estimated_nano_usd": f"CASE WHEN kind IN {estimated} THEN amount_nano_usd ELSE 0 END",
        "saved_nano_usd": f"CASE WHEN kind = {saving} THEN amount_nano_usd ELSE 0 END",
    }
    columns = ", ".join(sums)
    values = ", ".join(f"SUM({expression})" for expression in sums.values())
    added = ", ".join(f"{name} = usage_quarters.{name} + excluded.{name}" for name in sums)
    mark = _mark(tx)
    tx.exec_driver_sql(
        f"INSERT INTO usage_quarters (quarter, account_id, {columns})"  # noqa: S608 - names from this file alone
        f" SELECT at_us / {QUARTER_US}, debit, {values} FROM entries"
        f" WHERE id BETWEEN {mark} AND {mark} AND batch_id = {mark} GROUP BY 1, 2"
        f" ON CONFLICT (quarter, account_id) DO UPDATE SET {added}",
        (batch.id, batch.last_id, batch.id),
    )


def _insert(tx: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row], otherwise: str = "") -> None:
    mark, at = _mark(tx), 0
    for size in _SIZES:
        while len(rows) - at >= size:
            part = rows[at : at + size]
            tx.exec_driver_sql(_insertion(table, columns, size, mark, otherwise), tuple(chain.from_iterable(part)))
            at += size


@lru_cache(maxsize=256)
def _insertion(table: str, columns: tuple[str, ...], rows: int, mark: str, otherwise: str) -> str:
    row = f"({', '.join([mark] * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}{otherwise}"  # noqa: S608


def _mark(tx: Connection) -> str:
    return "?" if tx.dialect.paramstyle == "qmark" else "%s"


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[at : at + size] for at in range(0, len(items), size))
