"""Budgets as people keep them, and what their accounts say; `billing.queries.budgets` is what admission asks."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, update

from billing import tables as t
from billing.queries.budgets import scoped
from billing.queries.rows import Row, any_of, first, page
from billing.scopes import Rule

BUDGET_COLUMNS: Final = (
    *("id", "scope_type", "scope_id", "scope_team_id", "limit_nano_usd", "soft_limit_nano_usd", "window", "timezone"),
    *("over_budget", "version", "created_at_us"),
)
_NAMES_IN_ONE: Final = 100

_b = t.budgets.c
_a = t.budget_accounts.c
_columns: Final = tuple(_b[name] for name in BUDGET_COLUMNS)


def list_budgets(tx: Connection, limit: int, after: str | None, filters: Mapping[str, str]) -> list[Row]:
    """Oldest first."""
    statement = select(*_columns).where(_b.deleted_at_us.is_(None), *(_b[name] == of for name, of in filters.items()))
    return page(tx, statement.order_by(_b.created_at_us, _b.id).limit(limit), _b.created_at_us, _b.id, after)


def live_budgets(tx: Connection) -> list[Row]:
    """Oldest first."""
    return [*tx.execute(select(*_columns).where(_b.deleted_at_us.is_(None)).order_by(_b.created_at_us, _b.id))]


def budgets_of(tx: Connection, budget_ids: Collection[str]) -> list[Row]:
    """Those of them that are not deleted."""
    wanted, found = sorted(budget_ids), list[Row]()
    for at in range(0, len(wanted), _NAMES_IN_ONE):
        few = wanted[at : at + _NAMES_IN_ONE]
        found += tx.execute(select(*_columns).where(_b.deleted_at_us.is_(None), _b.id.in_(few)))
    return found


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


Windows = Sequence[tuple[str, int]]  # a budget, and when a window of it begins


def window_sums(tx: Connection, windows: Windows) -> list[Row]:
    """Of each of them that counts somebody: budget, how many accounts, what was posted to all of them."""
    columns = (_a.budget_id, func.count(), func.sum(_a.posted_nano_usd))
    found: list[Row] = []
    for few in _few(windows):
        found += tx.execute(select(*columns).where(few).group_by(_a.budget_id))
    return found


def window_holds(tx: Connection, windows: Windows, apart: Collection[str] = ()) -> list[Row]:
    """Of each of them of which requests in flight hold something: budget, how much, how many they are, less those of
    the boots that are told of `apart`.
    """
    l = t.leases.c  # noqa: E741 - as elsewhere here
    found: list[Row] = []
    for few in _few(windows):
        statement = (
            select(_a.budget_id, func.sum(l.open_nano_usd), func.sum(l.holds))
            .select_from(t.leases.join(t.budget_accounts, _a.id == l.account_id))
            .where(few, l.holds > 0, l.boot_id.not_in(sorted(apart)))
            .group_by(_a.budget_id)
        )
        found += tx.execute(statement)
    return found


def dearest(tx: Connection, windows: Windows, accounts_max: int, apart: Collection[str] = ()) -> list[Row]:
    """The accounts of each of them that most was posted to: budget, subject, start, end, limit, posted; then what
    requests in flight hold of it and how many they are, less those of the boots `apart`.
    """
    place = func.row_number().over(partition_by=_a.budget_id, order_by=(_a.posted_nano_usd.desc(), _a.subject))
    found: list[Row] = []
    for few in _few(windows):
        ranked = select(_a.id, place.label("place")).where(few).subquery()
        statement = (
            _states(apart)
            .join(ranked, ranked.c.id == _a.id)
            .where(ranked.c.place <= accounts_max)
            .order_by(_a.budget_id, ranked.c.place)
        )
        found += tx.execute(statement)
    return found


def _few(windows: Windows) -> Iterator[ColumnElement[bool]]:
    """As many of them as one statement takes."""
    for at in range(0, len(windows), _NAMES_IN_ONE):
        yield any_of((_a.budget_id, _a.window_start_us), windows[at : at + _NAMES_IN_ONE])


def accounts_named(tx: Connection, names: Sequence[tuple[str, str, int]], apart: Collection[str] = ()) -> list[Row]:
    """The same of those accounts, by budget, subject and start."""
    name = (_a.budget_id, _a.subject, _a.window_start_us)
    found: list[Row] = []
    for at in range(0, len(names), _NAMES_IN_ONE):
        found += tx.execute(_states(apart).where(any_of(name, names[at : at + _NAMES_IN_ONE])))
    return found


def _states(apart: Collection[str]) -> Select[Any]:
    l = t.leases.c  # noqa: E741 - as elsewhere here
    mine = and_(l.account_id == _a.id, l.boot_id.not_in(sorted(apart)))
    return select(
        *(_a.budget_id, _a.subject, _a.window_start_us, _a.window_end_us, _a.limit_nano_usd, _a.posted_nano_usd),
        *(
            select(func.coalesce(func.sum(held), 0)).where(mine).scalar_subquery()
            for held in (l.open_nano_usd, l.holds)
        ),
    ).select_from(t.budget_accounts)


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
