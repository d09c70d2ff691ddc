"""Budgets: what is allowed, what of it is spent and held, and when it begins anew."""

from collections.abc import Collection
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from billing.alerts import BudgetEvent
from billing.budget_store import AccountState, Standing
from billing.budgets import Budget, subject_of
from billing.money import parse_usd, usd_text
from billing.scopes import EACH, SCOPE_TYPES
from billing.windows import span
from gateway.admin import budget_shapes as shapes
from gateway.admin.desks.counter import Counter, not_found, not_yours
from gateway.admin.door import Caller
from gateway.admin.etag import version_seen
from gateway.admin.held import standing_with_holds, with_holds
from gateway.admin.instant import bound_at_us, instant_text, optional_text
from gateway.admin.paging import seen
from gateway.admin.problem import Problem

ACCOUNTS_LISTED: Final = 20  # of each `*` budget, in a list of budgets
_UTC: Final = ZoneInfo("UTC")
_A: Final = {name: f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in SCOPE_TYPES}
_AMOUNTS: Final = {"limit_usd": "limit_nano_usd", "soft_limit_usd": "soft_limit_nano_usd"}


class BudgetDesk:
    def __init__(self, counter: Counter) -> None:
        self._counter: Final = counter
        self._rows: Final = counter.store.budgets

    def page(
        self,
        by: Caller,
        limit: int,
        after: str | None,
        scope_type: str | None = None,
        scope_id: str | None = None,
    ) -> shapes.Budgets:
        given = {"scope_type": scope_type, "scope_id": scope_id}
        filters = {name: value for name, value in given.items() if value is not None}
        data, rest = seen(
            lambda rows, behind: self._rows.list(rows, behind, filters),
            lambda one: self.sees(by, one.scope_type, one.scope_id, one.scope_team_id),
            lambda one: one.id,
            limit,
            after,
        )
        standings = self.standings([one.id for one in data], ACCOUNTS_LISTED)
        # Deleted meanwhile: it is not there any more.
        shown = [self._shown(standings[one.id]) for one in data if one.id in standings]
        return shapes.Budgets(data=shown, **rest._asdict())

    def get(self, by: Caller, budget_id: str, accounts: int = ACCOUNTS_LISTED) -> shapes.Budget:
        self._budget(by, budget_id)
        return self._present(budget_id, accounts)

    def sees(self, by: Caller, scope_type: str, scope_id: str, team_id: str | None) -> bool:
        if scope_type == "key" and scope_id != EACH and not by.sight.whole:
            key = self._counter.store.key(scope_id)
            return key is not None and by.sight.key(key.team_id, key.user_id, key.organization_id)
        return by.sight.budget(scope_type, scope_id, team_id)

    def create(self, by: Caller, asked: shapes.BudgetAsked, key: str | None) -> shapes.Budget:
        scope = asked.scope
        scope_id, team_id = scope.id, scope.team_id
        if scope.type == "member" and team_id is None and "/" in scope_id:
            team_id, _, scope_id = scope_id.partition("/")
        if not self.sees(by, scope.type, scope_id, team_id):
            raise not_yours("That scope reaches beyond what is yours")
        demand_above(by, scope.type)

        def make(by: Caller) -> shapes.Budget:
            now_us = self._counter.now()
            budget = Budget(
                id=asked.id or self._counter.new_id("budget"),
                scope_type=scope.type,
                scope_id=scope_id,
                scope_team_id=team_id,
                limit_nano_usd=_nano(asked.limit_usd),
                soft_limit_nano_usd=_nano(asked.soft_limit_usd),
                window=asked.window,
                timezone=asked.timezone,
                over_budget=asked.over_budget,
                version=1,
                created_at_us=now_us,
            )
            made = self._rows.create(budget, by.actor, now_us)
            self._counter.changed("budgets")
            return self._present(made.id)

        return self._counter.once(by, "budgets", key, asked, make, shapes.Budget)

    def update(self, by: Caller, budget_id: str, change: shapes.BudgetChange, if_match: str | None) -> shapes.Budget:
        changes: dict[str, Any] = change.model_dump(exclude_unset=True)
        for shown, kept in _AMOUNTS.items():
            if shown in changes:
                changes[kept] = _nano(changes.pop(shown))
        with self._counter.lock:
            present = self._budget(by, budget_id)
            demand_above(by, present.scope_type)
            limits = {name: getattr(present, name) for name in _AMOUNTS.values()} | changes
            if all(limits[name] is None for name in _AMOUNTS.values()):
                raise Problem("invalid", "Then it would limit nothing: leave `limit_usd` or `soft_limit_usd`.")
            version = version_seen(if_match, present)
            self._rows.update(budget_id, changes, version, by.actor, self._counter.now())
        self._counter.changed("budgets")
        return self._present(budget_id)

    def delete(self, by: Caller, budget_id: str, if_match: str | None) -> None:
        with self._counter.lock:
            present = self._budget(by, budget_id)
            demand_above(by, present.scope_type)
            version = version_seen(if_match, present)
            self._rows.delete(budget_id, version, by.actor, self._counter.now())
        self._counter.changed("budgets")

    def events(self, by: Caller, budget_id: str | None, limit: int, after: str | None) -> shapes.Events:
        """The last ones, newest first; of every budget where none is named."""
        if budget_id is not None:
            self._budget(by, budget_id)
        self._counter.rooms.flush()
        found = self._counter.store.outbox.recent(limit + 1, budget_id, after)
        data, more = found[:limit], len(found) > limit
        return shapes.Events(data=[event_shown(one) for one in data], has_more=more, next=data[-1].id if more else None)

    def history(self, by: Caller, budget_id: str, asked: shapes.HistoryAsked) -> shapes.History:
        budget = self._budget(by, budget_id)
        subject = asked.subject or subject_of(budget)
        if subject is None:
            raise Problem("invalid", "This budget counts each subject apart: name one as `subject`.")
        now_us = self._counter.now()
        start_us, end_us = span(budget.window, budget.timezone, now_us)
        from_us = start_us if asked.from_ is None else _instant("from", asked.from_)
        to_us = now_us + 1 if asked.to is None else _instant("to", asked.to)
        self._counter.rooms.flush()
        points = self._rows.history(budget_id, subject, from_us, to_us)
        return shapes.History(
            budget_id=budget_id,
            subject=subject,
            limit_usd=_usd(budget.limit_nano_usd),
            window_starts_at=instant_text(start_us),
            resets_at=optional_text(end_us),
            data=[shapes.Point(at=instant_text(at_us), spent_usd=usd_text(spent)) for at_us, spent in points],
        )

    def _budget(self, by: Caller, budget_id: str) -> Budget:
        found = self._rows.get(budget_id)
        if found is None or not self.sees(by, found.scope_type, found.scope_id, found.scope_team_id):
            raise not_found("budget", budget_id, "/admin/v1/budgets")
        return found

    def standings(self, budget_ids: Collection[str], accounts_max: int) -> dict[str, Standing]:
        """By budget, in the windows that are open now. What is settled counts: it is flushed first."""
        if not budget_ids:
            return {}
        rooms = self._counter.rooms
        # Holds first: a request that settles in between counts twice for a moment rather than not at all.
        holds, live = rooms.pending(), rooms.live_boots()
        rooms.flush()
        return standing_with_holds(self._rows.standings(budget_ids, rooms.clock(), accounts_max, live), holds)

    def account(self, budget_id: str, subject: str) -> AccountState | None:
        """Of that subject now, as among the standings."""
        rooms = self._counter.rooms
        holds, live = rooms.pending(), rooms.live_boots()
        rooms.flush()
        found = self._rows.account(budget_id, subject, rooms.clock(), live)
        return None if found is None else with_holds([found], holds)[0]

    def _present(self, budget_id: str, accounts_max: int = ACCOUNTS_LISTED) -> shapes.Budget:
        standing = self.standings([budget_id], accounts_max).get(budget_id)
        if standing is None:
            raise not_found("budget", budget_id, "/admin/v1/budgets")
        return self._shown(standing)

    def _shown(self, standing: Standing) -> shapes.Budget:
        budget = standing.budget
        each = subject_of(budget) is None
        spent, pending = standing.posted_nano_usd, standing.pending_nano_usd
        return shapes.Budget(
            id=budget.id,
            scope=shapes.Scope(type=budget.scope_type, id=budget.scope_id, team_id=budget.scope_team_id),
            limit_usd=_usd(budget.limit_nano_usd),
            soft_limit_usd=_usd(budget.soft_limit_nano_usd),
            window=budget.window,
            timezone=budget.timezone,
            over_budget=budget.over_budget,
            spent_usd=usd_text(spent),
            pending_usd=usd_text(pending),
            remaining_usd=None if each else _remaining(budget.limit_nano_usd, spent, pending),
            resets_at=optional_text(standing.window_end_us),
            accounts=[account_shown(state) for state in standing.accounts] if each else [],
            accounts_total=standing.accounts_total if each else 0,
            created_at=instant_text(budget.created_at_us),
            version=budget.version,
        )


def demand_above(by: Caller, scope_type: str) -> None:
    """Nobody sets, raises or takes away the budget that binds all of what is his."""
    if not by.sight.above(scope_type):
        raise not_yours(f"The budget of {_A[scope_type]} is set by who stands above it")


def account_shown(state: AccountState) -> shapes.Account:
    return shapes.Account(
        subject=state.subject,
        limit_usd=_usd(state.limit_nano_usd),
        spent_usd=usd_text(state.posted_nano_usd),
        pending_usd=usd_text(state.pending_nano_usd),
        remaining_usd=_remaining(state.limit_nano_usd, state.posted_nano_usd, state.pending_nano_usd),
        window_starts_at=instant_text(state.window_start_us),
        resets_at=optional_text(state.window_end_us),
    )


def event_shown(event: BudgetEvent) -> shapes.Event:
    document: dict[str, Any] = msgspec.json.decode(event.document)
    told = document["data"]
    return shapes.Event(
        id=event.id,
        type=event.type,
        budget_id=told["budget_id"],
        subject=told["subject"],
        threshold=event.threshold,
        at=instant_text(event.at_us),
        spent_usd=usd_text(event.posted_nano_usd),
        limit_usd=told["limit_usd"],
        document=document,
    )


def _nano(amount: str | None) -> int | None:
    return None if amount is None else parse_usd(amount)


def _usd(nano_usd: int | None) -> str | None:
    return None if nano_usd is None else usd_text(nano_usd)


def _remaining(limit: int | None, spent: int, pending: int) -> str | None:
    return None if limit is None else usd_text(max(0, limit - spent - pending))


def _instant(name: str, text: str) -> int:
    try:
        return bound_at_us(text, _UTC)
    except (ValueError, OverflowError) as error:
        raise Problem("invalid", f"`{name}` is no time: {error}.") from error
