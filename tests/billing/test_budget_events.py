"""Thresholds in the database: written with the money that crossed them, and waiting until they are delivered."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from billing import queries
from billing.alerts import SOFT, thresholds_of
from billing.audit import Actor
from billing.books import Books, EntryKind
from billing.budget_events import Alerts, Hook, Outbox, Watch
from billing.budget_store import Budgets
from billing.budgets import Budget
from billing.corrections import Corrections
from billing.database import open_engine, writing
from billing.scopes import Account, Rule
from billing.store import Store
from billing.windows import Window, span
from tests.billing.budget_rows import give_budget, set_limit
from tests.billing.conftest import now_us
from tests.billing.ledger_rows import entries
from tests.billing.makers import AT_US, USAGE, hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from billing.alerts import BudgetEvent

BOTH = frozenset({"budget_threshold", "budget_soft_limit"})
ALERTS = Alerts(
    thresholds_of([Decimal("0.8"), Decimal(1)]), (Hook("all", BOTH), Hook("soft", BOTH - {"budget_threshold"}))
)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    give_budget(url, soft_limit_nano_usd=500_000_000)
    engine = open_engine(url)
    yield engine
    engine.dispose()


def post(engine: Engine, amount: int, alerts: Alerts = ALERTS, at_us: int = AT_US) -> tuple[BudgetEvent, ...]:
    """What the flusher does: adds to the account, then asks what that crossed."""
    with writing(engine).begin() as tx:
        rules = queries.budget_rules(tx)
        (account,) = queries.account_ids(tx, [(rules[0], Account("b1", "team_1", 0, None))]).values()
        queries.post_to_accounts(tx, {account: amount}, {}, "boot")
        return alerts.crossed(tx, {account: amount}, rules, at_us)


def waiting(engine: Engine, hook: str) -> list[str]:
    return [event.threshold for event in Outbox(engine).waiting(hook, 100)]


def test_each_threshold_is_told_once_and_waits_for_who_wants_it(engine: Engine) -> None:
    told = [[event.threshold for event in post(engine, 300_000_000)] for _ in range(5)]
    assert told == [[], [SOFT], ["0.8"], ["1"], []]
    assert waiting(engine, "all") == [SOFT, "0.8", "1"]
    assert waiting(engine, "soft") == [SOFT]
    assert Outbox(engine).count() == 4
    assert [event.threshold for event in Outbox(engine).recent(10, "b1")].count("0.8") == 1
    assert Outbox(engine).recent(10, "b2") == []


def test_what_was_told_is_not_told_again_when_the_limit_is_raised_and_reached_anew(url: str, engine: Engine) -> None:
    post(engine, 900_000_000)
    set_limit(url, "b1", 2_000_000_000)
    assert [event.threshold for event in post(engine, 1_100_000_000)] == ["1"]


def test_a_limit_that_was_lowered_is_told_where_the_account_stands_above_it(url: str, engine: Engine) -> None:
    assert [event.threshold for event in post(engine, 600_000_000)] == [SOFT]
    set_limit(url, "b1", 700_000_000)
    with writing(engine).begin() as tx:
        (row,) = queries.account_rows(tx, [1])
        events = ALERTS.crossed(tx, {row.id: None}, queries.budget_rules(tx), AT_US)
    assert [event.threshold for event in events] == ["0.8"]


def test_money_that_was_not_posted_is_not_told(engine: Engine) -> None:
    with writing(engine).connect() as tx:
        rules = queries.budget_rules(tx)
        (account,) = queries.account_ids(tx, [(rules[0], Account("b1", "team_1", 0, None))]).values()
        queries.post_to_accounts(tx, {account: 10**9}, {}, "boot")
        assert ALERTS.crossed(tx, {account: 10**9}, rules, AT_US)
        tx.rollback()
    assert waiting(engine, "all") == []
    assert len(post(engine, 10**9)) == 3


def test_a_budget_that_nobody_watches_asks_nothing_of_the_database(engine: Engine) -> None:
    rule = Rule("b9", "team", "team_1", None, 1, None, Window.TOTAL, "UTC")
    with engine.begin() as tx:
        assert Alerts(()).crossed(tx, {1: 1}, [rule], AT_US) == ()
        assert ALERTS.crossed(tx, {}, [rule], AT_US) == ()


def test_what_was_delivered_or_given_up_waits_no_more(engine: Engine) -> None:
    events = post(engine, 10**9)
    outbox = Outbox(engine)
    outbox.delivered("all", events[0].id, AT_US)
    assert waiting(engine, "all") == ["0.8", "1"]
    assert waiting(engine, "soft") == [SOFT], "each webhook for itself"
    outbox.given_up("all", events[1].id, AT_US)
    assert waiting(engine, "all") == ["1"]


def test_a_queue_keeps_its_bound_by_giving_up_what_waited_longest(engine: Engine) -> None:
    post(engine, 10**9)
    outbox = Outbox(engine)
    assert outbox.trim("all", AT_US, kept=3) == 0
    assert outbox.trim("all", AT_US, kept=2) == 1
    assert waiting(engine, "all") == ["0.8", "1"]
    assert outbox.trim("soft", AT_US) == 0


def test_the_flusher_tells_what_its_batch_has_crossed_and_recovery_as_well(url: str, tmp_path: Path) -> None:
    give_budget(url, soft_limit_nano_usd=500_000_000)
    told: list[str] = []

    def books() -> Books:
        made = Books(url, tmp_path / "journal", clock=now_us, boot_id=f"boot{len(told)}")
        made.tell(ALERTS, lambda events: told.extend(event.threshold for event in events))
        made.open()
        return made

    first = books()
    for number in (1, 2):
        held = hold(number, amount_nano_usd=450_000_000)
        first.reserve_and_dispatch(held)
        first.settle(held, USAGE, 300_000_000, EntryKind.ACTUAL)
        first.flush()
    assert told == [SOFT]
    left = hold(3, amount_nano_usd=300_000_000)
    first.reserve_and_dispatch(left)
    first.close()
    second = books()
    second.flush()
    assert told == [SOFT, "0.8"], "an outcome that nobody knows charges its hold, and that is told too"
    second.close()


def heard(engine: Engine, alerts: Alerts = ALERTS) -> tuple[Watch, list[str]]:
    told: list[str] = []

    def on_crossed(events: Sequence[BudgetEvent]) -> None:
        assert {event.id for event in events} <= {event.id for event in Outbox(engine).recent(100)}, "after the commit"
        told.extend(event.threshold for event in events)

    return Watch(alerts, on_crossed), told


def test_a_limit_that_is_lowered_tells_what_the_account_stands_above_by_now(engine: Engine) -> None:
    post(engine, 300_000_000)
    budgets = Budgets(engine)
    budgets.watch, told = heard(engine)
    for changes in ({"limit_nano_usd": 375_000_000, "soft_limit_nano_usd": None}, {"soft_limit_nano_usd": 300_000_000}):
        budgets.update("b1", changes, None, Actor("system"), AT_US)
    assert told == ["0.8", SOFT]
    assert waiting(engine, "all") == ["0.8", SOFT]
    assert waiting(engine, "soft") == [SOFT]
    budgets.update("b1", {"soft_limit_nano_usd": 290_000_000}, None, Actor("system"), AT_US)
    budgets.update("b1", {"limit_nano_usd": 310_000_000}, None, Actor("system"), AT_US)
    assert told == ["0.8", SOFT], "once in a window"


def test_a_window_that_is_over_tells_nothing_when_its_budget_is_changed(url: str, engine: Engine) -> None:
    give_budget(url, "daily", window="day")
    with writing(engine).begin() as tx:
        rule = next(rule for rule in queries.budget_rules(tx) if rule.id == "daily")
        start_us, end_us = span(Window.DAY, "UTC", AT_US)
        ids = queries.account_ids(tx, [(rule, Account("daily", "team_1", start_us, end_us))])
        queries.post_to_accounts(tx, dict.fromkeys(ids.values(), 10**8), {}, "boot")
    budgets = Budgets(engine)
    budgets.watch, told = heard(engine)
    assert end_us is not None
    budgets.update("daily", {"limit_nano_usd": 10**7}, None, Actor("system"), end_us)
    assert told == []
    budgets.update("daily", {"limit_nano_usd": 10**7 - 1}, None, Actor("system"), end_us - 1)
    assert told == ["0.8", "1"]


def spend(url: str, tmp_path: Path, *amounts: int, alerts: Alerts | None = None) -> list[str]:
    """A boot that posts these amounts, one after the other; what it told."""
    told: list[str] = []
    books = Books(url, tmp_path / "journal", clock=now_us, boot_id=f"boot{now_us()}")
    if alerts is not None:
        books.tell(alerts, lambda events: told.extend(event.threshold for event in events))
    books.open()
    for amount in amounts:
        held = hold(now_us() % 10**9, amount_nano_usd=amount)
        books.reserve_and_dispatch(held)
        books.settle(held, USAGE, amount, EntryKind.ACTUAL)
        books.flush()
    books.close()
    return told


def test_a_budget_for_what_is_spent_already_tells_it_at_once_or_with_the_next_posting(url: str, tmp_path: Path) -> None:
    spend(url, tmp_path, 900_000_000)
    engine = open_engine(url)
    store = Store(url)
    store.create_team("team_1", "one", None, Actor("system"), AT_US)
    store.close()
    budgets = Budgets(engine)
    budgets.watch, told = heard(engine)
    budgets.create(Budget("one", "team", "team_1", None, 10**9, 500_000_000), Actor("system"), AT_US)
    assert told == [SOFT, "0.8"]
    budgets.create(Budget("each", "team", "*", None, 10**9, 500_000_000), Actor("system"), AT_US)
    assert told == [SOFT, "0.8"], "of each separately: who they are is not known before they spend"
    assert spend(url, tmp_path, 1, 1, alerts=ALERTS) == [SOFT, "0.8"]
    assert spend(url, tmp_path, 1, alerts=ALERTS) == [], "another boot knows that it was told"
    engine.dispose()


def test_a_correction_tells_what_it_crosses(url: str, tmp_path: Path, engine: Engine) -> None:
    spend(url, tmp_path, 400_000_000)
    watch, told = heard(engine)
    corrections = Corrections(engine, None, watch)

    def adjust(amount: int, kind: EntryKind = EntryKind.ADJUSTMENT) -> None:
        (request_id,) = {entry.request_id for entry in entries(url)}
        corrections.adjust(request_id, 1, amount, kind, "the provider said so", Actor("system"), AT_US)

    adjust(50_000_000)
    assert told == []
    adjust(100_000_000)
    assert told == [SOFT]
    adjust(-200_000_000, EntryKind.REFUND)
    adjust(500_000_000)
    assert told == [SOFT, "0.8"], "once in a window, however often it is crossed"
    assert waiting(engine, "all") == [SOFT, "0.8"]
