"""Every SQL statement of the books, one function each. They take the caller's transaction and never commit.

What the flusher uses is written as text with many rows to a statement: its thread shares the interpreter lock with the
event loop and waits for it after each statement, so few and large ones count more than pretty ones.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    FromClause,
    Select,
    and_,
    case,
    func,
    inspect,
    or_,
    select,
    tuple_,
    update,
)

from billing import tables as t
from billing.holds import EntryKind
from billing.price import Usage
from billing.usage_span import QUARTER_US

HASH_START: Final = bytes(32)  # before a writer's first batch

_MIGRATION_LOCK: Final = 0x7475726E  # any number, of PostgreSQL's advisory locks

# In SQLite: statements are prepared once per size and kept by the driver; a remainder is put together from these.
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


_q = t.usage_quarters.c
_TOKEN_SUMS: Final = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
USAGE_SUMS: Final = ("requests", *_TOKEN_SUMS, "cost_nano_usd", "estimated_nano_usd", "saved_nano_usd")
USAGE_COLUMNS: Final = {"team": "team_id", "user": "user_id", "key": "key_id", "model": "model", "provider": "provider"}
KEY_COLUMNS: Final = tuple(t.keys.c.keys())
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
    """Ids by name, made where missing. Rows: name, side, key, team, user, end user, provider, model, organization."""
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
    if tx.dialect.name == "postgresql":
        if rows:
            values = tuple(map(list, zip(*rows, strict=True)))
            tx.exec_driver_sql(_insertion_of_columns(tx.dialect, table, columns, otherwise), values)
        return
    at = 0
    for size in _SIZES:
        while len(rows) - at >= size:
            part = rows[at : at + size]
            tx.exec_driver_sql(_insertion_of_rows(table, columns, size, otherwise), tuple(chain.from_iterable(part)))
            at += size


@lru_cache(maxsize=256)
def _insertion_of_rows(table: str, columns: tuple[str, ...], rows: int, otherwise: str) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}{otherwise}"  # noqa: S608


@lru_cache(maxsize=32)
def _insertion_of_columns(dialect: Dialect, table: str, columns: tuple[str, ...], otherwise: str) -> str:
    """An array a column: psycopg read thousands of placeholders for 70 us a row."""
    types = (t.metadata.tables[table].c[name].type.compile(dialect) for name in columns)
    arrays = ", ".join(f"%s::{type_}[]" for type_ in types)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays}){otherwise}"  # noqa: S608


def _mark(tx: Connection) -> str:
    return "?" if tx.dialect.paramstyle == "qmark" else "%s"


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def list_teams(tx: Connection, limit: int, after: str | None) -> list[Row]:
    """Oldest first; a deleted team is in no list."""
    c = t.teams.c
    statement = select(t.teams).where(c.deleted_at_us.is_(None)).order_by(c.created_at_us, c.id).limit(limit)
    return _after(tx, statement, c.created_at_us, c.id, after)


def get_team(tx: Connection, team_id: str, *, locked: bool = False) -> Row | None:
    """Locked, it stays as it is until the transaction ends; in SQLite a writing transaction is alone anyway."""
    return _first(tx, select(t.teams).where(t.teams.c.id == team_id, t.teams.c.deleted_at_us.is_(None)), locked=locked)


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


def list_keys(tx: Connection, limit: int, after: str | None, team_id: str | None) -> list[Row]:
    """Oldest first, revoked ones included."""
    c = t.keys.c
    statement = select(t.keys).order_by(c.created_at_us, c.id).limit(limit)
    if team_id is not None:
        statement = statement.where(c.team_id == team_id)
    return _after(tx, statement, c.created_at_us, c.id, after)


def live_keys(tx: Connection) -> list[Row]:
    return [*tx.execute(select(t.keys).where(t.keys.c.revoked_at_us.is_(None)))]


def get_key(tx: Connection, key_id: str, *, locked: bool = False) -> Row | None:
    return _first(tx, select(t.keys).where(t.keys.c.id == key_id), locked=locked)


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


def list_requests(tx: Connection, limit: int, after: str | None) -> list[bytes]:
    """The documents of the last requests, newest first: their ids are in the order of time."""
    c = t.requests.c
    statement = select(c.document).order_by(c.request_id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(c.request_id < after)
    return [*tx.execute(statement).scalars()]


def get_request(tx: Connection, request_id: str) -> bytes | None:
    return tx.execute(select(t.requests.c.document).where(t.requests.c.request_id == request_id)).scalar_one_or_none()


def request_entries(tx: Connection, request_id: str) -> list[Row]:
    e, debit, credit = t.entries.c, t.accounts.alias("debit"), t.accounts.alias("credit")
    statement = (
        select(
            *(e.id, e.batch_id, e.attempt, e.kind, e.sequence, debit.c.name, credit.c.name, e.amount_nano_usd),
            *(e[name] for name in Usage._fields),
            *(t.prices.c.version, e.at_us),
        )
        .join_from(t.entries, debit, debit.c.id == e.debit)
        .join(credit, credit.c.id == e.credit)
        .join(t.prices, t.prices.c.id == e.price_id)
        .where(e.request_id == request_id)
        .order_by(e.id)
    )
    return [*tx.execute(statement)]


def used_span(tx: Connection) -> tuple[int, int] | None:
    """The first and the last quarter hour in which anything was used."""
    first, last = tx.execute(select(func.min(_q.quarter), func.max(_q.quarter))).one()
    return None if first is None else (first, last)


def usage_of_quarters(
    tx: Connection, first: int, end: int, columns: Sequence[str], filters: Mapping[str, str]
) -> list[Row]:
    """Sums by those columns over the quarters from `first` to before `end`: the columns, then the sums."""
    sums = [func.sum(_q[name]) for name in USAGE_SUMS]
    source, grouped = _grouped(t.usage_quarters, _q.account_id, columns)
    statement = select(*grouped, *sums).select_from(source).where(_q.quarter >= first, _q.quarter < end)
    return [*tx.execute(_filtered(statement, filters).group_by(*grouped))]


def usage_of_entries(
    tx: Connection, from_at_us: int, to_at_us: int, columns: Sequence[str], filters: Mapping[str, str]
) -> list[Row]:
    """The same from the entries themselves, for a span shorter than a quarter hour. Batches tell where to look."""
    e, b = t.entries.c, t.batches.c
    bought = e.kind != int(EntryKind.SAVING)
    estimated = e.kind.in_((int(EntryKind.ESTIMATED), int(EntryKind.UNKNOWN)))
    sums = [
        func.sum(e.requests),
        *(func.sum(case((bought, e[name]), else_=0)) for name in _TOKEN_SUMS),
        func.sum(case((bought, e.amount_nano_usd), else_=0)),
        func.sum(case((estimated, e.amount_nano_usd), else_=0)),
        func.sum(case((bought, 0), else_=e.amount_nano_usd)),
    ]
    in_batch = and_(e.id.between(b.id, b.last_id), e.batch_id == b.id)
    source, grouped = _grouped(t.batches.join(t.entries, in_batch), e.debit, columns)
    statement = (
        select(*grouped, *sums)
        .select_from(source)
        .where(b.to_us >= from_at_us, b.from_us < to_at_us, e.at_us >= from_at_us, e.at_us < to_at_us)
    )
    return [*tx.execute(_filtered(statement, filters).group_by(*grouped))]


def _grouped(
    source: FromClause, account_id: ColumnElement[int], columns: Sequence[str]
) -> tuple[FromClause, list[ColumnElement[Any]]]:
    """Joins what the columns need: an account's own, or for `tag:NAME` the value of that tag."""
    joined: FromClause = source.join(t.accounts, t.accounts.c.id == account_id)
    grouped: list[ColumnElement[Any]] = []
    for column in columns:
        if column in USAGE_COLUMNS:
            grouped.append(t.accounts.c[USAGE_COLUMNS[column]])
        else:
            tag = t.account_tags.alias(f"tag_{len(grouped)}")
            named = and_(tag.c.account_id == account_id, tag.c.name == column.removeprefix("tag:"))
            joined = joined.outerjoin(tag, named)
            grouped.append(tag.c.value)
    return joined, grouped


def _filtered(statement: Select[Any], filters: Mapping[str, str]) -> Select[Any]:
    return statement.where(*(t.accounts.c[name] == value for name, value in filters.items()))


def _after(
    tx: Connection, statement: Select[Any], at: ColumnElement[int], row_id: ColumnElement[str], after: str | None
) -> list[Row]:
    """A page that begins behind the row of that id, in the order of time and id."""
    if after is not None:
        begin = select(at, row_id).where(row_id == after).order_by(None).limit(1)
        found = tx.execute(begin).first()
        if found is None:
            return []
        statement = statement.where(tuple_(at, row_id) > tuple_(*found))
    return [*tx.execute(statement)]


def _first(tx: Connection, statement: Select[Any], *, locked: bool) -> Row | None:
    return tx.execute(statement.with_for_update() if locked else statement).first()
