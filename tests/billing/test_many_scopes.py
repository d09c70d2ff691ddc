"""Two hundred keys, each charge against five scopes at once, several workers, limits that change: no account exceeds
the limit then in force, and each one's sum is that of its entries.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter, deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from billing.audit import Actor
from billing.budget_refusals import BudgetBusy, BudgetExhausted
from billing.holds import Hold
from billing.store import Store
from tests.billing.budget_rows import give_budget
from tests.billing.crew import Crew
from tests.billing.ledger_rows import chain_is_whole, query
from tests.billing.makers import AT_US, hold

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.figures import Tell

WORKERS: Final = 4
PATIENCE_US: Final = 60_000  # between two looks while others return what they have
HOLD_MAX: Final = 2_000_000
CHANGES: Final = 50
# Of a scope so many subjects for each key.
SCOPES: Final = {"organization": 0.01, "team": 0.1, "user": 0.25, "key": 1, "tag": 0.05}
STEP_US: Final = 2_000
TEND_STEPS: Final = 1_000
ACTOR: Final = Actor("command")

# Of each scope, what its subjects' entries add up to: by the entries' own accounts, not by the budgets'.
SUMS: Final = {
    **{
        scope: f"SELECT a.{scope}_id, SUM(e.amount_nano_usd) FROM entries e JOIN accounts a ON a.id = e.debit"
        " GROUP BY 1"
        for scope in ("organization", "team", "user", "key")
    },
    "tag": "SELECT t.name || '=' || t.value, SUM(e.amount_nano_usd) FROM entries e"
    " JOIN account_tags t ON t.account_id = e.debit GROUP BY 1",
}


@dataclass(frozen=True, slots=True)
class Flight:
    worker: int
    hold: Hold


class Town:
    """Who asks, what all of them hold and have spent by a sum of our own, and which limits are in force."""

    def __init__(self, url: str, directory: Path, requests: int, keys: int, draw: random.Random) -> None:
        self.url, self.draw, self.requests = url, draw, requests
        self.now_us = AT_US
        self.subjects = {scope: math.ceil(keys * share) for scope, share in SCOPES.items()}
        # What each subject's requests would cost, were none refused.
        self.fair = {scope: requests * HOLD_MAX // 4 // subjects for scope, subjects in self.subjects.items()}
        # The most and the least that count: they differ only while a change is on its way to every worker.
        self.most = {scope: share // 5 for scope, share in self.fair.items()}
        self.least = dict(self.most)
        for scope, limit in self.most.items():
            scope_id = "feature=*" if scope == "tag" else "*"
            give_budget(url, scope, scope_type=scope, scope_id=scope_id, limit_nano_usd=limit)
        self.crew = Crew(url, directory, WORKERS, clock=lambda: self.now_us, patience=self.moment)
        self.posted: Counter[tuple[str, str]] = Counter()
        self.pending: Counter[tuple[str, str]] = Counter()
        self.flying: deque[Flight] = deque()
        self.admitted = self.busy = self.spent = self.changes = 0
        self.not_told: list[int] = []  # workers that do not know the last change yet

    def moment(self) -> None:
        self.now_us += PATIENCE_US

    def ask(self, number: int) -> None:
        """One more request, of any key, at any worker: let in as far as each of its scopes has room."""
        draw = self.draw
        key = draw.randrange(self.subjects["key"])
        names = {scope: f"{scope}_{key % subjects}" for scope, subjects in self.subjects.items()}
        names["tag"] = f"feature={names['tag']}"
        accounts = list(names.items())
        most = draw.randint(1, HOLD_MAX)
        least = draw.randint(1, most)
        wanted = hold(
            number,
            opened_at_us=self.now_us,
            organization_id=names["organization"],
            team_id=names["team"],
            user_id=names["user"],
            key_id=names["key"],
            tags=(names["tag"],),
            amount_nano_usd=most,
        )
        worker = draw.randrange(WORKERS)
        answer = self.crew.admit(worker, wanted, least)
        stood = {account: self.posted[account] + self.pending[account] for account in accounts}
        if isinstance(answer, Hold):
            amount = answer.amount_nano_usd
            assert least <= amount <= most
            over = [account for account in accounts if stood[account] + amount > self.most[account[0]]]
            assert over == [], f"{amount} beside {stood} is above the limit in force"
            self.pending.update(dict.fromkeys(accounts, amount))
            self.flying.append(Flight(worker, answer))
            self.admitted += 1
            return
        assert isinstance(answer, BudgetBusy | BudgetExhausted), answer
        assert any(stood[account] + least > self.least[account[0]] for account in accounts), f"it fits: {answer}"
        self._refused(answer, least)

    def _refused(self, answer: BudgetBusy | BudgetExhausted, least: int) -> None:
        if isinstance(answer, BudgetBusy):
            self.busy += 1
            return
        self.spent += 1
        scope = answer.rule.id
        assert self.posted[scope, answer.account.subject] + least > self.least[scope], f"it is only held: {answer}"

    def settle(self) -> None:
        """One of those in flight, for some part of its hold."""
        self.flying.rotate(self.draw.randrange(len(self.flying)))
        flight = self.flying.popleft()
        held = flight.hold
        cost = self.draw.randint(0, held.amount_nano_usd)
        self.crew.settle(flight.worker, held, cost)
        for account in self.accounts_of(held):
            self.pending[account] -= held.amount_nano_usd
            self.posted[account] += cost

    @staticmethod
    def accounts_of(held: Hold) -> list[tuple[str, str]]:
        named = (
            ("organization", held.organization_id),
            ("team", held.team_id),
            ("user", held.user_id),
            ("key", held.key_id),
            ("tag", held.tags[0]),
        )
        return [(scope, name) for scope, name in named if name is not None]

    def change_a_limit(self, store: Store) -> None:
        """Up or down; a worker is told only later, and until all are, either limit may be what counts."""
        self.tell_all()
        scope = self.draw.choice(list(SCOPES))
        # About as much as the time that has gone by lets one expect: some want more, some less.
        share = 100 * self.changes // CHANGES + self.draw.randint(0, 50)
        limit = self.fair[scope] * max(share, 5) // 100
        store.budgets.update(scope, {"limit_nano_usd": limit}, None, ACTOR, self.now_us)
        before = self.most[scope]
        self.most[scope], self.least[scope] = max(before, limit), min(before, limit)
        self.not_told = self.draw.sample(range(WORKERS), WORKERS)
        self.changed = scope, limit
        self.changes += 1

    def tell_one(self) -> None:
        if self.not_told:
            self.crew.books[self.not_told.pop()].reload()
            if not self.not_told:
                scope, limit = self.changed
                self.most[scope] = self.least[scope] = limit

    def tell_all(self) -> None:
        while self.not_told:
            self.tell_one()

    def live(self) -> None:
        requests = self.requests
        every = requests // CHANGES
        with closing(Store(self.url)) as store:
            for number in range(1, requests + 1):
                self.now_us += STEP_US
                if number % every == 0:
                    self.change_a_limit(store)
                if number % 7 == 0:
                    self.tell_one()
                if number % TEND_STEPS == 0:
                    for books in self.crew.books:
                        books.tend()
                self.ask(number)
                while len(self.flying) > self.subjects["key"] // 2:
                    self.settle()
        while self.flying:
            self.settle()
        self.crew.flush()
        self.crew.give_back()


@pytest.mark.slow
@pytest.mark.parametrize(("requests", "keys"), [(10_000, 20), pytest.param(100_000, 200, marks=pytest.mark.long)])
def test_no_scope_exceeds_its_limit_and_each_is_the_sum_of_its_entries(
    url: str, tmp_path: Path, requests: int, keys: int, figure: Tell
) -> None:
    town = Town(url, tmp_path, requests, keys, random.Random(20261125))
    began = time.monotonic()
    try:
        town.live()
    finally:
        town.crew.close()
    took_s = time.monotonic() - began
    rows = query(url, "SELECT budget_id, subject, posted_nano_usd, pending_nano_usd FROM budget_accounts")
    posted = {(budget, subject): amount for budget, subject, amount, _ in rows}
    assert posted == town.posted
    assert {pending for *_, pending in rows} == {0}
    sums = {(scope, subject): int(amount) for scope, sql in SUMS.items() for subject, amount in query(url, sql)}
    assert {account: amount for account, amount in posted.items() if amount} == {
        account: amount for account, amount in sums.items() if amount
    }
    assert chain_is_whole(url)
    assert min(town.admitted, town.busy, town.spent) > requests // 1_000
    figure(
        f"random costs, {keys} keys x {len(SCOPES)} scopes, limits changed meanwhile",
        f"{requests} requests, {WORKERS} workers, {url.partition(':')[0]}",
        f"{town.admitted} held, {town.busy} busy, {town.spent} refused as spent; {town.changes} changes of a limit;"
        f" above the limit in force 0, accounts that differ from their entries 0 of {len(posted)}; {took_s:.0f} s",
    )
