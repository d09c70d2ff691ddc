"""What is told of a budget's spend: each threshold once, at the nano-dollar, and never twice in a window."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.alerts import (
    BACKOFF_US_MAX,
    GIVE_UP_US,
    SOFT,
    Spend,
    crossed_by,
    event_of,
    given_up,
    thresholds_of,
    wait_us,
)
from billing.scopes import Rule
from billing.windows import Window

USUAL = thresholds_of([Decimal("0.8"), Decimal("0.95"), Decimal("1.0")])
RULE = Rule("b1", "team", "*", None, 1_000_000_000, 500_000_000, Window.DAY, "Europe/Berlin")
NOON = 1_764_072_000_000_000


def spend(before: int | None, posted: int, limit: int | None = 1_000_000_000) -> Spend:
    return Spend(7, "team_1", NOON, NOON + 86_400_000_000, limit, before, posted)


def test_shares_are_named_as_they_are_written_and_sorted() -> None:
    assert [each.text for each in USUAL] == ["0.8", "0.95", "1"]
    assert [each.text for each in thresholds_of([Decimal("1.00"), Decimal("0.50"), Decimal(1)])] == ["0.5", "1"]


def test_a_threshold_is_crossed_at_its_nano_dollar_and_once() -> None:
    assert crossed_by(spend(0, 799_999_999), None, USUAL) == ()
    assert crossed_by(spend(799_999_999, 800_000_000), None, USUAL) == ("0.8",)
    assert crossed_by(spend(800_000_000, 949_999_999), None, USUAL) == ()
    assert crossed_by(spend(0, 1_000_000_000), 500_000_000, USUAL) == (SOFT, "0.8", "0.95", "1")


def test_a_budget_without_a_limit_tells_its_soft_limit_alone() -> None:
    assert crossed_by(spend(0, 10**12, limit=None), 500, USUAL) == (SOFT,)
    assert crossed_by(spend(0, 10**12, limit=None), None, USUAL) == ()


def test_a_limit_that_was_lowered_tells_all_that_is_stood_above() -> None:
    assert crossed_by(spend(None, 900_000_000), 100, USUAL) == (SOFT, "0.8")
    assert crossed_by(spend(None, 0, limit=0), None, USUAL) == (), "a limit of nothing is no news"


_amounts = st.lists(st.integers(0, 10**9), min_size=1, max_size=20)


@given(_amounts, st.integers(1, 10**10), st.none() | st.integers(1, 10**10))
def test_however_spend_comes_in_each_threshold_below_it_is_told_exactly_once(
    amounts: list[int], limit: int, soft: int | None
) -> None:
    posted = 0
    told: list[str] = []
    for amount in amounts:
        told += crossed_by(spend(posted, posted + amount, limit), soft, USUAL)
        posted += amount
    due = {each.text for each in USUAL if posted >= Fraction(each.text) * limit}
    assert sorted(told) == sorted(due | ({SOFT} if soft is not None and posted >= soft else set()))
    assert len(set(told)) == len(told)


def test_an_event_is_the_same_bytes_under_the_same_name_whenever_it_is_made() -> None:
    event = event_of(RULE, spend(0, 812_000_000), "0.8", NOON + 5)
    assert event == event_of(RULE, spend(0, 812_000_000), "0.8", NOON + 5)
    assert event.id != event_of(RULE, spend(0, 812_000_000), "0.95", NOON + 5).id
    assert json.loads(event.document) == {
        "id": event.id,
        "type": "budget_threshold",
        "created_at": "2025-11-25T12:00:00.000005Z",
        "data": {
            "budget_id": "b1",
            "scope": {"type": "team", "id": "*", "team_id": None},
            "subject": "team_1",
            "threshold": "0.8",
            "limit_usd": "1.000000000",
            "soft_limit_usd": "0.500000000",
            "spent_usd": "0.812000000",
            "window": "day",
            "timezone": "Europe/Berlin",
            "window_start": "2025-11-25T12:00:00.000000Z",
            "resets_at": "2025-11-26T12:00:00.000000Z",
        },
    }
    soft = event_of(RULE, spend(0, 1), SOFT, NOON)
    assert (soft.type, json.loads(soft.document)["data"]["threshold"]) == ("budget_soft_limit", None)


@given(st.integers(1, 200), st.integers(0, 999_999))
def test_waits_double_to_a_bound_and_chance_takes_at_most_half(failures: int, draw: int) -> None:
    whole = wait_us(failures, 0)
    assert whole == min(2 ** (failures - 1) * 1_000_000, BACKOFF_US_MAX)
    assert whole // 2 <= wait_us(failures, draw) <= whole


def test_a_receiver_has_a_day_at_least_and_a_restart_gives_it_another() -> None:
    assert not given_up(0, 0, GIVE_UP_US - 1)
    assert given_up(0, 0, GIVE_UP_US)
    assert not given_up(0, GIVE_UP_US, GIVE_UP_US + 1)
    assert GIVE_UP_US >= 3600 * 1_000_000
