"""Equal requests meet, different ones never do."""

import copy
import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.fingerprint import DEFAULTS, NO_PART, fingerprint

BODY: dict[str, Any] = {
    "model": "chat",
    "temperature": 0,
    "messages": [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": [{"type": "text", "text": "Capital of Österreich?"}, {"type": "image_url"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "required": ["a"]}}}],
    "max_tokens": 64,
    "stop": ["\n"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "seed": 7,
    "some_vendors_own": {"k": [1, 2, {"deep": False}]},
}

# Few signs, among them those that JSON escapes and UTF-8 spreads over two to four bytes.
TEXTS = st.text('a1 :{}"\\\n\x00ü漢😀', max_size=8)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*DEFAULTS, "model", "messages", "vendors_own"])
BODIES = st.dictionaries(NAMES, JSON, max_size=6)


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(name, shuffled(each, chance)) for name, each in value.items()]
        chance.shuffle(items)
        return dict(items)
    return [shuffled(each, chance) for each in value] if isinstance(value, list) else value


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [path for name, each in value.items() for path in paths(each, (*before, name))]
    if isinstance(value, list):
        return [path for place, each in enumerate(value) for path in paths(each, (*before, place))]
    return [before]


@given(BODIES, st.randoms(use_true_random=False), st.sampled_from([None, 0, 3]))
def test_order_and_spacing_do_not_matter(body: dict[str, Any], chance: random.Random, indent: int | None) -> None:
    other = orjson.loads(json.dumps(shuffled(body, chance), indent=indent, ensure_ascii=chance.random() < 0.5))
    assert fingerprint("team:a", other) == fingerprint("team:a", orjson.loads(orjson.dumps(body)))


@given(st.data())
def test_any_change_of_any_leaf_matters(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(paths(BODY)))
    changed = copy.deepcopy(BODY)
    holder: Any = changed
    for step in path[:-1]:
        holder = holder[step]
    before = holder[path[-1]]
    holder[path[-1]] = data.draw(JSON.filter(lambda leaf: orjson.dumps(leaf) != orjson.dumps(before)))
    after = holder[path[-1]]
    same_number = path[0] in DEFAULTS and type(after) in {int, float} and type(before) is int and after == before
    assert (fingerprint("t", changed) == fingerprint("t", BODY)) == (len(path) == 1 and same_number)


@given(BODIES, BODIES)
def test_different_requests_never_meet(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Judged by another hand: the bodies with defaults taken out, compared as text."""

    def plain(body: dict[str, Any]) -> str:
        kept = {}
        for name, value in body.items():
            whole = int(value) if type(value) is float and value.is_integer() and abs(value) < 2**53 else value
            standing = DEFAULTS.get(name, ...)
            if standing is ... or (value is not None and json.dumps(whole) != json.dumps(standing)):
                kept[name] = value if standing is ... else whole
        return json.dumps(kept, sort_keys=True)

    assert (fingerprint("t", one) == fingerprint("t", two)) == (plain(one) == plain(two))


@pytest.mark.parametrize("name", sorted(NO_PART))
def test_who_asks_and_where_it_is_filed_does_not_matter(name: str) -> None:
    assert fingerprint("t", {**BODY, name: "anything"}) == fingerprint("t", BODY)


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_a_default_spelled_out_is_a_default_left_out(name: str) -> None:
    bare = {"model": "m", "messages": []}
    assert fingerprint("t", {**bare, name: None}) == fingerprint("t", bare)
    assert fingerprint("t", {**bare, name: DEFAULTS[name]}) == fingerprint("t", bare)


def test_one_and_one_point_nought_are_one_but_true_is_not() -> None:
    assert fingerprint("t", {"temperature": 0.0}) == fingerprint("t", {"temperature": 0})
    assert fingerprint("t", {"temperature": -0.0}) == fingerprint("t", {"temperature": 0})
    assert fingerprint("t", {"n": 1.0}) == fingerprint("t", {"n": 1})
    assert fingerprint("t", {"n": True}) != fingerprint("t", {"n": 1})
    assert fingerprint("t", {"stream": 0}) != fingerprint("t", {"stream": False})


def test_a_temperature_that_is_given_is_not_the_models_own() -> None:
    assert fingerprint("t", {"temperature": 1}) != fingerprint("t", {})


def test_a_stream_and_a_whole_answer_are_kept_apart() -> None:
    whole = {"model": "m", "stream": False}
    stream = {"model": "m", "stream": True}
    counted = {**stream, "stream_options": {"include_usage": True}}
    assert len({fingerprint("t", body) for body in (whole, stream, counted)}) == 3


@given(TEXTS, TEXTS)
def test_no_two_tenants_share(one: str, two: str) -> None:
    assert (fingerprint(one, BODY) == fingerprint(two, BODY)) == (one == two)


def test_no_scope_can_end_where_a_body_begins() -> None:
    assert fingerprint("t", {"a": "b"}) != fingerprint('t{"a":"b"}', {})


@pytest.mark.parametrize("value", [10**30, "\ud800"])
def test_what_no_parser_of_ours_makes_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="do not look it up"):
        fingerprint("t", {"x": value})
