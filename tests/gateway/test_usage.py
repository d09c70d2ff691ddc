"""A provider's usage as billing counts it: whatever it says, no part exceeds its whole and no count is negative."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.price import Usage
from gateway.chat_request import parse_chat
from gateway.usage import NO_USAGE, cancelled_usage, estimated_usage, usage_of, usage_of_answer

if TYPE_CHECKING:
    from gateway.chat_request import ChatAsk


def answered(usage: object) -> bytes:
    return json.dumps({"choices": [{"index": 0}], "usage": usage}).encode()


odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.lists(st.integers())
)
likely = st.one_of(st.integers(0, 50), odd)
counts = st.integers(0, 9)


def some(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, likely))


usages = st.builds(
    lambda flat, prompt, completion: {**flat, **prompt, **completion},
    some(["prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens"]),
    st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens_details": st.one_of(odd, some(["cached_tokens", "audio_tokens", "cache_write_tokens"]))
        },
    ),
    st.fixed_dictionaries(
        {}, optional={"completion_tokens_details": st.one_of(odd, some(["reasoning_tokens", "audio_tokens"]))}
    ),
)


def check(usage: Usage) -> None:
    assert all(isinstance(count, int) and 0 <= count < 2**55 for count in usage)
    assert usage.cached_input_tokens + usage.cache_write_tokens + usage.audio_input_tokens <= usage.input_tokens
    assert usage.reasoning_tokens + usage.audio_output_tokens <= usage.output_tokens


@given(usages)
def test_parts_never_exceed_their_whole_whatever_a_provider_says(usage: dict[str, Any]) -> None:
    check(usage_of(usage))
    found = usage_of_answer(answered(usage))
    if found is not None:  # JSON has no NaN and no infinity
        check(found)


@given(counts, counts, counts, counts, counts, counts, counts)
def test_a_stream_and_a_whole_answer_are_counted_alike(
    prompt: int, cached: int, written: int, heard: int, completion: int, reasoning: int, spoken: int
) -> None:
    said = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": heard, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": spoken},
    }
    counted = usage_of(said)
    check(counted)
    assert counted == usage_of_answer(answered(said))


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ({"prompt_tokens": 11, "completion_tokens": 7}, Usage(11, 0, 0, 7)),
        ({"prompt_tokens": 11}, Usage(11)),
        ({"prompt_tokens": 11, "completion_tokens": 7, "prompt_cache_hit_tokens": 5}, Usage(11, 5, 0, 7)),
        (
            {
                "prompt_tokens": 11,
                "completion_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
            },
            Usage(11, 5, 2, 7),
        ),
        # Gemini's compatible endpoint counts reasoning beside the completion.
        (
            {"prompt_tokens": 1, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 20}},
            Usage(1, 0, 0, 27, 20),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": None, "audio_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 8},
            },
            Usage(9, 0, 0, 9, 5, 4, 4),
        ),
        ({"prompt_tokens": 11.0, "completion_tokens": "7", "prompt_tokens_details": []}, Usage(11)),
        ({"prompt_tokens": -11, "completion_tokens": 7}, Usage(0, 0, 0, 7)),
    ],
)
def test_what_providers_say(said: dict[str, Any], counted: Usage) -> None:
    assert usage_of_answer(answered(said)) == usage_of(said) == counted


@pytest.mark.parametrize("said", [None, {}, {"completion_tokens": 7}, [], "none"])
def test_an_answer_without_usage_says_so(said: object) -> None:
    assert usage_of_answer(answered(said)) == NO_USAGE


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'"x"', b"{}", b'{"choices":7}', b'{"usage":{}}', b'{"choices":[],\xff}', b"{" * 3000],
)
def test_what_is_no_chat_completion_has_none(body: bytes) -> None:
    assert usage_of_answer(body) is None


def ask(filler: int) -> ChatAsk:
    return parse_chat(json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * filler}]}).encode())


def test_estimates_round_up_and_count_the_input_generously_where_the_end_is_unknown() -> None:
    asked = ask(3)
    size = len(asked.body)
    whole = estimated_usage(asked, 9)
    assert (whole.input_tokens, whole.output_tokens) == (-(-size // 4), 3)
    cut = cancelled_usage(asked, 5)
    assert (cut.input_tokens, cut.output_tokens) == (-(-size // 2), 5)


@pytest.mark.parametrize("usage", [{"prompt_tokens": "12", "completion_tokens": "7"}, {"prompt_tokens": None}, []])
def test_a_usage_that_nobody_can_read_is_no_bill(usage: object) -> None:
    assert usage_of_answer(json.dumps({"choices": [], "usage": usage}).encode()) == NO_USAGE
