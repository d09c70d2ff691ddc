"""Budgets: made, changed, deleted, and what is left of each.

A change of a limit holds for every account of a window that is not over, in the transaction that changes it: no slice
is granted afterwards by the limit before.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from billing import queries
from billing.alerts import BudgetEvent
from billing.audit import Actor
from billing.budgets import Budget, changed, demand_sound, rule_of, subject_of, told
from billing.changes import BUDGETS, Change
from billing.database import writing
from billing.demands import demand_known, demand_version
from billing.pages import Page, paged
from billing.queries import budget_rows as q
from billing.refusals import AlreadyExists, NotFound
from billing.scopes import Account, Dimensions, Rulebook
from billing.usage_span import QUARTER_US
from billing.windows import Window, span

if TYPE_CHECKING:
    from billing.budget_events import Watch

POINTS_MAX: Final = 400  # of a plot; more, and the steps grow
# In quarter hours: what a person reads off an axis.
STEPS: Final = (1, 4, 24, 96, 672)

_FILTERS: Final = frozenset({"scope_type", "scope_id", "scope_team_id", "window"})


@dataclass(frozen=True, slots=True)
class AccountState:
    """What one subject of a budget has spent in the window of an instant, and what its requests in flight hold."""

    budget: Budget
    subject: str
    window_start_us: int
    window_end_us: int | None
    limit_nano_usd: int | None
    posted_nano_usd: int
    pending_nano_usd: int
    holds: int

    @property
    def left_nano_usd(self) -> int | None:
        """Below zero where the limit was lowered below what is spent; None without a limit."""
        if self.limit_nano_usd is None:
            return None
        return self.limit_nano_usd - self.posted_nano_usd - self.pending_nano_usd


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget in the window that is open now: of how many subjects it counts, their sums, and some of them."""

    budget: Budget
    window_start_us: int
    window_end_us: int | None
    accounts_total: int
    posted_nano_usd: int
    pending_nano_usd: int
    holds: int
    accounts: tuple[AccountState, ...]


class Point(NamedTuple):
    """By `at_us`, so much was spent since the plot began."""

    at_us: int
    posted_nano_usd: int


class Budgets:
    def __init__(self, engine: Engine) -> None:
        self._reading = engine
        self._writing = writing(engine)
        self.watch: Watch | None = None

    def list(self, limit: int, after: str | None = None, filters: Mapping[str, str] | None = None) -> Page[Budget]:
        """Oldest first; by `scope_type`, `scope_id`, `scope_team_id` or `window`."""
        demand_known(filters or {}, _FILTERS)
        with self._reading.begin() as tx:
            found = [_of(row) for row in q.list_budgets(tx, limit + 1, after, filters or {})]
        return paged(found, limit, lambda budget: budget.id)

    def get(self, budget_id: str) -> Budget | None:
        with self._reading.begin() as tx:
            row = q.get_budget(tx, budget_id)
        return _of(row) if row else None

    def create(self, budget: Budget, actor: Actor, now_at_us: int) -> Budget:
        """It counts what its windows have spent already, from the ledger."""
        demand_sound(budget)
        made = replace(budget, window=Window(budget.window), version=1, created_at_us=now_at_us)
        try:
            with self._writing.begin() as tx:
                queries.own_budgets(tx)
                _demand_scope(tx, made)
                q.insert_budget(tx, {name: getattr(made, name) for name in q.BUDGET_COLUMNS})
                Change(actor, now_at_us, "budget.create", made.id).note(tx, None, told(made), [BUDGETS])
                crossed = self._crossed(tx, made, now_at_us)
        except IntegrityError:
            raise AlreadyExists(f"a budget {made.id!r} exists or existed: take another id") from None
        self._tell(crossed)
        return made

    def update(
        self, budget_id: str, changes: Mapping[str, Any], version: int | None, actor: Actor, now_at_us: int
    ) -> Budget:
        """With `version`, only if nobody changed it since. What changes nothing leaves no trace."""
        with self._writing.begin() as tx:
            queries.own_budgets(tx)
            before = _demand(tx, budget_id, version)
            after = changed(before, changes)
            if after == before:
                return before
            q.update_budget(tx, budget_id, changes)
            q.limit_accounts(tx, budget_id, after.limit_nano_usd, now_at_us)
            after = _demand(tx, budget_id, None)
            Change(actor, now_at_us, "budget.update", budget_id).note(tx, told(before), told(after), [BUDGETS])
            crossed = self._crossed(tx, after, now_at_us)
        self._tell(crossed)
        return after

    def delete(self, budget_id: str, version: int | None, actor: Actor, now_at_us: int) -> None:
        """It binds nothing any more. Its accounts stay, for what workers still hold of them."""
        with self._writing.begin() as tx:
            queries.own_budgets(tx)
            before = _demand(tx, budget_id, version)
            q.update_budget(tx, budget_id, {"deleted_at_us": now_at_us})
            q.limit_accounts(tx, budget_id, None, now_at_us)
            Change(actor, now_at_us, "budget.delete", budget_id).note(tx, told(before), None, [BUDGETS])

    def _crossed(self, tx: Connection, budget: Budget, now_at_us: int) -> tuple[BudgetEvent, ...]:
        """What each account of a window that is not over stands above, and nobody was told."""
        if self.watch is None:
            return ()
        rule, subject = rule_of(budget), subject_of(budget)
        ids = {*q.accounts_not_over(tx, budget.id, now_at_us)}
        if subject is not None:
            account = Account(budget.id, subject, *span(budget.window, budget.timezone, now_at_us))
            ids |= {*queries.account_ids(tx, [(rule, account)]).values()}
        return self.watch.alerts.crossed(tx, dict.fromkeys(ids), [rule], now_at_us)

    def _tell(self, crossed: Sequence[BudgetEvent]) -> None:
        if self.watch is not None and crossed:
            self.watch.on_crossed(crossed)

    def standings(
        self, budget_ids: Collection[str], now_at_us: int, accounts_max: int, apart: Collection[str] = ()
    ) -> dict[str, Standing]:
        """Of each of these that there is, in the window that is open now: its sums, and at most so many of its
        accounts, the dearest first. A budget that names its subject has an account in any case. What the boots `apart`
        hold, which tell it themselves, is left out. However many subjects there are, the database adds them up.
        """
        with self._reading.begin() as tx:
            budgets = [_of(row) for row in q.budgets_of(tx, budget_ids)]
            spans = {one.id: span(one.window, one.timezone, now_at_us) for one in budgets}
            windows = [(budget_id, start_us) for budget_id, (start_us, _) in spans.items()]
            sums = {str(row[0]): (int(row[1]), int(row[2])) for row in q.window_sums(tx, windows)}
            held = {str(row[0]): (int(row[1]), int(row[2])) for row in q.window_holds(tx, windows, apart)}
            listed: dict[str, list[queries.Row]] = {}
            for row in q.dearest(tx, windows, accounts_max, apart):
                listed.setdefault(row[0], []).append(row)
            found: dict[str, Standing] = {}
            for budget in budgets:
                accounts, posted = sums.get(budget.id, (0, 0))
                states = tuple(AccountState(budget, *map(_whole, row[1:])) for row in listed.get(budget.id, ()))
                if not accounts:
                    states = _unbegun(tx, budget, now_at_us)
                    accounts, posted = len(states), sum(state.posted_nano_usd for state in states)
                pending, holds = held.get(budget.id, (0, 0))
                found[budget.id] = Standing(
                    budget, *spans[budget.id], accounts, posted, pending, holds, states[:accounts_max]
                )
        return found

    def account(self, budget_id: str, subject: str, now_at_us: int, apart: Collection[str] = ()) -> AccountState | None:
        """Of that subject in the window that is open now; None: nothing was counted for it."""
        with self._reading.begin() as tx:
            budget = _demand(tx, budget_id, None)
            start_us = span(budget.window, budget.timezone, now_at_us)[0]
            rows = q.accounts_named(tx, [(budget_id, subject, start_us)], apart)
        return AccountState(budget, *map(_whole, rows[0][1:])) if rows else None

    def binding(
        self, charges: Iterable[Dimensions], now_at_us: int, apart: Collection[str] = ()
    ) -> tuple[AccountState, ...]:
        """Every account that one of the charges would count against now, each once."""
        with self._reading.begin() as tx:
            budgets = {row.id: row for row in map(_of, q.live_budgets(tx))}
            rulebook = Rulebook(tuple(map(rule_of, budgets.values())))
            wanted = dict.fromkeys(account for charge in charges for _, account in rulebook.accounts(charge, now_at_us))
            begun = {tuple(row[:3]): row for row in q.accounts_named(tx, [account[:3] for account in wanted], apart)}
            return tuple(
                AccountState(budgets[account.budget_id], *map(_whole, row[1:]))
                if (row := begun.get(account[:3])) is not None
                else _unspent(tx, budgets[account.budget_id], account)
                for account in sorted(wanted)
            )

    def history(self, budget_id: str, subject: str, from_us: int, to_us: int) -> tuple[Point, ...]:
        """What was spent since `from_us`, at the end of each step up to `to_us`; the first point is where it begins."""
        first, end = from_us // QUARTER_US, -(-to_us // QUARTER_US)
        step = next((step for step in STEPS if (end - first) <= step * POINTS_MAX), STEPS[-1])
        with self._reading.begin() as tx:
            budget = _demand(tx, budget_id, None)
            sums = dict(tuple(row) for row in q.spent_by_steps(tx, rule_of(budget), subject, first, end, step))
        points, posted = [Point(first * QUARTER_US, 0)], 0
        for place in range(-(-(end - first) // step)):
            posted += int(sums.get(place, 0))
            points.append(Point(min(first + (place + 1) * step, end) * QUARTER_US, posted))
        return tuple(points)


def _unbegun(tx: Connection, budget: Budget, now_at_us: int) -> tuple[AccountState, ...]:
    """Of a window that no request has been counted in by this budget: what the ledger has for it."""
    subject = subject_of(budget)
    if subject is None:
        return ()
    return (_unspent(tx, budget, Account(budget.id, subject, *span(budget.window, budget.timezone, now_at_us))),)


def _unspent(tx: Connection, budget: Budget, account: Account) -> AccountState:
    posted = queries.spent(tx, rule_of(budget), account)
    return AccountState(budget, *account[1:], budget.limit_nano_usd, posted, 0, 0)


def _whole(value: Any) -> Any:
    """PostgreSQL's sums are decimals."""
    return value if value is None or isinstance(value, str) else int(value)


def _demand(tx: Connection, budget_id: str, version: int | None) -> Budget:
    row = q.get_budget(tx, budget_id, locked=True)
    if row is None:
        raise NotFound(f"no budget {budget_id!r}: list them to see which there are")
    found = _of(row)
    demand_version(found.version, version)
    return found


def _demand_scope(tx: Connection, budget: Budget) -> None:
    """What has a row is looked up, so that a mistyped id does not bind nothing for ever."""
    team_id = budget.scope_id if budget.scope_type == "team" else budget.scope_team_id
    if team_id not in (None, "*") and queries.get_team(tx, str(team_id)) is None:
        raise NotFound(f"no team {team_id!r}: list them to see which there are")
    if budget.scope_type == "key" and budget.scope_id != "*" and queries.get_key(tx, budget.scope_id) is None:
        raise NotFound(f"no key {budget.scope_id!r}: list them to see which there are")


def _of(row: queries.Row) -> Budget:
    given = dict(zip(q.BUDGET_COLUMNS, row, strict=True))
    return Budget(**{**given, "window": Window(given["window"])})
