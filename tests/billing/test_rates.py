"""Limits decide together, refill evenly as OpenAI's headers say, and count what was used."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.limits import Limit
from billing.rates import (
    CONCURRENCY,
    NONE,
    OWED_WINDOWS_MAX,
    REQUESTS,
    SIZE,
    TOKENS,
    WINDOW_US,
    Count,
    Decision,
    Subject,
    decide,
    finish,
)

T0: Final = 1_700_000_000_000_000
SECOND: Final = 1_000_000


def fresh(at_us: int = T0) -> Count:
    return Count(0, 0, 0, at_us)


def subject(requests: int | None = None, tokens: int | None = None, concurrency: int | None = None) -> Subject:
    return Subject("key:a", "key `a`", Limit(requests, tokens, concurrency))


def ask(bound: Subject, count: Count, now_us: int, tokens: int = 0, prompt: int = 0) -> Decision:
    return decide([bound], [count], tokens, prompt, now_us)


def test_the_headers_of_the_first_of_sixty_requests_are_those_of_openai() -> None:
    decision = ask(subject(requests=60), fresh(), T0)
    shown = decision.requests
    assert (decision.kind, shown.limit, shown.remaining, shown.reset_us) == ("", 60, 59, SECOND)
    assert decision.tokens.limit == NONE


def test_a_minutes_worth_passes_at_once_and_then_the_even_pace_holds() -> None:
    bound, count = subject(requests=60), fresh()
    assert [ask(bound, count, T0).kind for _ in range(61)] == [""] * 60 + [REQUESTS]
    assert ask(bound, count, T0).wait_us == SECOND
    assert ask(bound, count, T0 + SECOND - 1).kind == REQUESTS
    assert ask(bound, count, T0 + SECOND).kind == ""
    assert ask(bound, count, T0 + SECOND).wait_us == SECOND


@given(
    limit=st.integers(1, 1000),
    gaps=st.lists(st.integers(0, 5 * SECOND), min_size=1, max_size=200),
)
def test_no_span_of_time_sees_more_than_a_minutes_worth_and_what_it_refills(limit: int, gaps: list[int]) -> None:
    bound, count, now_us = subject(requests=limit), fresh(), T0
    passed = []
    for gap in gaps:
        now_us += gap
        if ask(bound, count, now_us).kind == "":
            passed.append(now_us)
    for first, begun_us in enumerate(passed):
        for last in range(first, len(passed)):
            assert (last - first + 1) * WINDOW_US <= limit * (WINDOW_US + passed[last] - begun_us)


@given(limit=st.integers(1, 10**9), waits=st.integers(0, 70 * SECOND))
def test_what_is_told_to_wait_is_exactly_what_it_takes(limit: int, waits: int) -> None:
    bound, count = subject(requests=limit), Count(limit * WINDOW_US, 0, 0, T0)
    wait_us = ask(bound, count, T0).wait_us
    assert ask(bound, Count(limit * WINDOW_US, 0, 0, T0), T0 + wait_us - 1).kind == REQUESTS
    assert ask(bound, Count(limit * WINDOW_US, 0, 0, T0), T0 + wait_us + waits).kind == ""


def test_several_limits_take_all_or_nothing() -> None:
    wide, narrow = subject(requests=100), subject(requests=1)
    counts = [fresh(), fresh()]
    assert decide([wide, narrow], counts, 0, 0, T0).kind == ""
    refused = decide([wide, narrow], counts, 0, 0, T0)
    assert (refused.kind, refused.subject) == (REQUESTS, narrow)
    assert [count.requests for count in counts] == [WINDOW_US, WINDOW_US]
    assert [count.running for count in counts] == [1, 1]


def test_the_tightest_of_each_sort_shows() -> None:
    one, two = subject(requests=100, tokens=1000), subject(requests=5, tokens=100_000)
    decision = decide([one, two], [fresh(), fresh()], 300, 20, T0)
    assert (decision.requests.limit, decision.requests.remaining) == (5, 4)
    assert (decision.tokens.limit, decision.tokens.remaining) == (1000, 700)


def test_the_longest_wait_of_several_refusals_is_told() -> None:
    soon, late = subject(requests=60), subject(requests=1)
    counts = [Count(60 * WINDOW_US, 0, 0, T0), Count(WINDOW_US, 0, 0, T0)]
    for order in ([soon, late], [late, soon]):
        refused = decide(order, counts if order[0] is soon else counts[::-1], 0, 0, T0)
        assert (refused.subject, refused.wait_us) == (late, WINDOW_US)


def test_tokens_are_counted_on_what_was_used() -> None:
    bound, count = subject(tokens=1000), fresh()
    assert ask(bound, count, T0, tokens=600).tokens.remaining == 400
    assert ask(bound, count, T0, tokens=600).kind == TOKENS
    finish(bound, count, 600, 50, T0, T0)
    assert ask(bound, count, T0, tokens=600).tokens.remaining == 350
    finish(bound, count, 600, 900, T0, T0)
    refused = ask(bound, count, T0, tokens=51)
    assert (refused.kind, refused.tokens.remaining) == (TOKENS, 50)


def test_what_was_used_beyond_the_limit_is_paid_back_by_waiting() -> None:
    bound, count = subject(tokens=1000), fresh()
    ask(bound, count, T0, tokens=10)
    finish(bound, count, 10, 3000, T0, T0)
    refused = ask(bound, count, T0, tokens=10)
    assert (refused.kind, refused.tokens.remaining) == (TOKENS, 0)
    assert refused.wait_us == 2 * WINDOW_US + WINDOW_US * 10 // 1000
    assert ask(bound, count, T0 + refused.wait_us, tokens=10).kind == ""


def test_an_absurd_figure_of_a_provider_shuts_nobody_out_for_more_than_an_hour() -> None:
    bound, count = subject(tokens=1000), fresh()
    ask(bound, count, T0, tokens=10)
    finish(bound, count, 10, 10**15, T0, T0)
    assert ask(bound, count, T0, tokens=10).wait_us <= OWED_WINDOWS_MAX * WINDOW_US
    assert ask(bound, count, T0 + OWED_WINDOWS_MAX * WINDOW_US, tokens=10).kind == ""


def test_a_minute_after_it_began_nothing_of_an_estimate_is_left_to_give_back() -> None:
    bound, count = subject(tokens=1000), fresh()
    ask(bound, count, T0, tokens=1000)
    later = T0 + WINDOW_US
    assert ask(bound, count, later, tokens=800).kind == ""
    finish(bound, count, 1000, 0, T0, later)
    assert ask(bound, count, later, tokens=0).tokens.remaining == 200


def test_an_estimate_above_the_limit_waits_for_all_of_it_and_a_prompt_above_it_is_refused() -> None:
    bound, count = subject(tokens=100), fresh()
    assert ask(bound, count, T0, tokens=356, prompt=100).tokens.remaining == 0
    finish(bound, count, 356, 1, T0, T0)
    assert ask(bound, count, T0, tokens=356, prompt=100).kind == TOKENS
    refused = ask(bound, fresh(), T0, tokens=357, prompt=101)
    assert (refused.kind, refused.tokens.remaining) == (SIZE, 100)


def test_concurrency_counts_what_is_under_way() -> None:
    bound, count = subject(concurrency=2), fresh()
    assert [ask(bound, count, T0).kind for _ in range(3)] == ["", "", CONCURRENCY]
    finish(bound, count, 0, 0, T0, T0)
    assert ask(bound, count, T0).kind == ""


@pytest.mark.parametrize(
    ("limit", "kind"), [((0, None, None), REQUESTS), ((None, 0, None), TOKENS), ((None, None, 0), CONCURRENCY)]
)
def test_a_limit_of_nothing_lets_nothing_through(limit: tuple[int | None, ...], kind: str) -> None:
    refused = decide([Subject("a", "a", Limit(*limit))], [fresh()], 0, 0, T0)
    assert refused.kind == kind
    assert refused.wait_us > 0


def test_a_clock_that_was_set_back_does_not_stop_the_refill_for_long() -> None:
    bound = subject(requests=60)
    count = Count(60 * WINDOW_US, 0, 0, T0)
    assert ask(bound, count, T0 - 5).kind == REQUESTS
    assert count.at_us == T0, "a reading that is a little late gives nothing back twice"
    hour_ago = T0 - 3600 * SECOND
    assert ask(bound, count, hour_ago).kind == REQUESTS
    assert ask(bound, count, hour_ago + SECOND).kind == ""


@given(st.lists(st.sampled_from(["ask", "end"]), max_size=60))
def test_what_is_under_way_is_never_less_than_nothing(steps: list[str]) -> None:
    bound, count, seen = subject(concurrency=3), fresh(), Counter[str]()
    for step in steps:
        if step == "ask":
            seen[ask(bound, count, T0).kind] += 1
        else:
            finish(bound, count, 0, 0, T0, T0)
        assert 0 <= count.running <= 3
