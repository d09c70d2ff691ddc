"""Limits of models, and what no limit can be, of a model, a team or a key."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from billing.audit import Actor
from billing.limits import LIMIT_MAX, Limit
from billing.model_limits import ModelLimit
from billing.refusals import Invalid, NotFound, Stale
from billing.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_US = 1_764_000_000_000_000
ACTOR = Actor("admin_key")
FIVE = {"requests_per_minute": 5}


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(Store(url)) as opened:
        yield opened


def test_limits_of_a_model_are_given_replaced_and_taken_away(store: Store) -> None:
    assert store.model_limits.get("gpt-*") is None
    made = store.model_limits.set("gpt-*", {**FIVE, "concurrency_max": None}, 0, ACTOR, NOW_US)
    assert made == store.model_limits.get("gpt-*") == ModelLimit("gpt-*", FIVE, 1)
    changed = store.model_limits.set("gpt-*", {"concurrency_max": 2}, 1, ACTOR, NOW_US)
    assert changed == ModelLimit("gpt-*", {"concurrency_max": 2}, 2)
    store.model_limits.set("a", FIVE, None, ACTOR, NOW_US)
    assert [one.model for one in store.model_limits.list()] == ["a", "gpt-*"]
    assert store.limits_of_models() == {"a": Limit(requests_per_minute=5), "gpt-*": Limit(concurrency_max=2)}
    store.model_limits.delete("gpt-*", 2, ACTOR, NOW_US)
    assert store.model_limits.get("gpt-*") is None


def test_a_stale_change_is_refused(store: Store) -> None:
    with pytest.raises(NotFound, match="list them"):
        store.model_limits.delete("a", None, ACTOR, NOW_US)
    with pytest.raises(Stale, match="read it again"):
        store.model_limits.set("a", FIVE, 1, ACTOR, NOW_US)
    store.model_limits.set("a", FIVE, None, ACTOR, NOW_US)
    with pytest.raises(Stale, match="read it again"):
        store.model_limits.set("a", FIVE, 0, ACTOR, NOW_US)
    with pytest.raises(Stale, match="read it again"):
        store.model_limits.delete("a", 2, ACTOR, NOW_US)


BAD: list[tuple[Any, str]] = [
    ({"requests_per_minute": -1}, "whole number from 0"),
    ({"tokens_per_minute": 1.5}, "whole number from 0"),
    ({"concurrency_max": True}, "whole number from 0"),
    ({"concurrency_max": LIMIT_MAX + 1}, "whole number from 0"),
    ({"requests": 5}, "requests_per_minute, tokens_per_minute, concurrency_max"),
    ([5], "by name"),
]


@pytest.mark.parametrize(
    ("document", "said"), [*BAD, ({"models": {"x": FIVE}}, "'models' is no limit"), ({}, "delete")]
)
def test_what_cannot_limit_a_model_is_said(store: Store, document: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        store.model_limits.set("a", document, None, ACTOR, NOW_US)


@pytest.mark.parametrize(
    ("document", "said"), [*BAD, ({"models": 5}, "by model"), ({"models": {"x": {"y": 1}}}, "'y'")]
)
def test_what_cannot_limit_a_team_is_said(store: Store, document: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        store.create_team("team_1", "t", None, ACTOR, NOW_US, {"limits": document})
    store.create_team("team_1", "t", None, ACTOR, NOW_US, {"limits": {"models": {"x": FIVE}, **FIVE}})
    with pytest.raises(Invalid, match=said):
        store.update_team("team_1", {"limits": document}, None, ACTOR, NOW_US)
