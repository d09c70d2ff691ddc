"""A chat request's body: read once, refused by the field's name, and never the cause of anything but a refusal."""

from __future__ import annotations

import json
import random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.chat_request import CHOICES_MAX, DEPTH_MAX, deeper_than, parse_chat
from gateway.errors import BadRequest

GOOD: Final[dict[str, Any]] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def body(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def refused(raw: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_chat(raw)
    return caught.value


# --- what is read ---


def test_what_turnpike_needs_is_read() -> None:
    raw = body(stream=True, stream_options={"include_usage": True}, max_tokens=9, n=3, odd={"a": [1]})
    ask = parse_chat(raw)
    assert ask.body == raw
    assert (ask.model, ask.stream, ask.wants_usage, ask.output_tokens_max, ask.choices) == ("m", True, True, 9, 3)
    assert ask.fields["odd"] == {"a": [1]}


def test_what_is_left_out_or_null_is_absent() -> None:
    plain = parse_chat(body())
    nulls = parse_chat(body(stream=None, stream_options=None, max_tokens=None, max_completion_tokens=None, n=None))
    for ask in (plain, nulls):
        assert (ask.stream, ask.wants_usage, ask.output_tokens_max, ask.choices) == (False, False, None, 1)


def test_the_newer_name_of_the_limit_wins() -> None:
    assert parse_chat(body(max_tokens=9, max_completion_tokens=5)).output_tokens_max == 5
    assert parse_chat(body(max_tokens=9, max_completion_tokens=None)).output_tokens_max == 9


def test_roles_and_fields_that_nobody_knows_pass() -> None:
    parse_chat(body(messages=[{"role": "oracle", "vision": 1}], response_format={"type": "x"}, stop="a", seed=-1))


# --- what is refused ---


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "the body is empty"),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"NaN", "not valid JSON"),
        (b'{"model":"\xff"}', "not valid UTF-8"),
        (b'{"a":' * 5000, "nested deeper|not valid JSON"),
        (b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", "nested deeper than 256"),
    ],
)
def test_what_is_no_json_object_is_refused_with_the_reason(raw: bytes, said: str) -> None:
    error = refused(raw)
    assert error.code == "invalid_json"
    assert any(part in str(error) for part in said.split("|"))


def test_nesting_beyond_the_limit_is_refused_wherever_it_is() -> None:
    deep = json.loads("[" * DEPTH_MAX + "]" * DEPTH_MAX)
    message = {"role": "user", "content": deep}
    for raw in (body(odd=deep), body(tools=deep), body(messages=[message])):
        error = refused(raw)
        assert (str(error), error.code) == ("the body is nested deeper than 256", "invalid_json")


def test_nesting_up_to_the_limit_is_taken() -> None:
    parse_chat(body(deep=json.loads("[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1))))
    parse_chat(body(wide=[[]] * 2000))


def test_where_the_json_breaks_is_told() -> None:
    assert "line 2, column" in str(refused(b'{\n"a": oops}'))


WRONG: Final = {
    "a string": [7, [], {}, True],
    "an array": [7, "x", {}, True],
    "an object": [7, "x", [], True],
    "a number": ["x", [], {}, True],
    "an integer": ["x", [], {}, True, 1.5],
    "a boolean": [7, "x", [], {}],
    "a string or an object": [7, [], True],
    "a string or an array": [7, {}, True],
}
FIELDS: Final = {
    "model": "a string",
    "messages": "an array",
    "audio": "an object",
    "frequency_penalty": "a number",
    "function_call": "a string or an object",
    "functions": "an array",
    "logit_bias": "an object",
    "logprobs": "a boolean",
    "max_completion_tokens": "an integer",
    "max_tokens": "an integer",
    "metadata": "an object",
    "modalities": "an array",
    "n": "an integer",
    "parallel_tool_calls": "a boolean",
    "prediction": "an object",
    "presence_penalty": "a number",
    "prompt_cache_key": "a string",
    "reasoning_effort": "a string",
    "response_format": "an object",
    "safety_identifier": "a string",
    "seed": "an integer",
    "service_tier": "a string",
    "stop": "a string or an array",
    "store": "a boolean",
    "stream": "a boolean",
    "stream_options": "an object",
    "temperature": "a number",
    "tool_choice": "a string or an object",
    "tools": "an array",
    "top_logprobs": "an integer",
    "top_p": "a number",
    "user": "a string",
    "verbosity": "a string",
}


@pytest.mark.parametrize(("field", "expected"), FIELDS.items())
def test_a_field_of_another_type_is_refused_by_name(field: str, expected: str) -> None:
    for value in WRONG[expected]:
        error = refused(body(**{field: value}))
        assert str(error) == f"`{field}` must be {expected}"
        assert (error.param, error.code) == (field, "invalid_type")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": ""}, "model", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user"}, 7]}, "messages[1]", "invalid_type"),
        ({"messages": [{"role": "user"}, {"content": "x"}]}, "messages[1].role", "invalid_type"),
        ({"messages": [{"role": 7}]}, "messages[0].role", "invalid_type"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": CHOICES_MAX + 1}, "n", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 5, "max_completion_tokens": -1}, "max_completion_tokens", "invalid_value"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", "invalid_type"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], param: str, code: str) -> None:
    error = refused(body(**fields))
    assert (error.param, error.code) == (param, code)
    assert param in str(error)


# --- whatever comes ---


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """A few bytes exchanged, taken out, put in or doubled."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[place : place + 1] = chance.choice(b'{}[]":,\\0-9eEtrufalsn\x00\xff \xc3').to_bytes()
            case 1:
                del data[place : place + chance.randint(1, 12)]
            case 2:
                data[place:place] = chance.choice(
                    (b"null", b"{}", b"[[", b"1e9", b"-0", b'"', b"\\u00", b"true", b"1e999")
                )
            case _:
                data[place:place] = data[place : place + chance.randint(1, 30)]
    return bytes(data)


def test_ten_thousand_mutated_bodies_raise_nothing_but_bad_request() -> None:
    chance = random.Random(4)
    whole = body(
        stream=True,
        stream_options={"include_usage": True},
        n=2,
        max_tokens=10,
        temperature=0.5,
        stop=["a"],
        metadata={"tags": ["a=b"]},
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    )
    outcomes = {True: 0, False: 0}
    for _ in range(10_000):
        raw = mutated(whole, chance)
        try:
            ask = parse_chat(raw)
        except BadRequest:
            outcomes[False] += 1
        else:
            assert ask.fields == json.loads(raw) or "1e999" in raw.decode()
            assert isinstance(ask.model, str)
            assert ask.choices >= 1
            outcomes[True] += 1
    assert min(outcomes.values()) > 500, "both kinds must occur, or this shows nothing"


leaves = st.one_of(st.none(), st.integers(), st.text('[]{}"\\ab\n', max_size=8))
documents = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text('[]{}"\\a', max_size=4), inner, max_size=3)
    ),
)


def walked_depth(document: object) -> int:
    if isinstance(document, dict):
        return 1 + max(map(walked_depth, document.values()), default=0)
    if isinstance(document, list):
        return 1 + max(map(walked_depth, document), default=0)
    return 0


@given(st.dictionaries(st.text(max_size=2), documents, max_size=3), st.integers(1, 8))
def test_depth_is_found_as_a_plain_walk_finds_it(document: dict[str, object], depth_max: int) -> None:
    assert deeper_than(document, depth_max) == (walked_depth(document) > depth_max)
