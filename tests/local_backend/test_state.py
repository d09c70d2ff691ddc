"""The table of a replica's states: whole, and without a way into READY that was not earned."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_backend.state import BACKOFF_S_MAX, IGNORED, NEXT, SAME_CAUSE_MAX, Event, Failures, State, after, backoff_s

EVENTS = st.lists(st.sampled_from(Event), max_size=40)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_state_answers_every_event_in_exactly_one_way(state: State, event: Event) -> None:
    assert ((state, event) in NEXT) != (event in IGNORED[state])
    assert after(state, event) in State


@given(EVENTS)
def test_ready_is_reached_only_by_a_completed_request(events: list[Event]) -> None:
    state = State.STOPPED
    for event in events:
        before, state = state, after(state, event)
        if state is State.READY and before is not State.READY:
            assert (before, event) == (State.WARMING, Event.ANSWERED)


@given(EVENTS)
def test_after_a_life_nothing_begins_before_its_tree_is_gone(events: list[Event]) -> None:
    state, alive = State.STOPPED, False
    for event in events:
        before, state = state, after(state, event)
        if event is Event.GONE or (before is State.CRASHED and event is Event.GIVE_UP):
            alive = alive and state in {State.STARTING, State.WARMING, State.READY}
        if state is State.STARTING and before is not State.STARTING:
            assert not alive
            alive = True
        if state is State.STOPPED:
            assert not alive


@given(EVENTS)
def test_whatever_happened_a_stop_and_an_empty_tree_end_in_stopped(events: list[Event]) -> None:
    state = State.STOPPED
    for event in [*events, Event.STOP, Event.GONE]:
        state = after(state, event)
    assert state is State.STOPPED


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_pause_doubles_up_to_a_minute_and_jitter_only_shortens_it(failures: int, draw: float) -> None:
    full_s = backoff_s(failures, 0.0)
    assert full_s == min(BACKOFF_S_MAX, 2.0 ** max(failures - 1, 0)) if failures < 64 else full_s == BACKOFF_S_MAX
    assert 0.75 * full_s <= backoff_s(failures, draw) <= full_s


def test_the_same_cause_again_and_again_is_hopeless_and_another_is_not() -> None:
    failures = Failures()
    for _ in range(SAME_CAUSE_MAX):
        assert not failures.hopeless
        failures = failures.with_cause("no memory")
    assert failures.hopeless
    assert not failures.with_cause("port taken").hopeless
    assert failures.with_cause("port taken").count == SAME_CAUSE_MAX + 1
