"""What people read: single requests with their entries, and usage in sums."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table, and_, case, func, select

from billing import tables as t
from billing.holds import EntryKind
from billing.price import Usage
from billing.queries.rows import Row

_q = t.usage_quarters.c
_TOKEN_SUMS: Final = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
USAGE_SUMS: Final = ("requests", *_TOKEN_SUMS, "cost_nano_usd", "estimated_nano_usd", "saved_nano_usd")
USAGE_COLUMNS: Final = {
    **{name: f"{name}_id" for name in ("organization", "team", "user", "key")},
    **{name: name for name in ("end_user", "model", "provider")},
}


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
    # Apart, each is the first row of an index; SQLite answers both at once by reading every row.
    ends = (select(func.min(_q.quarter)).scalar_subquery(), select(func.max(_q.quarter)).scalar_subquery())
    first, last = tx.execute(select(*ends)).one()
    return None if first is None else (first, last)


def usage_of_quarters(
    tx: Connection, first: int, end: int, columns: Sequence[str], filters: Mapping[str, str]
) -> list[Row]:
    """Sums by those columns over the quarters from `first` to before `end`: the columns, then the sums."""
    return _usage_of(tx, t.usage_quarters, _q.quarter.between(first, end - 1), columns, filters)


def usage_of_days(
    tx: Connection, first: int, end: int, columns: Sequence[str], filters: Mapping[str, str]
) -> list[Row]:
    """The same over days of UTC."""
    return _usage_of(tx, t.usage_days, t.usage_days.c.day.between(first, end - 1), columns, filters)


def _usage_of(
    tx: Connection, rolled: Table, when: ColumnElement[bool], columns: Sequence[str], filters: Mapping[str, str]
) -> list[Row]:
    sums = [func.sum(rolled.c[name]) for name in USAGE_SUMS]
    source, grouped = _grouped(rolled, rolled.c.account_id, columns)
    statement = select(*grouped, *sums).select_from(source).where(when)
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
        # A closed lease bounds what a budget may have lost; it is nobody's cost.
        .where(t.accounts.c.side == "cost")
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
