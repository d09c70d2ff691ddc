"""Workers that reserve, settle, release, crash and recover in any order, while limits, windows and prices change.

A simple sum beside them says what the accounts must hold. `python -m tests.billing.budget_machine URL STEPS` runs so
many steps in a process of its own; the URL is one of an empty database, which each run copies.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing import flusher
from billing.audit import Actor
from billing.budget_refusals import BudgetBusy, BudgetExhausted
from billing.budget_store import Budgets
from billing.database import open_engine
from billing.holds import Hold, charge_of
from billing.journal import RECORD_BYTES_MAX
from billing.price import Price, Usage, cost_nano_usd
from billing.scopes import Account, Rulebook
from billing.verify import verify
from tests.billing.blank_books import Blank
from tests.billing.budget_rows import give_budget
from tests.billing.crew import Crew
from tests.billing.makers import hold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

HOUR_US: Final = 3_600_000_000
START_US: Final = 1_764_000_000_000_000 - 1_764_000_000_000_000 % HOUR_US
WORKERS: Final = 3
STEPS_IN_ONE: Final = 200
SEGMENT_BYTES: Final = 4 * RECORD_BYTES_MAX
LIMITS: Final = {"team": 2_000, "key": 700, "tag": 900}


def price(number: int, rate_pico_usd: int) -> Price:
    return Price(f"price {number}", rate_pico_usd // 2, rate_pico_usd, 0, 0, rate_pico_usd, 0, rate_pico_usd)


@dataclass(slots=True)
class Flight:
    worker: int
    hold: Hold
    alive: bool = True
    told: Usage | None = None  # of its progress


def reader(url: str) -> Any:
    """Each statement sees what stands then, and nothing is locked between two."""
    if url.startswith("sqlite:///"):
        return sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    return psycopg.connect(url, autocommit=True)


def some_live(money: Money) -> bool:
    return len(money.crew.dead) < WORKERS


class Money(RuleBasedStateMachine):
    flights: Bundle[Flight] = Bundle("flights")
    blank: ClassVar[Blank]  # where each run's database comes from
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.url = self.stack.enter_context(self.blank.copied(directory))
        self.now_us = START_US
        self.limits = dict(LIMITS)
        give_budget(self.url, "team", limit_nano_usd=LIMITS["team"])
        give_budget(self.url, "key", scope_type="key", scope_id="*", window="hour", limit_nano_usd=LIMITS["key"])
        give_budget(self.url, "tag", scope_type="tag", scope_id="feature=*", window="day", limit_nano_usd=LIMITS["tag"])
        self.engine = open_engine(self.url)
        self.stack.callback(self.engine.dispose)
        self.budgets = Budgets(self.engine)
        self.reader = self.stack.enter_context(closing(reader(self.url)))
        self.crew = Crew(
            *(self.url, directory, WORKERS),
            clock=lambda: self.now_us,
            patience=self.moment,
            segment_bytes=SEGMENT_BYTES,
        )
        self.rulebook = Rulebook(tuple(self.crew.rules()))
        self.posted: Counter[Account] = Counter()
        self.beyond: Counter[Account] = Counter()  # of what is posted: overruns, the one thing that may exceed a limit
        self.pending: Counter[Account] = Counter()
        self.charged: dict[str, tuple[int, str]] = {}  # by request: the amount, and the price's version
        self.number = 0
        self.price = price(0, 1_000)
        self.flying: list[Flight] = []

    def moment(self) -> None:
        self.now_us += 50_000

    def accounts(self, held: Hold) -> list[Account]:
        return [account for _, account in self.rulebook.accounts(charge_of(held), held.opened_at_us)]

    def left(self, account: Account) -> int:
        return self.limits[account.budget_id] - self.posted[account] - self.pending[account]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.reader.execute(sql).fetchall()
        return found

    def living(self, worker: int) -> int:
        """That worker, or the next one that is not dead."""
        workers = [(worker + more) % WORKERS for more in range(WORKERS)]
        return next(worker for worker in workers if worker not in self.crew.dead)

    # --- what may happen ---

    @precondition(some_live)
    @rule(
        target=flights,
        worker=st.integers(0, WORKERS - 1),
        most=st.integers(1, 400),
        least=st.integers(1, 60),
        key=st.sampled_from(["key_1", "key_2"]),
        team=st.sampled_from(["team_1", "team_2"]),
        tag=st.sampled_from(["feature=search", "feature=chat"]),
    )
    def reserve(
        self, worker: int, most: int, least: int, key: str, team: str, tag: str
    ) -> Flight | MultipleResults[Flight]:
        self.number += 1
        worker = self.living(worker)
        least = min(most, least)
        wanted = hold(
            self.number,
            key_id=key,
            team_id=team,
            tags=(tag,),
            price=self.price,
            amount_nano_usd=most,
            opened_at_us=self.now_us,
        )
        accounts = self.accounts(wanted)
        answer = self.crew.admit(worker, wanted, least)
        if isinstance(answer, Hold):
            assert least <= answer.amount_nano_usd <= most
            for account in accounts:
                assert answer.amount_nano_usd <= self.left(account) + self.beyond[account], "above the limit in force"
                self.pending[account] += answer.amount_nano_usd
            flight = Flight(worker, answer)
            self.flying.append(flight)
            return flight
        assert isinstance(answer, BudgetBusy | BudgetExhausted), answer
        assert any(self.room(account) < least for account in accounts), f"refused although it fits: {answer}"
        if isinstance(answer, BudgetExhausted):
            assert self.posted[answer.account] + least > self.limits[answer.rule.id]
        return multiple()

    def room(self, account: Account) -> int:
        """What is left, and where a worker is dead: what is left beside its lease, of which nobody knows anything."""
        if not self.crew.dead:
            return self.left(account)
        rows = self.query(
            "SELECT posted_nano_usd + pending_nano_usd FROM budget_accounts WHERE"
            f" budget_id = '{account.budget_id}' AND subject = '{account.subject}'"
            f" AND window_start_us = {account.start_us}"
        )
        return min(self.left(account), self.limits[account.budget_id] - int(rows[0][0] if rows else 0))

    def end(self, flight: Flight, cost: int) -> None:
        flight.alive = False
        self.flying.remove(flight)
        self.charged[flight.hold.request_id] = cost, flight.hold.price.version
        for account in self.accounts(flight.hold):
            self.pending[account] -= flight.hold.amount_nano_usd
            self.posted[account] += cost
            self.beyond[account] += max(cost - flight.hold.amount_nano_usd, 0)

    def used(self, flight: Flight, share: int) -> Usage:
        """What brings the cost near that share of the hold, at the price that the hold was taken at."""
        rate = flight.hold.price.output_pico_usd
        return Usage(output_tokens=flight.hold.amount_nano_usd * share * 10 // rate)

    @rule(flight=consumes(flights), share=st.integers(0, 110))
    def settle(self, flight: Flight, share: int) -> None:
        if flight.alive:
            usage = self.used(flight, share)
            cost = cost_nano_usd(usage, flight.hold.price)
            self.crew.settle(flight.worker, flight.hold, cost, usage)
            self.end(flight, cost)

    @rule(flight=flights, share=st.integers(1, 110))
    def progress(self, flight: Flight, share: int) -> None:
        if flight.alive:
            flight.told = self.used(flight, share)
            self.crew.books[flight.worker].progress(flight.hold, flight.told)

    @rule(flight=consumes(flights))
    def release(self, flight: Flight) -> None:
        if flight.alive:
            self.crew.books[flight.worker].release(flight.hold)
            self.end(flight, 0)
            del self.charged[flight.hold.request_id]

    @precondition(some_live)
    @rule(worker=st.integers(0, WORKERS - 1))
    def flush(self, worker: int) -> None:
        self.crew.books[self.living(worker)].flush()

    @precondition(some_live)
    @rule(worker=st.integers(0, WORKERS - 1), turns=st.integers(1, 6))
    def rest(self, worker: int, turns: int) -> None:
        for _ in range(turns):
            self.crew.books[self.living(worker)].tend()

    @precondition(some_live)
    @rule(worker=st.integers(0, WORKERS - 1))
    def crash(self, worker: int) -> None:
        """What was in flight is charged for what was told of it, or whole where nothing was."""
        worker = self.living(worker)
        for flight in [flight for flight in self.flying if flight.worker == worker]:
            held = flight.hold.amount_nano_usd
            self.end(flight, held if flight.told is None else min(cost_nano_usd(flight.told, flight.hold.price), held))
        self.crew.kill(worker)

    @precondition(lambda self: self.crew.dead)
    @rule(data=st.data())
    def recover(self, data: st.DataObject) -> None:
        self.crew.reopen(data.draw(st.sampled_from(sorted(self.crew.dead))))

    @rule(budget=st.sampled_from(sorted(LIMITS)), limit=st.integers(100, 3_000))
    def limit_changes(self, budget: str, limit: int) -> None:
        self.budgets.update(budget, {"limit_nano_usd": limit}, None, Actor("command"), self.now_us)
        self.limits[budget] = limit
        for books in self.crew.living():
            books.reload()

    @rule(rate=st.integers(100, 5_000))
    def price_changes(self, rate: int) -> None:
        """From here on; what is in flight keeps the price that it was reserved at."""
        self.price = price(self.number, rate)

    @rule(hours=st.integers(1, 30))
    def window_ends(self, hours: int) -> None:
        self.now_us += hours * HOUR_US // 2

    # --- what must hold ---

    @invariant()
    def leases_are_what_is_pending(self) -> None:
        Money.steps += 1
        rows = self.query(
            "SELECT a.id, a.pending_nano_usd, COALESCE(SUM(l.amount_nano_usd), 0), MIN(l.amount_nano_usd)"
            " FROM budget_accounts a LEFT JOIN leases l ON l.account_id = a.id GROUP BY a.id, a.pending_nano_usd"
        )
        for account, pending, leased, least in rows:
            assert pending == leased, f"account {account}"
            assert least is None or least >= 0

    def teardown(self) -> None:
        with self.stack:
            for worker in sorted(self.crew.dead):
                self.crew.reopen(worker)
            for flight in tuple(self.flying):
                usage = self.used(flight, 100)
                cost = cost_nano_usd(usage, flight.hold.price)
                self.crew.settle(flight.worker, flight.hold, cost, usage)
                self.end(flight, cost)
            self.crew.flush()
            self.crew.give_back()
            self.compare()
            self.crew.close()

    def compare(self) -> None:
        rows = self.query(
            "SELECT budget_id, subject, window_start_us, posted_nano_usd, pending_nano_usd FROM budget_accounts"
        )
        found = {(budget, subject, start): posted for budget, subject, start, posted, _ in rows}
        wanted = {account[:3]: posted for account, posted in self.posted.items() if posted}
        assert {key: posted for key, posted in found.items() if posted} == wanted
        assert all(pending == 0 for *_, pending in rows)
        posted = self.query(
            "SELECT e.request_id, SUM(e.amount_nano_usd), MIN(p.version), MAX(p.version) FROM entries e"
            " JOIN prices p ON p.id = e.price_id GROUP BY e.request_id"
        )
        assert {name: (int(amount), first) for name, amount, first, _ in posted} == self.charged
        assert all(first == last for *_, first, last in posted), "one hold, one price"
        assert verify(self.engine, None).problems == ()


@contextmanager
def flushers_wait_to_be_asked() -> Iterator[None]:
    """One that goes to work by itself makes the same steps end in two ways, which Hypothesis takes for a flaw."""
    patch = pytest.MonkeyPatch()
    patch.setattr(flusher, "TURN_MS", 3_600_000)
    try:
        yield
    finally:
        patch.undo()


def run(blank: Blank, steps: int) -> int:
    """At least so many steps; answers how many."""
    Money.blank = blank
    Money.steps = 0
    with flushers_wait_to_be_asked():
        while Money.steps < steps:
            run_state_machine_as_test(
                Money,
                settings=settings(
                    max_examples=max((steps - Money.steps) // STEPS_IN_ONE, 1),
                    stateful_step_count=STEPS_IN_ONE,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    print_blob=True,
                ),
            )
    return Money.steps


if __name__ == "__main__":
    print(run(Blank(sys.argv[1]), int(sys.argv[2])))
