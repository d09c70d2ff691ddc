"""`demo/echo` answers as a provider would, says that it is simulated, and keeps to the limits it was given."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from gateway import echo
from gateway.answer import Answer
from gateway.chat_request import parse_chat
from gateway.roads import Timeouts
from gateway.wire.clock import NEVER, Sweep
from gateway.wire.sse import ChatStream

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clocks:
    loop: asyncio.AbstractEventLoop
    sweep: Sweep
    monotonic: Callable[[], float]
    response_body_bytes_max: int = 10**6


def asked(messages: list[dict[str, Any]], **more: Any) -> tuple[Answer, ChatStream | None]:
    ask = parse_chat(json.dumps({"model": "demo/echo", "messages": messages, **more}).encode())
    loop = asyncio.get_running_loop()
    stream = ChatStream(hide_usage=False, annotate=None) if ask.stream else None
    answer = Answer(Clocks(loop, Sweep(loop), loop.time), stream, NEVER, Timeouts())
    echo.answer(ask, "req_1", 1_700_000_000_000_000, answer)
    assert answer.ready, "all of it comes at once"
    return answer, stream


def user(content: object) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "be brief"}, {"role": "user", "content": content}]


async def test_it_repeats_the_last_words_and_says_that_it_is_simulated() -> None:
    answer, _ = asked([*user("first"), {"role": "assistant", "content": "x"}, *user("hello there")])
    said = json.loads(answer.whole)
    content = said["choices"][0]["message"]["content"]
    assert "simulated" in content
    assert content.endswith("hello there")
    assert said["id"] == "chatcmpl-req_1"
    assert said["created"] == 1_700_000_000
    assert said["choices"][0]["finish_reason"] == "stop"
    usage = said["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_stream_says_the_same_in_pieces() -> None:
    whole, _ = asked(user("hello there"))
    _, stream = asked(user("hello there"), stream=True)
    assert stream is not None
    assert (stream.content_seen, stream.finished, stream.done) == (True, True, True)
    assert stream.usage == json.loads(whole.whole)["usage"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            [{"type": "text", "text": "part one"}, {"type": "image_url"}, "x", {"text": 7}, {"text": "two"}],
            "part one two",
        ),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
async def test_content_of_every_shape_is_read(content: object, words: str) -> None:
    answer, _ = asked(user(content))
    assert json.loads(answer.whole)["choices"][0]["message"]["content"].endswith(f"You said: {words}".rstrip())


async def test_without_a_user_there_are_no_words() -> None:
    answer, _ = asked([{"role": "system", "content": "x"}])
    assert json.loads(answer.whole)["choices"][0]["message"]["content"].endswith("You said:")


async def test_the_limit_of_tokens_and_the_number_of_choices_are_kept() -> None:
    answer, _ = asked(user("a b c d"), max_tokens=3, n=2)
    said = json.loads(answer.whole)
    assert [choice["index"] for choice in said["choices"]] == [0, 1]
    assert all(choice["finish_reason"] == "length" for choice in said["choices"])
    assert len(said["choices"][0]["message"]["content"].split()) == 3
    assert said["usage"]["completion_tokens"] == 6
