"""A chat stream passes through in whole events, however its bytes are cut; what it says of itself is read off it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import sse
from gateway.wire.sse import ChatStream, StreamBroken, event_data

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE: Final = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
DONE: Final = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "x", "object": "chat.completion.chunk", "choices": choices, **more}


def event(document: object, end: str = "\n\n") -> bytes:
    return f"data: {json.dumps(document, ensure_ascii=False, separators=(',', ':'))}{end}".encode()


ROLE: Final = event(chunk({"role": "assistant", "content": ""}))
LAST: Final = event(chunk({}, "stop"))


def content(text: str, **more: Any) -> bytes:
    return event(chunk({"content": text}, **more))


def stream(*, hide: bool = False, annotate: bytes | None = None) -> ChatStream:
    return ChatStream(hide_usage=hide, annotate=None if annotate is None else lambda _: annotate)


def pieces(data: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)]


cuts = st.lists(st.integers(0, 100_000), max_size=30)
texts = st.lists(st.text(max_size=12), min_size=1, max_size=8)
ends = st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"])


@given(texts, cuts, ends, st.booleans())
def test_a_stream_passes_through_in_whole_events_however_it_is_cut(
    said: list[str], places: list[int], end: str, commented: bool
) -> None:
    events = [event(chunk({"role": "assistant", "content": ""}), end)]
    events += [event(chunk({"content": text}), end) for text in said]
    events += [f": keep{end}".encode()] if commented else []
    events.append(event(chunk({}, "stop"), end))
    reader = stream()
    whole = b"".join(events)
    out = [reader.feed(piece) for piece in pieces(whole + f"data: [DONE]{end}".encode(), places)]
    # `\r\r` cut in two cannot be told from the first half of `\r\n`; nothing of it is lost all the same.
    assert b"".join(out) == whole
    assert (reader.done, reader.finished, reader.content_seen) == (True, True, True)
    for piece in out:
        assert piece == b"" or piece.endswith(end.encode())
        piece.decode()


@given(texts, cuts)
def test_hidden_usage_is_taken_out_and_nothing_else(said: list[str], places: list[int]) -> None:
    def whole(usage: bool) -> bytes:
        null = {"usage": None} if usage else {}
        events = [event(chunk({"role": "assistant", "content": ""}, **null))]
        events += [content(text, **null) for text in said]
        events.append(event(chunk({}, "stop", **null)))
        return b"".join(events) + (event(chunk(usage=USAGE)) if usage else b"")

    reader = stream(hide=True)
    out = b"".join(reader.feed(piece) for piece in pieces(whole(usage=True) + DONE, places))
    assert out == whole(usage=False)
    assert reader.usage == USAGE


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'{"usage":null,"choices":[]}', b'{"choices":[]}'),
        (b'{"choices":[], "usage" : null}', b'{"choices":[]}'),
        (b'{"usage": null , "choices":[]}', b'{ "choices":[]}'),
        (b'{"choices":[],"note":"\\"usage\\":null"}', b'{"choices":[],"note":"\\"usage\\":null"}'),
    ],
)
def test_a_null_usage_goes_in_every_spelling(sent: bytes, kept: bytes) -> None:
    assert stream(hide=True).feed(b"data: " + sent + b"\n\n") == b"data: " + kept + b"\n\n"


def test_usage_beside_the_last_content_stays_although_it_is_ours() -> None:
    """Some providers put it there; taking it out would take the finish reason with it."""
    reader = stream(hide=True)
    last = event(chunk({"content": "x"}, "stop", usage=USAGE))
    assert reader.feed(ROLE + last) == ROLE + last
    assert reader.usage == USAGE


def test_usage_that_was_asked_for_is_kept_and_its_chunk_annotated() -> None:
    reader = stream(annotate=b'{"cost_usd":"1"}')
    out = reader.feed(ROLE + content("hi", usage=None) + LAST + event(chunk(usage=USAGE)) + DONE)
    *before, usage, rest = out.split(b"\n\n")
    assert rest == b""
    assert b"\n\n".join(before) + b"\n\n" == ROLE + content("hi", usage=None) + LAST
    assert orjson.loads(usage[6:]) == {**chunk(usage=USAGE), "turnpike": {"cost_usd": "1"}}


def test_running_usage_is_annotated_at_the_end_alone() -> None:
    """Some providers count along in every chunk."""
    reader = stream(annotate=b"1")
    out = reader.feed(content("a", usage=USAGE) + event(chunk({}, "stop", usage=USAGE)))
    first, last, _ = out.split(b"\n\n")
    assert b"turnpike" not in first
    assert last.endswith(b',"turnpike":1}')


def test_an_event_of_several_data_lines_is_one_json_text() -> None:
    reader = stream()
    out = reader.feed(b'event: chunk\nid: 7\ndata: {"choices":\ndata: [{"delta":{"content":"x"}}]}\n\n')
    assert out
    assert reader.content_seen
    assert event_data(b"data:a\r\ndata: b\rdata:  c\n\n") == b"a\nb\n c"


@pytest.mark.parametrize(
    ("delta", "seen"),
    [
        ({"role": "assistant"}, False),
        ({"role": "assistant", "content": ""}, False),
        ({"content": None}, False),
        ({"content": "x"}, True),
        ({"reasoning_content": "hm"}, True),
        ({"tool_calls": [{"index": 0}]}, True),
        ({"refusal": "no"}, True),
    ],
)
def test_the_first_content_is_anything_beyond_the_role(delta: dict[str, Any], seen: bool) -> None:
    reader = stream()
    reader.feed(event(chunk(delta)))
    assert reader.content_seen is seen


def test_a_finish_reason_is_content_too_and_odd_choices_are_none() -> None:
    reader = stream()
    reader.feed(event({"choices": ["x", {"delta": "y"}, {}]}) + event({"choices": "x"}) + b"data: \n\n: ping\n\n")
    assert not reader.content_seen
    reader.feed(LAST)
    assert reader.content_seen
    assert reader.finished


def test_after_the_first_content_the_end_is_still_seen() -> None:
    reader = stream()
    reader.feed(content("a"))
    assert not reader.finished
    reader.feed(content('the words "finish_reason":"stop" in a text'))
    assert not reader.finished
    reader.feed(LAST)
    assert reader.finished


def test_nothing_after_done_is_passed_on() -> None:
    reader = stream()
    assert reader.feed(content("a") + DONE + content("b")) == content("a")
    assert reader.feed(content("c")) == b""


def test_delivered_events_are_counted() -> None:
    reader = stream()
    reader.feed(ROLE + content("a"))
    reader.feed(b": ping\n\n" + content("b"))
    assert reader.events == 3


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b'data: {"error":{"message":"overloaded"}}\n\n', "overloaded"),
        (b'event: error\ndata: {"error":"broken"}\n\n', "broken"),
        (b'data: {"error":{"code":7}}\n\n', "reported an error"),
        (b'data: {"error": "x\n\n', "not JSON"),
        (b'data: ["error"]\n\n', "not an object"),
    ],
)
def test_an_error_in_the_stream_breaks_it(seen: bool, sent: bytes, said: str) -> None:
    reader = stream()
    if seen:
        reader.feed(content("a"))
    with pytest.raises(StreamBroken, match=said):
        reader.feed(sent)


def test_what_is_no_chunk_before_the_first_content_breaks_it() -> None:
    with pytest.raises(StreamBroken, match="not JSON"):
        stream().feed(b"data: hello\n\n")


def test_an_error_of_null_is_none() -> None:
    reader = stream()
    assert reader.feed(content("a", error=None)) == content("a", error=None)


@pytest.mark.source
def test_an_event_without_end_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 100)
    reader = stream()
    assert reader.feed(b"data: " + b"x" * 90) == b""
    with pytest.raises(StreamBroken, match="an event exceeds 100 bytes"):
        reader.feed(b"x" * 10)


def test_a_usage_that_nobody_can_read_is_no_bill() -> None:
    reader = ChatStream(hide_usage=False, annotate=None)
    reader.feed(event(chunk({"content": "a"})) + event(chunk({}, "stop", usage={"prompt_tokens": "12"})))
    assert reader.usage is None


def bounded(tokens_max: int, choices: int = 1, *, annotate: bool = False) -> ChatStream:
    note = (lambda _: b'{"cost_usd":"0.1"}') if annotate else None
    return ChatStream(hide_usage=not annotate, annotate=note, tokens_max=tokens_max, choices=choices)


@pytest.mark.parametrize("choices", [1, 3])
def test_a_stream_runs_over_once_it_has_more_events_than_its_limit_has_tokens(choices: int) -> None:
    reader = bounded(20, choices)
    reader.feed(ROLE)
    said = 1
    while not reader.runs_over:
        reader.feed(content("x"))
        said += 1
    assert said == 20 + sse.EVENTS_BESIDE_MAX * choices + 1


@pytest.mark.parametrize("end", [LAST, event(chunk(usage=USAGE)), DONE])
def test_a_stream_that_comes_to_its_end_does_not_run_over(end: bytes) -> None:
    reader = bounded(2)
    reader.feed(ROLE + content("x") * 50 + end)
    assert not reader.runs_over


def test_a_stream_without_content_or_without_a_limit_does_not_run_over() -> None:
    reader = bounded(2)
    reader.feed(ROLE * 50)
    assert not reader.runs_over
    free = stream()
    free.feed(ROLE + content("x") * 5000)
    assert not free.runs_over


def test_a_stream_that_is_cut_short_ends_as_its_provider_would_have_ended_it() -> None:
    last = content("a") + event(chunk({"content": "b"}, model="m", created=7))
    finish, rest = bounded(2, 2).cut_short(last, USAGE).split(b"\n\n", 1)
    assert rest == b""
    assert json.loads(event_data(finish + b"\n\n")) == {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [{"index": place, "delta": {}, "finish_reason": "length"} for place in (0, 1)],
    }
    _, usage, rest = bounded(2, annotate=True).cut_short(last + b": comment\n\n", USAGE).split(b"\n\n", 2)
    assert rest == b""
    told = json.loads(event_data(usage + b"\n\n"))
    assert (told["choices"], told["usage"]) == ([], USAGE)
    assert told["turnpike"] == {"cost_usd": "0.1", "estimated": True}
    assert json.loads(event_data(bounded(2).cut_short(b"", USAGE)))["object"] == "chat.completion.chunk"
