"""What is posted by hand and by command: attempts as the ledger has them, leases to be closed, the control plane's
own chain of batches.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, exists, func, not_, select, update

from billing import tables as t
from billing.holds import EntryKind
from billing.price import UNPRICED
from billing.queries.ledger import ENTRY_COLUMNS
from billing.queries.rows import Row, chunks
from billing.usage_span import QUARTER_US

_CHAIN_LOCK: Final = 0x63686169  # any number, of PostgreSQL's advisory locks
_IDS_IN_ONE: Final = 500
_l = t.leases.c
_e = t.entries.c


class Lease(NamedTuple):
    """With the budget's account that it is a slice of."""

    id: int
    account_id: int
    journal: str
    boot_id: str
    amount_nano_usd: int
    open_nano_usd: int
    holds: int
    taken_at_us: int
    budget_id: str
    subject: str
    window_start_us: int


class Posted(NamedTuple):
    """An attempt's entry with what its account names, for whoever corrects it."""

    row: Row  # as in `ENTRY_COLUMNS`
    account: Row
    price_version: str


def own_chain(tx: Connection) -> None:
    """Until the transaction ends no other process adds to the control plane's chain; SQLite's is alone anyway."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(_CHAIN_LOCK)))


def accounts_by_id(tx: Connection, ids: Iterable[int]) -> list[Row]:
    wanted = sorted(set(ids))
    found: list[Row] = []
    for at in range(0, len(wanted), _IDS_IN_ONE):
        statement = select(t.accounts).where(t.accounts.c.id.in_(wanted[at : at + _IDS_IN_ONE]))
        found += map(tuple, tx.execute(statement))
    return found


def tags_by_account(tx: Connection, ids: Iterable[int]) -> dict[int, list[tuple[str, str]]]:
    wanted = sorted(set(ids))
    c = t.account_tags.c
    found: dict[int, list[tuple[str, str]]] = {}
    for at in range(0, len(wanted), _IDS_IN_ONE):
        statement = select(t.account_tags).where(c.account_id.in_(wanted[at : at + _IDS_IN_ONE]))
        for account_id, name, value in tx.execute(statement):
            found.setdefault(account_id, []).append((name, value))
    return found


def prices_by_id(tx: Connection, ids: Iterable[int]) -> list[Row]:
    return [tuple(row) for row in tx.execute(select(t.prices).where(t.prices.c.id.in_(sorted(set(ids)))))]


def entries_of_attempts(tx: Connection, request_ids: Iterable[str]) -> list[Posted]:
    """Every entry of these requests, in the order of ids."""
    debit = t.accounts.alias("debit")
    found: list[Posted] = []
    for ids in chunks(sorted(set(request_ids)), _IDS_IN_ONE):
        statement = (
            select(t.prices.c.version, *(_e[name] for name in ENTRY_COLUMNS), *debit.c)
            .join_from(t.entries, debit, debit.c.id == _e.debit)
            .join(t.prices, t.prices.c.id == _e.price_id)
            .where(_e.request_id.in_(ids))
            .order_by(_e.id)
        )
        for version, *columns in tx.execute(statement):
            width = len(ENTRY_COLUMNS)
            found.append(Posted(tuple(columns[:width]), tuple(columns[width:]), version))
    return found


def request_named(tx: Connection, request_id: str) -> bool:
    return tx.execute(select(_e.id).where(_e.request_id == request_id).limit(1)).first() is not None


def span_of_entries(tx: Connection, from_at_us: int, to_at_us: int) -> tuple[int, int] | None:
    """The first and last id between which every entry of these instants lies."""
    b = t.batches.c
    statement = select(func.min(b.id), func.max(b.last_id)).where(b.to_us >= from_at_us, b.from_us < to_at_us)
    first, last = tx.execute(statement).one()
    return None if first is None else (first, last)


def priceable(
    tx: Connection,
    ids: tuple[int, int],
    span: tuple[int, int],
    names: tuple[str | None, str | None],
    version: str | None,
    limit: int,
) -> list[tuple[int, str]]:
    """Attempts that were bought in that span, the first ones of those ids: entry and request. `version` is the price's
    that they must have.
    """
    provider, model = names
    statement = (
        select(_e.id, _e.request_id)
        .join_from(t.entries, t.accounts, t.accounts.c.id == _e.debit)
        .join(t.prices, t.prices.c.id == _e.price_id)
        .where(_e.id.between(*ids), _e.at_us >= span[0], _e.at_us < span[1], _e.sequence == 0)
        .where(_e.kind.in_((int(EntryKind.ACTUAL), int(EntryKind.ESTIMATED))))
        .order_by(_e.id)
        .limit(limit)
    )
    if version is not None:
        statement = statement.where(t.prices.c.version == version)
    for column, wanted in ((t.accounts.c.provider, provider), (t.accounts.c.model, model)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    return [(row[0], row[1]) for row in tx.execute(statement)]


_LEASE: Final = (
    *(_l.id, _l.account_id, _l.journal, _l.boot_id, _l.amount_nano_usd, _l.open_nano_usd, _l.holds, _l.taken_at_us),
    *(t.budget_accounts.c.budget_id, t.budget_accounts.c.subject, t.budget_accounts.c.window_start_us),
)


def list_leases(tx: Connection) -> list[Lease]:
    statement = select(*_LEASE).join_from(t.leases, t.budget_accounts, t.budget_accounts.c.id == _l.account_id)
    return [Lease(*row) for row in tx.execute(statement.order_by(_l.id))]


def lease_locked(tx: Connection, lease_id: int) -> Lease | None:
    """With its account locked, which is what whoever changes either holds."""
    account_id = tx.execute(select(_l.account_id).where(_l.id == lease_id)).scalar_one_or_none()
    if account_id is None:
        return None
    account = select(t.budget_accounts.c.id).where(t.budget_accounts.c.id == account_id)
    tx.execute(account.with_for_update() if tx.dialect.name == "postgresql" else account)
    statement = select(*_LEASE).join_from(t.leases, t.budget_accounts, t.budget_accounts.c.id == _l.account_id)
    row = tx.execute(statement.where(_l.id == lease_id)).first()
    return None if row is None else Lease(*row)


def end_lease(tx: Connection, lease: Lease) -> None:
    """What it still held counts as spent from now on."""
    a = t.budget_accounts.c
    amount = lease.amount_nano_usd
    values = {"posted_nano_usd": a.posted_nano_usd + amount, "pending_nano_usd": a.pending_nano_usd - amount}
    tx.execute(update(t.budget_accounts).where(a.id == lease.account_id).values(values))
    tx.execute(delete(t.leases).where(_l.id == lease.id))


def last_batches(tx: Connection) -> list[Row]:
    """By writer: batches, entries, the last batch's id, its last entry and its time."""
    b = t.batches.c
    last = select(b.writer, func.count(b.id), func.sum(b.rows), func.max(b.id)).group_by(b.writer).subquery()
    columns = list(last.c)
    statement = select(*columns, b.last_id, b.at_us).join_from(last, t.batches, b.id == columns[3])
    return [tuple(row) for row in tx.execute(statement.order_by(columns[0]))]


def batch_rows(tx: Connection, batch_id: int) -> list[Row]:
    """As stored, in the order of ids."""
    statement = select(*(_e[name] for name in ENTRY_COLUMNS)).where(_e.batch_id == batch_id)
    bounds = select(t.batches.c.last_id).where(t.batches.c.id == batch_id).scalar_subquery()
    statement = statement.where(_e.id >= batch_id, _e.id <= bounds).order_by(_e.id)
    return [tuple(row) for row in tx.execute(statement)]


def batch_of(tx: Connection, batch_or_entry_id: int) -> Row | None:
    """The batch of that id, or the one that the entry of that id stands in."""
    b = t.batches.c
    found = tx.execute(select(t.batches).where(b.id == batch_or_entry_id)).first()
    if found is None:
        batch_id = tx.execute(select(_e.batch_id).where(_e.id == batch_or_entry_id)).scalar_one_or_none()
        found = None if batch_id is None else tx.execute(select(t.batches).where(b.id == batch_id)).first()
    return None if found is None else tuple(found)


def drop_requests(tx: Connection, before_at_us: int, after: str, rows_max: int) -> tuple[int, str | None]:
    """Deletes log rows of a stretch of primary keys that are older: how many, and where the next stretch begins; None
    where nothing older can follow, for ids are in the order of time.
    """
    c = t.requests.c
    stretch: Sequence[Row] = [
        *tx.execute(select(c.request_id, c.at_us).where(c.request_id > after).order_by(c.request_id).limit(rows_max))
    ]
    if not stretch:
        return 0, None
    gone = tx.execute(
        delete(t.requests).where(c.request_id > after, c.request_id <= stretch[-1][0], c.at_us < before_at_us)
    ).rowcount
    return gone, stretch[-1][0] if any(at_us < before_at_us for _, at_us in stretch) else None


def unpriced_attempts(tx: Connection, span: tuple[int, int], provider: str) -> list[tuple[int, str, int]]:
    """Attempts that had no price and were not given one since: their quarter hour, their model, how many."""
    p = t.prices.c
    unpriced = [*tx.execute(select(p.id).where(p.version == UNPRICED.version)).scalars()]
    ids = span_of_entries(tx, *span) if unpriced else None
    if ids is None:
        return []
    later = t.entries.alias("later")
    repriced = exists().where(
        later.c.request_id == _e.request_id, later.c.attempt == _e.attempt, later.c.price_id.not_in(unpriced)
    )
    quarter = (_e.at_us - _e.at_us % QUARTER_US).label("quarter_us")
    statement = (
        select(quarter, t.accounts.c.model, func.count())
        .join_from(t.entries, t.accounts, t.accounts.c.id == _e.debit)
        .where(_e.id.between(*ids), _e.at_us >= span[0], _e.at_us < span[1], _e.price_id.in_(unpriced))
        .where(_e.kind != int(EntryKind.SAVING), t.accounts.c.provider == provider, not_(repriced))
        .group_by(quarter, t.accounts.c.model)
    )
    return [(row[0], row[1], row[2]) for row in tx.execute(statement)]
