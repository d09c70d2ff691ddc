"""Budgets as people keep them, and what their accounts say; `billing.queries.budgets` is what admission asks."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, tuple_, update

from billing import tables as t
from billing.queries.budgets import scoped
from billing.queries.rows import Row, first, page
from billing.scopes import Rule

BUDGET_COLUMNS: Final = (
    *("id", "scope_type", "scope_id", "scope_team_id", "limit_nano_usd", "soft_limit_nano_usd", "window", "timezone"),
    *("over_budget", "version", "created_at_us"),
)
_NAMES_IN_ONE: Final = 300

_b = t.budgets.c
_a = t.budget_accounts.c
_columns: Final = tuple(_b[name] for name in BUDGET_COLUMNS)


def list_budgets(tx: Connection, limit: int, after: str | None, filters: Mapping[str, str]) -> list[Row]:
    """Oldest first."""
    statement = select(*_columns).where(_b.deleted_at_us.is_(None), *(_b[name] == of for name, of in filters.items()))
    return page(tx, statement.order_by(_b.created_at_us, _b.id).limit(limit), _b.created_at_us, _b.id, after)


def live_budgets(tx: Connection, budget_id: str | None) -> list[Row]:
    """That one or all of them, oldest first."""
    statement = select(*_columns).where(_b.deleted_at_us.is_(None))
    if budget_id is not None:
        statement = statement.where(_b.id == budget_id)
    return [*tx.execute(statement.order_by(_b.created_at_us, _b.id))]


def get_budget(tx: Connection, budget_id: str, *, locked: bool = False) -> Row | None:
    return first(tx, select(*_columns).where(_b.id == budget_id, _b.deleted_at_us.is_(None)), locked=locked)


def insert_budget(tx: Connection, values: Mapping[str, object]) -> None:
    tx.execute(t.budgets.insert().values(**values))


def update_budget(tx: Connection, budget_id: str, values: Mapping[str, object]) -> None:
    """Of a row that the caller has locked."""
    tx.execute(update(t.budgets).where(_b.id == budget_id).values(**values, version=_b.version + 1))


def limit_accounts(tx: Connection, budget_id: str, limit_nano_usd: int | None, now_at_us: int) -> None:
    """Of every window that is not over. Locked in the order of their ids, so that nothing deadlocks."""
    not_over = _not_over(budget_id, now_at_us)
    found = select(_a.id).where(not_over).order_by(_a.id)
    if tx.dialect.name == "postgresql":
        found = found.with_for_update()
    tx.execute(found)
    tx.execute(update(t.budget_accounts).where(not_over).values(limit_nano_usd=limit_nano_usd))


def accounts_not_over(tx: Connection, budget_id: str, now_at_us: int) -> list[int]:
    """The ids of all its accounts of windows that are not over."""
    return [*tx.execute(select(_a.id).where(_not_over(budget_id, now_at_us))).scalars()]


def _not_over(budget_id: str, now_at_us: int) -> ColumnElement[bool]:
    return and_(_a.budget_id == budget_id, or_(_a.window_end_us.is_(None), _a.window_end_us > now_at_us))


def accounts_at(tx: Connection, budget_id: str | None, at_us: int, apart: Collection[str] = ()) -> list[Row]:
    """Accounts of the windows of that instant: budget, subject, start, end, limit, posted; then what requests in flight
    hold of it and how many they are, less those of the boots that are told of `apart`.
    """
    statement = (
        _states(apart)
        .where(_a.window_start_us <= at_us, or_(_a.window_end_us.is_(None), _a.window_end_us > at_us))
        .order_by(_a.budget_id, _a.subject, _a.window_start_us)
    )
    if budget_id is not None:
        statement = statement.where(_a.budget_id == budget_id)
    return [*tx.execute(statement)]


def accounts_named(tx: Connection, names: Sequence[tuple[str, str, int]], apart: Collection[str] = ()) -> list[Row]:
    """The same of those accounts, by budget, subject and start."""
    name = tuple_(_a.budget_id, _a.subject, _a.window_start_us)
    found: list[Row] = []
    for at in range(0, len(names), _NAMES_IN_ONE):
        found += tx.execute(_states(apart).where(name.in_(names[at : at + _NAMES_IN_ONE])))
    return found


def _states(apart: Collection[str]) -> Select[Any]:
    l = t.leases.c  # noqa: E741 - as elsewhere here
    held = (
        select(l.account_id, func.sum(l.open_nano_usd).label("open_nano_usd"), func.sum(l.holds).label("holds"))
        .where(l.boot_id.not_in(sorted(apart)))
        .group_by(l.account_id)
        .subquery()
    )
    return select(
        *(_a.budget_id, _a.subject, _a.window_start_us, _a.window_end_us, _a.limit_nano_usd, _a.posted_nano_usd),
        func.coalesce(held.c.open_nano_usd, 0),
        func.coalesce(held.c.holds, 0),
    ).select_from(t.budget_accounts.outerjoin(held, held.c.account_id == _a.id))


def spent_by_steps(tx: Connection, rule: Rule, subject: str, first: int, end: int, step: int) -> Sequence[Row]:
    """What the ledger has for a subject from quarter hour `first` to before `end`, by steps of so many of them."""
    q: Any = t.usage_quarters.c
    place = (q.quarter - first) // step
    statement = (
        select(place, func.sum(q.cost_nano_usd))
        .select_from(t.usage_quarters.join(t.accounts, t.accounts.c.id == q.account_id))
        .where(q.quarter >= first, q.quarter < end, scoped(rule, subject))
        .group_by(place)
        .order_by(place)
    )
    return [*tx.execute(statement)]
