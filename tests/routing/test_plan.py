"""Plans: weights are kept, fallbacks come after, those that rest come last, and nothing is lost or doubled."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.deployments import Deployment, Pool
from routing.health import US_PER_S, Health
from routing.outcome import Outcome
from routing.plan import Choice, Planner, after_failure, plan

NOW = 1_764_000_000 * US_PER_S
DRAWS = st.floats(0, 1, exclude_max=True)


def pool(name: str, *weights: int, provider: str = "p") -> Pool:
    rows = enumerate(weights)
    return Pool(name, tuple(Deployment(f"{name}[{n}]", provider, f"{name}-{n}", weight) for n, weight in rows))


def ids(choices: tuple[Choice, ...]) -> list[str]:
    return [choice.deployment.id for choice in choices]


def resting(*names: str) -> Health:
    health = Health()
    for seconds, name in enumerate(names, 1):
        health.note(name, Outcome.RATE_LIMITED, NOW, seconds)
    return health


POOLS = st.lists(st.integers(0, 5), min_size=1, max_size=6)


@given(POOLS, st.lists(POOLS, max_size=2), DRAWS, st.data())
def test_a_plan_holds_every_target_once_with_those_that_rest_last(
    weights: list[int], others: list[list[int]], draw: float, data: st.DataObject
) -> None:
    chat = pool("chat", *weights)
    fallbacks = tuple(pool(f"f{n}", *each) for n, each in enumerate(others))
    everyone = [d.id for each in (chat, *fallbacks) for d in each.deployments]
    asleep = data.draw(st.sets(st.sampled_from(everyone)))
    order = ids(plan(chat, fallbacks, resting(*asleep), NOW, draw))
    assert sorted(order) == sorted(everyone)
    assert set(order[len(order) - len(asleep) :]) == asleep
    lanes = [name.split("[")[0] for name in order[: len(order) - len(asleep)]]
    assert lanes == sorted(lanes, key=["chat", "f0", "f1"].index)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_each_target_is_first_as_often_as_its_weight_says(weights: list[int]) -> None:
    """Evenly spaced draws measure the shares exactly, in the orders laid out beforehand and in those drawn afresh."""
    planner = Planner(pool("chat", *weights))
    for order in (planner.plan, planner._weigh):
        draws = 2000
        first = Counter(ids(order(Health(), NOW, n / draws))[0] for n in range(draws))
        for place, weight in enumerate(weights):
            assert abs(first[f"chat[{place}]"] - draws * weight / sum(weights)) <= 2


@given(st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_the_second_place_is_drawn_by_weight_among_the_rest(weights: list[int]) -> None:
    planner, draws = Planner(pool("chat", *weights)), 3000
    second = Counter(tuple(ids(planner.plan(Health(), NOW, n / draws))[:2]) for n in range(draws))
    for one in range(3):
        for two in range(3):
            if one != two:
                share = weights[one] / sum(weights) * weights[two] / (sum(weights) - weights[one])
                assert abs(second[f"chat[{one}]", f"chat[{two}]"] - draws * share) <= 2


@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.lists(st.integers(0, 3), min_size=1, max_size=2), DRAWS)
def test_what_was_laid_out_beforehand_is_what_would_be_drawn(weights: list[int], other: list[int], draw: float) -> None:
    # Draws in the middle of a thousandth: at the very edges the two may round differently.
    draw = (int(draw * 1000) + 0.5) / 1000
    planner = Planner(pool("chat", *weights), (pool("f0", *other),))
    assert planner.plan(Health(), NOW, draw) == planner._weigh(Health(), NOW, draw)


@given(st.floats(0, 1))
def test_a_standby_is_never_drawn_before_one_with_weight(draw: float) -> None:
    planner = Planner(pool("chat", 0, 3, 0, 2, 0))
    for order in (planner.plan, planner._weigh):
        assert set(ids(order(Health(), NOW, draw))[:2]) == {"chat[1]", "chat[3]"}


def test_a_stranger_that_rests_changes_no_plan() -> None:
    planner = Planner(pool("chat", 3, 1), (pool("small", 1),))
    assert planner.plan(resting("a stranger"), NOW, 0.5) is planner.plan(Health(), NOW, 0.5)


def test_of_those_that_rest_the_first_to_wake_comes_first() -> None:
    order = ids(plan(pool("chat", 1, 1, 1), (), resting("chat[2]", "chat[0]"), NOW, 0.5))
    assert order == ["chat[1]", "chat[2]", "chat[0]"]


def test_a_rest_that_is_over_no_longer_counts() -> None:
    planner, health = Planner(pool("chat", 1)), resting("chat[0]")
    assert "last resort" in planner.plan(health, NOW, 0.0)[0].why
    assert planner.plan(health, NOW + US_PER_S, 0.0)[0].why == "the only deployment of chat"


def test_the_same_target_under_two_names_is_tried_once() -> None:
    one = Pool("chat", (Deployment("chat[0]", "openai", "m"), Deployment("chat[1]", "openai", "m")))
    two = Pool("small", (Deployment("small[0]", "openai", "m"), Deployment("small[1]", "lab", "m")))
    assert ids(plan(one, (two, one), Health(), NOW, 0.9)) == ["chat[0]", "small[1]"]


def test_the_trace_says_why_each_was_chosen() -> None:
    health = resting("small[0]")
    choices = plan(pool("chat", 3, 1), (pool("small", 1), pool("big", 1)), health, NOW, 0.1)
    assert [(choice.route, choice.why) for choice in choices] == [
        ("pool", "drawn by weight 3 of 4 of chat"),
        ("pool", "next of chat, by weight 1 of 4"),
        ("fallback", "next of the fallback big for chat"),
        ("fallback", "last resort of the fallback small for chat: it cools for 1.0 s more"),
    ]
    said = after_failure(choices[2], choices[1].deployment, "answered 503")
    assert said == "fallback: chat[1] answered 503; next of the fallback big for chat"


def test_a_pinned_name_says_so() -> None:
    pinned = Pool("openai/gpt-4o", (Deployment("openai/gpt-4o", "openai", "gpt-4o"),), route="pinned")
    (choice,) = plan(pinned, (), Health(), NOW, 0.3)
    assert (choice.route, choice.why) == ("pinned", "the request names it")


def test_a_pool_without_deployments_is_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="name at least one provider and model"):
        Pool("chat", ())


def test_a_negative_weight_is_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="give 0"):
        Deployment("a", "p", "m", -1)
