"""What `ledger verify` reads: everything, in the order of ids, a stretch at a time, as of one moment."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, func, select

from billing import tables as t
from billing.queries.budgets import budget_rules, spent
from billing.queries.ledger import BatchRow, usage_values
from billing.queries.reports import USAGE_SUMS
from billing.queries.rows import Row
from billing.scopes import Account
from billing.seal import closing_name
from billing.usage_span import QUARTER_US

STRETCH_ROWS: Final = 5000
_QUARTERS_IN_DAY: Final = 96


@contextmanager
def one_moment(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees nothing of what others commit meanwhile, and in SQLite shows text that is none as
    bytes instead of failing on it.
    """
    postgres = engine.dialect.name == "postgresql"
    level = {"isolation_level": "REPEATABLE READ"} if postgres else {}
    with engine.connect().execution_options(**level) as connection:
        raw: Any = connection.connection.driver_connection
        if not postgres:
            raw.text_factory = _text_or_bytes
        try:
            with connection.begin():
                yield connection
        finally:
            if not postgres:
                raw.text_factory = str


def _text_or_bytes(found: bytes) -> str | bytes:
    try:
        return found.decode()
    except UnicodeDecodeError:
        return found


def all_entries(tx: Connection) -> Generator[Row, None, None]:
    return _all(tx, select(t.entries).order_by(t.entries.c.id))


def all_batches(tx: Connection) -> Iterator[BatchRow]:
    columns = [t.batches.c[name] for name in BatchRow._fields]
    return (BatchRow(*row) for row in _all(tx, select(*columns).order_by(t.batches.c.id)))


def all_accounts(tx: Connection) -> Iterator[Row]:
    return _all(tx, select(t.accounts).order_by(t.accounts.c.id))


def all_account_tags(tx: Connection) -> Iterator[Row]:
    c = t.account_tags.c
    return _all(tx, select(t.account_tags).order_by(c.account_id, c.name))


def all_prices(tx: Connection) -> Iterator[Row]:
    return _all(tx, select(t.prices).order_by(t.prices.c.id))


def _all(tx: Connection, statement: Select[Any]) -> Generator[Row, None, None]:
    """Rows as the driver gives them: a type's own conversion would fail on what has been tampered with."""
    text = str(statement.compile(tx.engine, compile_kwargs={"literal_binds": True}))
    with tx.execution_options(stream_results=True).exec_driver_sql(text) as cursor:
        while rows := cursor.fetchmany(STRETCH_ROWS):
            yield from map(tuple, rows)


def usage_that_differs(tx: Connection, limit: int) -> list[tuple[int, int]]:
    """Quarter hours and accounts whose roll-up is not the sum of their entries."""
    names = ", ".join(USAGE_SUMS)
    kept = f"SELECT quarter, account_id, {names} FROM usage_quarters"  # noqa: S608 - names from these files alone
    summed = (
        f"SELECT at_us / {QUARTER_US}, debit, {usage_values()} FROM entries"  # noqa: S608
        " JOIN accounts ON accounts.id = debit WHERE side = 'cost' GROUP BY 1, 2"
    )
    return _differing(tx, kept, summed, limit)


def days_that_differ(tx: Connection, limit: int) -> list[tuple[int, int]]:
    """Days and accounts whose roll-up is not the sum of their quarter hours."""
    names = ", ".join(USAGE_SUMS)
    sums = ", ".join(f"SUM({name})" for name in USAGE_SUMS)
    kept = f"SELECT day, account_id, {names} FROM usage_days"  # noqa: S608
    summed = f"SELECT quarter / {_QUARTERS_IN_DAY}, account_id, {sums} FROM usage_quarters GROUP BY 1, 2"  # noqa: S608
    return _differing(tx, kept, summed, limit)


def _differing(tx: Connection, kept: str, summed: str, limit: int) -> list[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for one, other in ((kept, summed), (summed, kept)):
        statement = f"SELECT * FROM ({one}) AS one EXCEPT SELECT * FROM ({other}) AS other LIMIT {limit}"  # noqa: S608
        found.update((row[0], row[1]) for row in tx.exec_driver_sql(statement))
    return sorted(found)[:limit]


def budget_accounts_that_differ(tx: Connection) -> list[tuple[int, str, int, int]]:
    """Accounts of live budgets whose posted amount is not what the ledger has for them: id, subject, posted, summed."""
    a = t.budget_accounts.c
    rules = {rule.id: rule for rule in budget_rules(tx)}
    closed = _closed(tx)
    columns = (a.id, a.budget_id, a.subject, a.window_start_us, a.window_end_us, a.posted_nano_usd)
    found = []
    for account_id, budget_id, subject, start_us, end_us, posted in tx.execute(select(*columns).order_by(a.id)).all():
        if budget_id in rules:
            summed = spent(tx, rules[budget_id], Account(budget_id, subject, start_us, end_us))
            summed += closed.get(closing_name(budget_id, subject, start_us), 0)
            if summed != posted:
                found.append((account_id, subject, posted, summed))
    return found


def _closed(tx: Connection) -> dict[str, int]:
    """What closed leases have posted, by the name of the suspense account that stands for a budget's account."""
    e, c = t.entries.c, t.accounts.c
    ids = select(c.id).where(c.side == "suspense", c.provider.is_(None))
    if tx.execute(ids.limit(1)).first() is None:
        return {}
    statement = (
        select(c.name, func.sum(e.amount_nano_usd))
        .join_from(t.entries, t.accounts, c.id == e.debit)
        .where(e.debit.in_(ids))
        .group_by(c.name)
    )
    return {name: int(amount) for name, amount in tx.execute(statement)}
