"""Budgets hold, exactly: nothing beyond a limit, nothing refused while it fits, nothing pending when all is over."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from billing.books import EntryKind
from billing.budget_refusals import BudgetBusy, BudgetExhausted
from billing.holds import Hold, charge_of
from billing.wallets import RECALL_MS
from tests.billing.budget_rows import give_budget, set_limit
from tests.billing.conftest import now_us
from tests.billing.crew import Crew, kill
from tests.billing.ledger_rows import query
from tests.billing.makers import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from billing.visits import Found, Visit

    Crewed = Callable[[int], Crew]

CENT = 10_000_000


@pytest.fixture
def crewed(url: str, tmp_path: Path) -> Iterator[Crewed]:
    with ExitStack() as stack:

        def made(workers: int) -> Crew:
            late_us = 0

            def patience() -> None:
                nonlocal late_us
                late_us += RECALL_MS * 1000

            crew = Crew(url, tmp_path, workers, clock=lambda: now_us() + late_us, patience=patience)
            stack.callback(crew.close)
            return crew

        yield made


@pytest.mark.parametrize("workers", [1, 4])
def test_a_dollar_serves_exactly_a_hundred_cents(url: str, crewed: Crewed, workers: int) -> None:
    give_budget(url)
    crew = crewed(workers)
    served: list[tuple[int, Hold]] = []
    refused: list[Exception] = []
    for number in range(1, 501):
        worker = number % workers
        answer = crew.admit(worker, hold(number, amount_nano_usd=CENT))
        if isinstance(answer, Hold):
            served.append((worker, answer))
        else:
            refused.append(answer)
    assert len(served) == 100
    assert all(isinstance(answer, BudgetBusy) for answer in refused)
    for worker, held in served:
        crew.settle(worker, held, CENT)
    crew.flush()
    for worker in range(workers):
        assert isinstance(crew.admit(worker, hold(1000 + worker, amount_nano_usd=CENT)), BudgetExhausted)
    assert crew.account() == (100 * CENT, 0)


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_not_used_is_there_for_others(url: str, crewed: Crewed, workers: int) -> None:
    give_budget(url)
    crew = crewed(workers)
    for number in range(1, 301):
        worker = number % workers
        held = crew.admit(worker, hold(number, amount_nano_usd=50 * CENT), least=CENT)
        assert isinstance(held, Hold)
        crew.settle(worker, held, CENT // 10)
    crew.flush()
    crew.give_back()
    assert crew.account() == (300 * (CENT // 10), 0)


def test_the_hot_path_asks_no_database_while_a_lease_lasts(url: str, crewed: Crewed) -> None:
    give_budget(url, limit_nano_usd=10**15)
    crew = crewed(1)
    visits: list[Visit] = []
    wallets = crew.books[0].wallets
    visit = wallets.visit

    def counted(wanted: Visit, done: Callable[[Found | Exception], None]) -> None:
        visits.append(wanted)
        visit(wanted, done)

    wallets.visit = counted
    for number in range(1, 1001):
        held = crew.admit(0, hold(number, amount_nano_usd=CENT))
        assert isinstance(held, Hold)
        crew.settle(0, held, CENT)
    assert len(visits) == 1


@pytest.mark.parametrize("share", [0.001, 0.9])
def test_a_slice_stays_at_work_while_the_database_is_told_of_it_or_tops_it_up(
    url: str, crewed: Crewed, share: float
) -> None:
    give_budget(url, limit_nano_usd=1000 * CENT)
    crew = crewed(1)
    assert isinstance(crew.admit(0, hold(1, amount_nano_usd=CENT)), Hold)
    wallets = crew.books[0].wallets
    (wallet,) = wallets.kept()
    amount = int(wallet.free * share)
    visit = wallets.visit
    during: list[bool] = []

    def watched(wanted: Visit, done: Callable[[Found | Exception], None]) -> None:
        during.append(wallets.take((wallet,), CENT, CENT))
        visit(wanted, done)

    wallets.visit = watched
    assert wallets.take((wallet,), amount, amount)
    crew.books[0].tend()
    assert during == [True]
    # Topped up to half of what nobody holds, where it was low; else as it was.
    left = 1000 * CENT - 2 * CENT - amount
    wanted = left // 2 if share > 0.5 else wallet.free
    assert abs(wallet.free - wanted) <= CENT
    crew.give_back()
    assert crew.account() == (0, 2 * CENT + amount)


@pytest.mark.parametrize("lowered", [False, True])
def test_wishes_that_come_while_a_slice_is_away_are_met_by_what_it_brings_unless_the_limit_has_changed(
    url: str, crewed: Crewed, lowered: bool
) -> None:
    give_budget(url)
    crew = crewed(1)
    wallets = crew.books[0].wallets
    bound = wallets.of(charge_of(hold(1)), now_us())
    visit = wallets.visit
    visits = 0
    answers: list[int | Exception] = []

    def watched(wanted: Visit, done: Callable[[Found | Exception], None]) -> None:
        nonlocal visits
        visits += 1
        if visits > 1:
            return visit(wanted, done)
        wallets.ask(bound, 20 * CENT, 20 * CENT, answers.append)
        wallets.ask(bound, 10 * CENT, 10 * CENT, answers.append)

        def late(found: Found | Exception) -> None:
            if lowered:
                set_limit(url, "b1", 25 * CENT)
                crew.books[0].reload()
            done(found)

        return visit(wanted, late)

    wallets.visit = watched
    wallets.ask(bound, CENT, CENT, answers.append)
    if lowered:
        assert answers[:2] == [CENT, 20 * CENT]
        assert isinstance(answers[2], BudgetBusy)
    else:
        assert answers == [CENT, 20 * CENT, 10 * CENT]
        assert visits == 1


def test_what_a_hold_has_left_over_in_another_worker_is_there_at_once(url: str, crewed: Crewed) -> None:
    """Although the database still counts it as held: it was last told before the hold ended."""
    give_budget(url)
    crew = crewed(2)
    held = crew.admit(0, hold(1, amount_nano_usd=100 * CENT))
    assert isinstance(held, Hold)
    crew.settle(0, held, 10 * CENT)
    answer = crew.admit(1, hold(2, amount_nano_usd=50 * CENT))
    assert isinstance(answer, Hold), answer


def test_what_is_posted_while_a_wish_is_on_its_way_is_counted_once(url: str, crewed: Crewed) -> None:
    """Counted twice, it would make a budget spent that is only held."""
    give_budget(url)
    crew = crewed(1)
    for number, amount in ((1, 40 * CENT), (2, 30 * CENT)):
        assert isinstance(crew.admit(0, hold(number, amount_nano_usd=amount)), Hold)
    crew.settle(0, hold(1, amount_nano_usd=40 * CENT), 40 * CENT)
    wallets = crew.books[0].wallets
    visit = wallets.visit

    def overtaken(wanted: Visit, done: Callable[[Found | Exception], None]) -> None:
        crew.flush()
        visit(wanted, done)

    wallets.visit = overtaken
    refused = crew.admit(0, hold(3, amount_nano_usd=50 * CENT))
    assert isinstance(refused, BudgetBusy), refused
    assert "left 0.600000000 USD" in str(refused)


def test_what_is_settled_and_not_yet_posted_is_not_told_as_left(url: str, crewed: Crewed) -> None:
    give_budget(url)
    crew = crewed(1)
    held = crew.admit(0, hold(1, amount_nano_usd=95 * CENT))
    assert isinstance(held, Hold)
    crew.books[0]._flusher.turn = lambda: False  # type: ignore[method-assign]
    crew.settle(0, held, 95 * CENT)
    refused = crew.admit(0, hold(2, amount_nano_usd=10 * CENT))
    assert isinstance(refused, BudgetExhausted)
    assert "left 0.050000000 USD" in str(refused)


def test_an_overrun_is_posted_apart_and_told(url: str, crewed: Crewed) -> None:
    give_budget(url)
    crew = crewed(1)
    held = crew.admit(0, hold(1, amount_nano_usd=CENT))
    assert isinstance(held, Hold)
    crew.settle(0, held, 3 * CENT)
    crew.flush()
    rows = query(url, "SELECT kind, amount_nano_usd, requests FROM entries ORDER BY id")
    assert rows == [(EntryKind.ACTUAL, CENT, 1), (EntryKind.OVERRUN, 2 * CENT, 0)]
    crew.give_back()
    assert crew.account() == (3 * CENT, 0)


def test_a_limit_that_is_lowered_holds_at_once_and_one_that_is_raised_as_well(url: str, crewed: Crewed) -> None:
    give_budget(url)
    crew = crewed(2)
    held = crew.admit(0, hold(1, amount_nano_usd=30 * CENT))
    assert isinstance(held, Hold)
    set_limit(url, "b1", 40 * CENT)
    for books in crew.books:
        books.reload()
    assert isinstance(crew.admit(1, hold(2, amount_nano_usd=20 * CENT)), BudgetBusy)
    small = crew.admit(1, hold(3, amount_nano_usd=10 * CENT))
    assert isinstance(small, Hold)
    set_limit(url, "b1", 100 * CENT)
    for books in crew.books:
        books.reload()
    assert isinstance(crew.admit(0, hold(4, amount_nano_usd=60 * CENT)), Hold)


def test_what_a_hold_leaves_over_is_no_other_holds_when_the_limit_was_lowered_below_what_is_spent(
    url: str, crewed: Crewed
) -> None:
    give_budget(url)
    crew = crewed(2)
    for number in (1, 2):
        assert isinstance(crew.admit(0, hold(number, amount_nano_usd=30 * CENT)), Hold)
    set_limit(url, "b1", 40 * CENT)
    for books in crew.books:
        books.reload()
    crew.settle(0, hold(1, amount_nano_usd=30 * CENT), 20 * CENT)
    assert isinstance(crew.admit(0, hold(3, amount_nano_usd=5 * CENT)), BudgetBusy)
    crew.settle(0, hold(2, amount_nano_usd=30 * CENT), 20 * CENT)
    assert isinstance(crew.admit(0, hold(4, amount_nano_usd=1)), BudgetExhausted)
    crew.flush()
    crew.give_back()
    assert crew.account() == (40 * CENT, 0)


def test_a_new_budget_counts_what_was_spent_and_what_is_in_flight(url: str, crewed: Crewed) -> None:
    crew = crewed(1)
    for number in (1, 2):
        held = crew.admit(0, hold(number, amount_nano_usd=30 * CENT))
        assert isinstance(held, Hold)
    crew.settle(0, hold(1, amount_nano_usd=30 * CENT), 20 * CENT)
    crew.flush()
    give_budget(url)
    crew.books[0].reload()
    assert isinstance(crew.admit(0, hold(3, amount_nano_usd=51 * CENT)), BudgetBusy)
    assert isinstance(crew.admit(0, hold(4, amount_nano_usd=50 * CENT)), Hold)
    assert crew.account() == (20 * CENT, 80 * CENT)


def test_what_is_in_flight_elsewhere_when_a_budget_is_made_leaves_no_slice_beyond_it(url: str, crewed: Crewed) -> None:
    crew = crewed(2)
    assert isinstance(crew.admit(0, hold(1, amount_nano_usd=90 * CENT)), Hold)
    give_budget(url)
    crew.books[1].reload()
    assert isinstance(crew.admit(1, hold(2, amount_nano_usd=CENT)), Hold)
    assert sum(wallet.free for wallet in crew.books[1].wallets.kept()) > 10 * CENT, "it has a slice of what seems free"
    crew.books[0].reload()
    assert isinstance(crew.admit(1, hold(3, amount_nano_usd=10 * CENT)), BudgetBusy)
    assert isinstance(crew.admit(1, hold(4, amount_nano_usd=9 * CENT)), Hold)
    assert crew.account() == (0, 100 * CENT)


def test_a_killed_workers_leases_come_back_once_its_journal_is_read(url: str, crewed: Crewed) -> None:
    give_budget(url)
    crew = crewed(1)
    assert isinstance(crew.admit(0, hold(1, amount_nano_usd=CENT)), Hold)
    kill(crew.books[0])
    posted, pending = crew.account()
    assert posted == 0
    assert pending > CENT
    crew.reopen(0)
    assert crew.account() == (CENT, 0)


def test_what_another_worker_held_when_it_last_told_and_uses_no_more_is_asked_back(url: str, crewed: Crewed) -> None:
    give_budget(url)
    crew = crewed(2)
    held = crew.admit(0, hold(1, amount_nano_usd=100 * CENT))
    assert isinstance(held, Hold)
    crew.settle(0, held, CENT)
    assert query(url, "SELECT amount_nano_usd - open_nano_usd FROM leases") == [(0,)], "nobody was told yet"
    assert isinstance(crew.admit(1, hold(2, amount_nano_usd=99 * CENT)), Hold)


def test_what_is_posted_while_a_wish_is_on_its_way_counts_once(url: str, crewed: Crewed) -> None:
    give_budget(url)
    crew = crewed(2)
    for worker, number, amount in ((0, 1, 46), (1, 2, 50)):
        held = crew.admit(worker, hold(number, amount_nano_usd=amount * CENT))
        assert isinstance(held, Hold)
    crew.settle(0, hold(1, amount_nano_usd=46 * CENT), 46 * CENT)
    books = crew.books[0]
    visit = books.wallets.visit

    def overtaken(wanted: Visit, done: Callable[[Found | Exception], None]) -> None:
        books.flush()
        visit(wanted, done)

    books.wallets.visit = overtaken
    assert isinstance(crew.admit(0, hold(3, amount_nano_usd=10 * CENT)), BudgetBusy)


def test_what_is_settled_and_not_posted_yet_is_spent(url: str, crewed: Crewed) -> None:
    give_budget(url)
    crew = crewed(1)
    held = crew.admit(0, hold(1, amount_nano_usd=96 * CENT))
    assert isinstance(held, Hold)
    crew.settle(0, held, 96 * CENT)
    assert isinstance(crew.admit(0, hold(2, amount_nano_usd=10 * CENT)), BudgetExhausted)
