"""Cooldowns: exact where the provider said so, growing where it did not, gone with the first success."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.health import (
    FAILURES_MAX,
    NEXT,
    RETRY_AFTER_S_MAX,
    TRIP_REST_S,
    TRIPS_COUNTED_MAX,
    US_PER_S,
    Event,
    Health,
    State,
)
from routing.outcome import VERDICTS, Effect, Outcome

NOW = 1_764_000_000 * US_PER_S
COUNTED = [outcome for outcome in Outcome if VERDICTS[outcome].effect is Effect.COUNTS]
SILENT = [outcome for outcome in Outcome if VERDICTS[outcome].effect is Effect.SAYS_NOTHING]


def rest_s(health: Health, now: int = NOW) -> float:
    return max(0.0, (health.cooling_until("a") - now) / US_PER_S)


def fail(health: Health, times: int, now: int = NOW, outcome: Outcome = Outcome.CONNECT_FAILED) -> None:
    for _ in range(times):
        health.note("a", outcome, now)


def test_every_state_answers_every_event() -> None:
    assert set(NEXT) == set(itertools.product(State, Event))


def test_every_state_can_be_reached_and_left_by_answers_and_time() -> None:
    for start in State:
        state = NEXT[NEXT[start, Event.RESTED], Event.ANSWERED]
        assert state is State.STEADY


@pytest.mark.parametrize("outcome", [Outcome.RATE_LIMITED, Outcome.OVERLOADED, Outcome.SERVER_ERROR])
@pytest.mark.parametrize("retry_after_s", [0.25, 1, 7, 3600])
def test_a_retry_after_is_kept_to_the_microsecond(outcome: Outcome, retry_after_s: float) -> None:
    health = Health()
    health.note("a", outcome, NOW, retry_after_s)
    assert health.cooling_until("a") == NOW + int(retry_after_s * US_PER_S)


@pytest.mark.parametrize("retry_after_s", [3601.0, 1e9, float("inf")])
def test_nobody_rests_longer_than_an_hour(retry_after_s: float) -> None:
    health = Health()
    health.note("a", Outcome.RATE_LIMITED, NOW, retry_after_s)
    assert rest_s(health) == RETRY_AFTER_S_MAX


@pytest.mark.parametrize("retry_after_s", [-5.0, 0.0, float("nan")])
def test_a_senseless_retry_after_is_none(retry_after_s: float) -> None:
    health = Health()
    health.note("a", Outcome.RATE_LIMITED, NOW, retry_after_s)
    assert rest_s(health) == 0


def test_limits_without_a_retry_after_double_from_one_second_to_sixty() -> None:
    health, now, rests = Health(), NOW, []
    for _ in range(8):
        health.note("a", Outcome.RATE_LIMITED, now)
        rests.append(rest_s(health, now))
        now = health.cooling_until("a")
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_burst_refused_together_doubles_once() -> None:
    health = Health()
    for _ in range(50):
        health.note("a", Outcome.RATE_LIMITED, NOW)
    assert rest_s(health) == 1


@given(st.floats(0, 1))
def test_jitter_shortens_a_rest_to_no_less_than_half(jitter: float) -> None:
    health = Health()
    health.note("a", Outcome.RATE_LIMITED, NOW, jitter=jitter)
    assert 0.5 <= rest_s(health) <= 1


@pytest.mark.parametrize("outcome", COUNTED)
def test_five_failures_in_a_row_trip_and_four_do_not(outcome: Outcome) -> None:
    health = Health()
    fail(health, FAILURES_MAX - 1, outcome=outcome)
    assert rest_s(health) == 0
    fail(health, 1, outcome=outcome)
    assert rest_s(health) == TRIP_REST_S
    assert health.state("a", NOW) is State.TRIPPED


def test_a_success_among_failures_starts_the_count_anew() -> None:
    health = Health()
    fail(health, FAILURES_MAX - 1)
    health.note("a", Outcome.ANSWERED, NOW)
    fail(health, FAILURES_MAX - 1)
    assert rest_s(health) == 0


def test_those_under_way_when_it_trips_do_not_lengthen_the_rest() -> None:
    health = Health()
    fail(health, 100)
    fail(health, 100, now=NOW + US_PER_S)
    assert rest_s(health) == TRIP_REST_S


def test_each_failed_probe_rests_longer_up_to_a_bound() -> None:
    health, now, rests = Health(), NOW, []
    fail(health, FAILURES_MAX - 1)
    for _ in range(TRIPS_COUNTED_MAX + 2):
        fail(health, 1, now=now)
        rests.append(rest_s(health, now))
        now = health.cooling_until("a")
        assert health.state("a", now) is State.PROBING
    assert rests == [TRIP_REST_S * min(n, TRIPS_COUNTED_MAX) for n in range(1, TRIPS_COUNTED_MAX + 3)]


def test_a_success_ends_a_trip_at_once_and_forgets_it() -> None:
    health = Health()
    fail(health, FAILURES_MAX)
    health.note("a", Outcome.ANSWERED, NOW + 1)
    assert health.cooling_until("a") == 0
    assert health.cooling_latest_at_us == 0
    fail(health, FAILURES_MAX, now=NOW + 2)
    assert health.cooling_until("a") == NOW + 2 + TRIP_REST_S * US_PER_S


def test_an_answer_that_was_under_way_does_not_end_the_rest_that_the_provider_asked_for() -> None:
    health = Health()
    health.note("a", Outcome.RATE_LIMITED, NOW, 30)
    health.note("a", Outcome.ANSWERED, NOW + US_PER_S)
    assert health.cooling_until("a") == NOW + 30 * US_PER_S
    health.note("a", Outcome.ANSWERED, NOW + 30 * US_PER_S)
    assert health.state("a", NOW + 30 * US_PER_S) is State.STEADY


@pytest.mark.parametrize("outcome", SILENT)
def test_what_was_not_its_fault_never_cools_a_target(outcome: Outcome) -> None:
    health = Health()
    for _ in range(100):
        health.note("a", outcome, NOW, 60)
    assert health.cooling_until("a") == 0
    assert health.state("a", NOW) is State.STEADY


def test_targets_do_not_share_their_troubles() -> None:
    health = Health()
    fail(health, FAILURES_MAX)
    assert health.cooling_until("b") == 0


NOTES = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(Outcome),
    st.integers(0, 90 * US_PER_S),
    st.none() | st.floats(0, 4000),
)


@given(st.lists(NOTES, max_size=60))
def test_whatever_happens_rests_are_bounded_and_the_latest_is_known(
    notes: list[tuple[str, Outcome, int, float]],
) -> None:
    health, now = Health(), NOW
    for name, outcome, passed_us, retry_after_s in notes:
        now += passed_us
        health.note(name, outcome, now, retry_after_s)
        untils = [health.cooling_until(each) for each in "abc"]
        assert all(until - now <= RETRY_AFTER_S_MAX * US_PER_S for until in untils)
        assert health.cooling_latest_at_us >= max(untils)
        for each, until in zip("abc", untils, strict=True):
            resting = health.state(each, now) in {State.TRIPPED, State.RESTING}
            assert resting == (until > now)
