"""Whatever workers do in whatever order, crash and come back: the accounts are what a simple sum says."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from billing.holds import Hold, charge_of
from billing.migrating import migrate
from billing.scopes import Account, Rulebook
from billing.wallets import BudgetBusy, BudgetExhausted
from tests.billing.budget_rows import give_budget, set_limit
from tests.billing.crew import Crew, kill
from tests.billing.ledger_rows import query
from tests.billing.makers import PRICE, hold

HOUR_US = 3_600_000_000
START_US = 1_764_000_000_000_000 - 1_764_000_000_000_000 % HOUR_US
WORKERS = 3
STEPS = 50
PRICES = (PRICE, PRICE, PRICE.__class__("later", 1, 2, 3, 4, 5, 6, 7))


@dataclass(slots=True)
class Flight:
    worker: int
    hold: Hold
    alive: bool = True


class Money(RuleBasedStateMachine):
    flights: Bundle[Flight] = Bundle("flights")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        directory = Path(self.folder.name)
        self.url = f"sqlite:///{directory}/books.db"
        migrate(self.url)
        self.now_us = START_US
        self.limits = {"team": 2_000, "key": 700, "tag": 900}
        give_budget(self.url, "team", limit_nano_usd=2_000)
        give_budget(self.url, "key", scope_type="key", scope_id="*", window="hour", limit_nano_usd=700)
        give_budget(self.url, "tag", scope_type="tag", scope_id="feature=*", window="day", limit_nano_usd=900)
        self.crew = Crew(self.url, directory, WORKERS, clock=lambda: self.now_us, patience=self.moment)
        self.posted: Counter[Account] = Counter()
        self.pending: Counter[Account] = Counter()
        self.number = 0
        self.flying: list[Flight] = []

    def moment(self) -> None:
        self.now_us += 50_000

    def accounts(self, held: Hold) -> list[Account]:
        return [account for _, account in self.rulebook().accounts(charge_of(held), held.opened_at_us)]

    def rulebook(self) -> Rulebook:
        return Rulebook(tuple(self.crew.rules()))

    def left(self, account: Account) -> int:
        return self.limits[account.budget_id] - self.posted[account] - self.pending[account]

    @rule(
        target=flights,
        worker=st.integers(0, WORKERS - 1),
        most=st.integers(1, 400),
        least=st.integers(1, 60),
        key=st.sampled_from(["key_1", "key_2"]),
        team=st.sampled_from(["team_1", "team_2"]),
        tag=st.sampled_from(["feature=search", "feature=chat"]),
        price=st.sampled_from(PRICES),
    )
    def admit(self, worker: int, most: int, least: int, key: str, team: str, tag: str, price: Any) -> Flight:
        self.number += 1
        least = min(most, least)
        wanted = hold(
            self.number,
            key_id=key,
            team_id=team,
            tags=(tag,),
            price=price,
            amount_nano_usd=most,
            opened_at_us=self.now_us,
        )
        accounts = self.accounts(wanted)
        answer = self.crew.admit(worker, wanted, least)
        if isinstance(answer, Hold):
            assert least <= answer.amount_nano_usd <= most
            for account in accounts:
                assert answer.amount_nano_usd <= self.left(account), "a hold above the limit in force"
                self.pending[account] += answer.amount_nano_usd
            flight = Flight(worker, answer)
            self.flying.append(flight)
            return flight
        assert isinstance(answer, BudgetBusy | BudgetExhausted), answer
        assert any(self.left(account) < least for account in accounts), f"refused although it fits: {answer}"
        if isinstance(answer, BudgetExhausted):
            assert self.posted[answer.account] + least > self.limits[answer.rule.id]
        return Flight(worker, wanted, alive=False)

    def end(self, flight: Flight, cost: int) -> None:
        flight.alive = False
        for account in self.accounts(flight.hold):
            self.pending[account] -= flight.hold.amount_nano_usd
            self.posted[account] += cost

    @rule(flight=consumes(flights), share=st.integers(0, 110))
    def settle(self, flight: Flight, share: int) -> None:
        if flight.alive:
            cost = flight.hold.amount_nano_usd * share // 100
            self.crew.settle(flight.worker, flight.hold, cost)
            self.end(flight, cost)

    @rule(flight=consumes(flights))
    def release(self, flight: Flight) -> None:
        if flight.alive:
            self.crew.books[flight.worker].release(flight.hold)
            self.end(flight, 0)

    @rule(worker=st.integers(0, WORKERS - 1))
    def flush(self, worker: int) -> None:
        self.crew.books[worker].flush()

    @rule(worker=st.integers(0, WORKERS - 1), turns=st.integers(1, 6))
    def rest(self, worker: int, turns: int) -> None:
        for _ in range(turns):
            self.crew.books[worker].tend()

    @rule(worker=st.integers(0, WORKERS - 1))
    def crash(self, worker: int) -> None:
        """What was in flight is charged whole: nobody heard what became of it."""
        for flight in self.flying:
            if flight.alive and flight.worker == worker:
                self.end(flight, flight.hold.amount_nano_usd)
        kill(self.crew.books[worker])
        self.crew.reopen(worker)

    @rule(budget=st.sampled_from(["team", "key", "tag"]), limit=st.integers(100, 3_000))
    def limit(self, budget: str, limit: int) -> None:
        set_limit(self.url, budget, limit)
        self.limits[budget] = limit
        for books in self.crew.books:
            books.reload()

    @rule(hours=st.integers(1, 30))
    def time_goes_on(self, hours: int) -> None:
        self.now_us += hours * HOUR_US // 2

    @invariant()
    def leases_are_what_is_pending(self) -> None:
        rows = query(
            self.url,
            "SELECT a.id, a.pending_nano_usd, COALESCE((SELECT SUM(l.amount_nano_usd) FROM leases l"
            " WHERE l.account_id = a.id), 0), (SELECT MIN(l.amount_nano_usd) FROM leases l WHERE l.account_id = a.id)"
            " FROM budget_accounts a",
        )
        for account, pending, leased, least in rows:
            assert pending == leased, f"account {account}"
            assert least is None or least >= 0

    def teardown(self) -> None:
        for flight in self.flying:
            if flight.alive:
                self.crew.settle(flight.worker, flight.hold, flight.hold.amount_nano_usd)
                self.end(flight, flight.hold.amount_nano_usd)
        self.crew.flush()
        self.crew.give_back()
        rows = query(
            self.url,
            "SELECT budget_id, subject, window_start_us, posted_nano_usd, pending_nano_usd FROM budget_accounts",
        )
        found = {(budget, subject, start): posted for budget, subject, start, posted, _ in rows}
        wanted = {account[:3]: posted for account, posted in self.posted.items() if posted}
        assert {key: posted for key, posted in found.items() if posted} == wanted
        assert all(pending == 0 for *_, pending in rows)
        self.crew.close()
        self.folder.cleanup()


def machine(examples: int) -> None:
    run_state_machine_as_test(
        Money,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_no_order_of_events_breaks_an_account() -> None:
    machine(6)


@pytest.mark.long
def test_no_order_of_events_breaks_an_account_in_twenty_thousand_steps() -> None:
    machine(20_000 // STEPS)


@pytest.mark.long
def test_no_order_of_events_breaks_an_account_in_two_hundred_thousand_steps() -> None:
    machine(200_000 // STEPS)
