"""Thresholds that were crossed, written in the transaction that crossed them, each with a delivery for each webhook.

So none is lost when a process dies, none is told for money that was not posted, and what was not delivered is found.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine

from billing import queries
from billing.alerts import BudgetEvent, Spend, Threshold, crossed_by, event_of
from billing.database import writing
from billing.scopes import Rule
from billing.windows import span

WAITING_MAX: Final = 10_000  # events of one webhook that wait for it; beyond, the oldest are given up


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as far as the books know it: a name that survives a restart, and what it wants to hear."""

    id: str
    events: frozenset[str]


@dataclass(frozen=True, slots=True)
class Alerts:
    """What is told, and to whom."""

    thresholds: tuple[Threshold, ...]
    hooks: tuple[Hook, ...] = ()

    def crossed(
        self, tx: Connection, added: Mapping[int, int | None], rules: Iterable[Rule], now_at_us: int
    ) -> tuple[BudgetEvent, ...]:
        """To be called behind what changed the accounts, in the same transaction. `added` is what was posted to each
        account by its id, None where its limit was changed. Answers the events that are new, to be told after the
        commit.
        """
        watched = {rule.id: rule for rule in rules if self._watches(rule)}
        if not watched or not added:
            return ()
        events = []
        for row in queries.account_rows(tx, added):
            rule = watched.get(row.budget_id)
            if rule is None:
                continue
            more = added[row.id]
            before = None if more is None else row.posted_nano_usd - more
            _, end_us = span(rule.window, rule.timezone, row.window_start_us)
            spend = Spend(
                row.id, row.subject, row.window_start_us, end_us, row.limit_nano_usd, before, row.posted_nano_usd
            )
            told = crossed_by(spend, rule.soft_limit_nano_usd, self.thresholds)
            events += [event_of(rule, spend, threshold, now_at_us) for threshold in told]
        return tuple(event for event in events if self._keep(tx, event))

    def _watches(self, rule: Rule) -> bool:
        return rule.soft_limit_nano_usd is not None or (rule.limit_nano_usd is not None and bool(self.thresholds))

    def _keep(self, tx: Connection, event: BudgetEvent) -> bool:
        if not queries.insert_event(tx, event):
            return False
        queries.insert_deliveries(tx, [(hook.id, event.id) for hook in self.hooks if event.type in hook.events])
        return True


@dataclass(frozen=True, slots=True)
class Watch:
    """What is told, and what hears of it once it is committed: for whoever changes budgets or what they have spent."""

    alerts: Alerts
    on_crossed: Callable[[Sequence[BudgetEvent]], object]


class Outbox:
    """Events on their way to webhooks."""

    def __init__(self, engine: Engine) -> None:
        self._reading = engine
        self._writing = writing(engine)

    def waiting(self, webhook: str, limit: int) -> Sequence[BudgetEvent]:
        with self._reading.begin() as tx:
            return queries.waiting_events(tx, webhook, limit)

    def delivered(self, webhook: str, event_id: str, now_at_us: int) -> None:
        with self._writing.begin() as tx:
            queries.end_delivery(tx, webhook, event_id, at_us=now_at_us, delivered=True)

    def given_up(self, webhook: str, event_id: str, now_at_us: int) -> None:
        with self._writing.begin() as tx:
            queries.end_delivery(tx, webhook, event_id, at_us=now_at_us, delivered=False)

    def trim(self, webhook: str, now_at_us: int, kept: int = WAITING_MAX) -> int:
        """Keeps the queue within its bound. Answers how many were given up for it."""
        with self._writing.begin() as tx:
            return queries.give_up_oldest(tx, webhook, kept, now_at_us)

    def recent(self, limit: int, budget_id: str | None = None, after: str | None = None) -> Sequence[BudgetEvent]:
        """The last ones, newest first; those behind the event `after`."""
        with self._reading.begin() as tx:
            return queries.list_events(tx, limit, budget_id, after)

    def count(self) -> int:
        """All that wait, for whichever webhook."""
        with self._reading.begin() as tx:
            return queries.count_waiting(tx)
