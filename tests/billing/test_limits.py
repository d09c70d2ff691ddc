"""A document of limits that is kept already is read for what it can mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.limits import LIMIT_MAX, NO_LIMITS, UNLIMITED, Limit, Limits, limits_of, with_defaults


def test_limits_and_those_of_models_are_read() -> None:
    document = {"requests_per_minute": 5, "tokens_per_minute": None, "models": {"a/*": {"concurrency_max": 2}}}
    assert limits_of(document) == Limits(Limit(requests_per_minute=5), (("a/*", Limit(concurrency_max=2)),))


@pytest.mark.parametrize(
    "document",
    [{}, {"models": None}, {"models": {"a": {}}}, {"models": {"a": 3}}, {"rpm": 3}, {"requests_per_minute": -1},
     {"requests_per_minute": True}, {"requests_per_minute": "60"}],
)  # fmt: skip
def test_what_cannot_be_read_limits_nothing(document: dict[str, object]) -> None:
    assert limits_of(document) == NO_LIMITS


def test_a_limit_above_what_can_be_counted_is_as_good_as_the_largest() -> None:
    assert limits_of({"tokens_per_minute": 10**30}).whole.tokens_per_minute == LIMIT_MAX


NUMBERS = st.none() | st.integers(0, 9)


@given(own=st.builds(Limit, NUMBERS, NUMBERS, NUMBERS), defaults=st.builds(Limit, NUMBERS, NUMBERS, NUMBERS))
def test_defaults_stand_where_nothing_is_said(own: Limit, defaults: Limit) -> None:
    merged = with_defaults(own, defaults)
    for name in ("requests_per_minute", "tokens_per_minute", "concurrency_max"):
        said = getattr(own, name)
        assert getattr(merged, name) == (getattr(defaults, name) if said is None else said)
    assert with_defaults(own, UNLIMITED) == own
