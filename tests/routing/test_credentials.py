"""Several keys of one provider: each goes out as often as its weight says, refused and limited ones rest."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.credentials import EVENTS, NEXT_KEY, Credentials, KeyEvent, KeySet, KeyState
from routing.health import US_PER_S
from routing.outcome import Outcome

NOW = 1_764_000_000 * US_PER_S


def test_every_key_state_answers_every_event() -> None:
    assert set(NEXT_KEY) == set(itertools.product(KeyState, KeyEvent))


def test_every_outcome_says_what_it_means_for_a_key() -> None:
    assert set(EVENTS) == set(Outcome)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(1, 3))
def test_over_each_full_turn_every_key_goes_out_exactly_by_its_weight(weights: list[int], turns: int) -> None:
    keys = KeySet(tuple(weights))
    for _ in range(turns):
        picked = Counter(keys.pick(NOW) for _ in range(sum(weights)))
        assert [picked[place] for place in range(len(weights))] == weights


def test_turns_are_smooth_rather_than_in_blocks() -> None:
    keys = KeySet((5, 1, 1))
    assert [keys.pick(NOW) for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]


def test_a_refused_key_is_off_and_the_others_carry_on() -> None:
    keys = KeySet((1, 1))
    keys.note(0, Outcome.AUTH_REFUSED, NOW)
    assert keys.awake(NOW)
    assert {keys.pick(NOW + n) for n in range(20)} == {1}


def test_a_refused_key_is_tried_on_one_request_each_interval_until_it_is_accepted() -> None:
    keys = KeySet((1, 1), recheck_s=10)
    keys.note(0, Outcome.AUTH_REFUSED, NOW)
    for n in range(1, 4):
        now = NOW + n * 10 * US_PER_S
        assert Counter(keys.pick(now) for _ in range(10))[0] == 1
    keys.note(0, Outcome.AUTH_REFUSED, now)
    assert keys.states()[0] is KeyState.REFUSED
    later = now + 10 * US_PER_S
    while keys.pick(later) != 0:
        assert keys.states()[0] is KeyState.REFUSED
    keys.note(0, Outcome.ANSWERED, later)
    assert keys.states() == (KeyState.READY, KeyState.READY)
    assert Counter(keys.pick(later) for _ in range(10))[0] == 5


def test_a_limited_key_rests_exactly_as_long_as_it_was_told() -> None:
    keys = KeySet((1, 1))
    keys.note(1, Outcome.RATE_LIMITED, NOW, 2.5)
    wakes = NOW + 2_500_000
    assert {keys.pick(wakes - 1) for _ in range(5)} == {0}
    assert {keys.pick(wakes) for _ in range(5)} == {0, 1}
    assert keys.states()[1] is KeyState.READY


def test_when_no_key_is_awake_one_is_still_picked_and_rather_a_limited_than_a_refused_one() -> None:
    keys = KeySet((1, 1, 1))
    keys.note(0, Outcome.AUTH_REFUSED, NOW)
    keys.note(1, Outcome.RATE_LIMITED, NOW, 3000)
    keys.note(2, Outcome.RATE_LIMITED, NOW, 2000)
    assert not keys.awake(NOW)
    assert keys.pick(NOW) == 2


def test_a_lone_key_is_picked_whatever_happened_to_it() -> None:
    keys = KeySet((1,))
    keys.note(0, Outcome.AUTH_REFUSED, NOW)
    assert not keys.awake(NOW)
    assert keys.pick(NOW) == 0


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if EVENTS[outcome] is None])
def test_what_says_nothing_about_a_key_changes_nothing(outcome: Outcome) -> None:
    keys = KeySet((1, 1))
    keys.note(0, outcome, NOW, 60)
    assert keys.states() == (KeyState.READY, KeyState.READY)


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(Outcome), st.integers(0, 400 * US_PER_S)), max_size=50))
def test_a_key_is_always_picked_and_never_a_sleeping_one_while_another_is_awake(
    notes: list[tuple[int, Outcome, int]],
) -> None:
    keys, now = KeySet((3, 2, 1)), NOW
    for place, outcome, passed_us in notes:
        now += passed_us
        keys.note(place, outcome, now)
        was_awake = keys.awake(now)
        before = keys.states()
        picked = keys.pick(now)
        if was_awake and KeyState.READY in before:
            # A refused key whose recheck is due may take its turn as well; one that is not due may not.
            assert before[picked] is not KeyState.RESTING or keys.states()[picked] is KeyState.READY


def test_providers_keep_their_keys_apart() -> None:
    credentials = Credentials({"openai": (1, 1), "lab": (1,)})
    credentials.note("openai", 0, Outcome.AUTH_REFUSED, NOW)
    assert credentials.pick("openai", NOW) == 1
    assert credentials.pick("lab", NOW) == 0
    assert credentials.awake("lab", NOW)


@pytest.mark.parametrize("weights", [(), (0,), (1, -1)])
def test_keys_without_a_weight_are_refused(weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one key"):
        KeySet(weights)
