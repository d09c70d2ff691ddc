"""Who may be answered from the cache, and whose answers are kept."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.policy import (
    BYPASS,
    Eligibility,
    ExactPolicy,
    UnknownDirective,
    eligibility,
    tenant,
    unkept_because,
    unkept_body_because,
    unkept_stream_because,
)

POLICY = ExactPolicy()
BOTH = Eligibility(lookup=True, keep=True)


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        ({"temperature": 0}, BOTH),
        ({"temperature": 0.0, "n": 1}, BOTH),
        ({"temperature": 0, "n": None}, BOTH),
        ({}, BYPASS),
        ({"temperature": None}, BYPASS),
        ({"temperature": 0.01}, BYPASS),
        ({"temperature": False}, BYPASS),
        ({"temperature": "0"}, BYPASS),
        ({"temperature": 0, "n": 2}, BYPASS),
        ({"temperature": 0, "n": True}, BYPASS),
        ({"temperature": 0, "n": "1"}, BYPASS),
    ],
)
def test_without_a_directive_only_an_explicit_low_temperature_and_one_choice_qualify(
    body: dict[str, object], allowed: Eligibility
) -> None:
    assert eligibility(body, POLICY, None) == allowed


def test_an_absent_temperature_is_the_apis_own_and_passes_a_policy_that_allows_one() -> None:
    assert eligibility({}, ExactPolicy(temperature_max=1), None) == BOTH
    assert eligibility({}, ExactPolicy(temperature_max=0.99), None) == BYPASS


@pytest.mark.parametrize(
    ("directive", "allowed"),
    [
        ("on", BOTH),
        (" On ", BOTH),
        ("off", BYPASS),
        ("refresh", Eligibility(lookup=False, keep=True)),
        ("only", Eligibility(lookup=True, keep=False, only=True)),
    ],
)
@pytest.mark.parametrize("temperature", [0, 0.7, None])
def test_a_directive_overrules_the_temperature(directive: str, allowed: Eligibility, temperature: float | None) -> None:
    assert eligibility({"temperature": temperature}, POLICY, directive) == allowed


@pytest.mark.parametrize("directive", ["on", "off", "refresh", "only", None])
def test_several_choices_are_never_kept_whatever_is_asked(directive: str | None) -> None:
    asked = eligibility({"temperature": 0, "n": 3}, POLICY, directive)
    assert (asked.lookup, asked.keep, asked.only) == (False, False, directive == "only")


@pytest.mark.parametrize("directive", ["on", "off", "refresh", "only", None])
def test_a_cache_that_is_switched_off_stays_off(directive: str | None) -> None:
    asked = eligibility({"temperature": 0}, ExactPolicy(enabled=False), directive)
    assert (asked.lookup, asked.keep, asked.only) == (False, False, directive == "only")


@given(st.text("onfrelyhs ", max_size=12))
def test_any_other_word_is_refused_with_those_that_there_are(word: str) -> None:
    if word.strip().lower() not in {"on", "off", "refresh", "only"}:
        with pytest.raises(UnknownDirective, match="give one of on, off, refresh, only"):
            eligibility({}, POLICY, word)


@pytest.mark.parametrize(
    ("scope", "team", "organization", "expected"),
    [
        ("team", "t", "o", "team:t"),
        ("team", None, "o", "key:k"),
        ("key", "t", "o", "key:k"),
        ("organization", "t", "o", "organization:o"),
        ("organization", "t", None, "key:k"),
    ],
)
def test_a_key_without_a_team_shares_with_nobody(
    scope: str, team: str | None, organization: str | None, expected: str
) -> None:
    assert tenant(ExactPolicy(scope=scope), "k", team, organization) == expected


def answer(finish_reason: str | None = "stop", **message: object) -> dict[str, object]:
    message = {"role": "assistant", "content": "Paris", **message}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


def test_a_finished_answer_in_words_is_kept() -> None:
    assert unkept_because(answer()) is None
    assert unkept_because(answer(tool_calls=None, refusal=None, reasoning_content="hm")) is None


@pytest.mark.parametrize(
    ("given_answer", "reason"),
    [
        ({"error": {"message": "no"}}, "it is an error"),
        ({**answer(), "error": {"message": "no"}}, "it is an error"),
        ({}, "it has not exactly one choice"),
        ({"choices": []}, "it has not exactly one choice"),
        ({"choices": [None]}, "it has not exactly one choice"),
        ({"choices": answer()["choices"] * 2}, "it has not exactly one choice"),  # type: ignore[operator]
        ({"choices": [{"finish_reason": "stop"}]}, "its choice has no message"),
        (answer("length"), "it finished with 'length'"),
        (answer("content_filter"), "it finished with 'content_filter'"),
        (answer("tool_calls", content=None, tool_calls=[{"id": "1"}]), "it calls a tool"),
        (answer("stop", tool_calls=[{"id": "1"}]), "it calls a tool"),
        (answer("function_call", function_call={"name": "f"}), "it calls a tool"),
        (answer(refusal="I cannot"), "it is a refusal"),
        (answer(content=None, refusal="I cannot"), "it is a refusal"),
        (answer(content=""), "it has no content"),
        (answer(None), "it finished with None"),
    ],
)
def test_everything_else_is_not_kept_and_the_reason_is_told(given_answer: dict[str, object], reason: str) -> None:
    assert unkept_because(given_answer) == reason


def event(delta: object = None, finish_reason: str | None = None, index: int = 0) -> bytes:
    chunk = {"choices": [{"index": index, "delta": delta or {}, "finish_reason": finish_reason}]}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3}}\n\n'
WORDS = event({"role": "assistant", "content": ""}) + event({"content": "Par"}) + event({"content": "is"})


@pytest.mark.parametrize(
    "events",
    [
        WORDS + event(finish_reason="stop") + DONE,
        WORDS + event(finish_reason="stop") + USAGE + DONE,
        b'data: {"choices":null}\n\n' + WORDS + event(finish_reason="stop") + DONE,
        b": ping\n\n" + WORDS + event({"content": "."}, "stop") + DONE,
        (WORDS + event(finish_reason="stop") + DONE).replace(b"\n", b"\r\n").replace(b"data: ", b"data:"),
    ],
)
def test_a_finished_stream_in_words_is_kept(events: bytes) -> None:
    assert unkept_stream_because(events) is None


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (b"", "it was cut off"),
        (WORDS + event(finish_reason="stop"), "it was cut off"),
        (WORDS + DONE, "it finished with None"),
        (WORDS + event(finish_reason="length") + DONE, "it finished with 'length'"),
        (event(finish_reason="stop") + DONE, "it has no content"),
        (WORDS + b'data: {"error":{"message":"x"}}\n\n' + DONE, "it holds an error"),
        (WORDS + b"data: {broken\n\n" + DONE, "it holds an error"),
        (WORDS + event({"tool_calls": [{"index": 0}]}) + event(finish_reason="tool_calls") + DONE, "it calls a tool"),
        (WORDS + event({"refusal": "no"}) + DONE, "it is a refusal"),
        (WORDS + event({"content": "b"}, index=1) + DONE, "it has not exactly one choice"),
        (b'data: {"choices":[null]}\n\n' + DONE, "it has not exactly one choice"),
        (WORDS + event(finish_reason="stop") + DONE + WORDS, "it goes on after its end"),
    ],
)
def test_any_other_stream_is_not_kept_and_the_reason_is_told(events: bytes, reason: str) -> None:
    assert unkept_stream_because(events) == reason


@given(st.integers(0, 10_000))
def test_a_stream_cut_anywhere_before_its_end_is_never_kept(cut: int) -> None:
    whole = WORDS + event(finish_reason="stop") + DONE
    assert unkept_stream_because(whole[: cut % (len(whole) - len("]\n\n") + 1)]) is not None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_a_stream(events: bytes) -> None:
    unkept_stream_because(b"data: " + events)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}', True),
        (b'{"choices": [{"message": {"content": "Hi", "tool_calls": null}, "finish_reason": "stop"}]}', True),
        (b'{"choices":[{"message":{"content":"say \\"error\\" twice"},"finish_reason":"stop"}]}', True),
        (b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"length"}]}', False),
        (b'{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}', False),
        (b'{"choices":[{"message":{"content":"Hi","refusal":"no"},"finish_reason":"stop"}]}', False),
        (b'{"choices":[{"message":{"content":"a","tool_calls":[{"id":"1"}]},"finish_reason":"stop"}]}', False),
        (b'{"error":{"message":"x"},"choices":[]}', False),
        ((b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"},'
         b'{"message":{"content":"b"},"finish_reason":"stop"}]}'), False),
        (b"<html>", False),
    ],
)  # fmt: skip
def test_an_answers_bytes_are_judged_as_its_document_is(body: bytes, *, kept: bool) -> None:
    assert (unkept_body_because(body) is None) is kept
