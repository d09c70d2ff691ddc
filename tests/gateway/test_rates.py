"""What is estimated before a request, counted after it, and said in its headers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.counters import OwnCounters
from billing.keys import Key
from billing.price import Usage
from billing.request_log import AttemptRow
from billing.tenancy import Tenancy
from gateway.chat_request import parse_chat
from gateway.errors import RateLimited, render
from gateway.rates import PART_TOKENS, Rates, answer_tokens, duration_text, prompt_tokens

if TYPE_CHECKING:
    from billing.tenancy import Holder
    from gateway.chat_request import ChatAsk
    from gateway.rates import Ticket

T0: Final = 1_700_000_000_000_000


def ask(content: object = "Say hello.", **more: object) -> ChatAsk:
    return parse_chat(json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **more}).encode())


def holder(**limits: object) -> Holder:
    return Tenancy().of(Key("key_1", "n", "tp-", b"d", None, None, (), 0, limits=limits))


def attempt(input_tokens: int, output_tokens: int, cost_nano_usd: int = 1) -> AttemptRow:
    usage = Usage(input_tokens, 0, 0, output_tokens)
    return AttemptRow(1, "p", "m", "pool", 200, "answered", None, T0, 5, usage, cost_nano_usd)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0s"), (1, "1ms"), (999, "1ms"), (120_000, "120ms"), (999_001, "1s"), (1_000_000, "1s"),
        (8_640_000, "8.64s"), (59_999_100, "1m0s"), (60_000_000, "1m0s"), (72_345_000, "1m12.345s"),
        (360_000_000, "6m0s"), (3_600_000_000, "1h0m0s"), (86_400_000_000, "24h0m0s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_openai_writes_them(us: int, text: str) -> None:
    assert duration_text(us).decode() == text


@given(st.integers(0, 10**13))
def test_a_duration_is_never_shorter_than_it_is_and_a_millisecond_longer_at_most(us: int) -> None:
    units = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1000}
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", duration_text(us).decode())
    told_us = sum(round(float(number) * units[unit]) for number, unit in parts)
    assert us <= told_us < us + 1000


def test_a_prompt_is_estimated_by_its_text() -> None:
    assert 1 <= prompt_tokens(ask()) <= 10
    assert prompt_tokens(ask("word " * 2000)) in range(2400, 2600)


def test_a_picture_counts_as_one_however_many_bytes_it_has() -> None:
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 1_000_000, "format": "wav"}}
    estimate = prompt_tokens(ask([{"type": "text", "text": "What is this?"}, url, sound]))
    assert 2 * PART_TOKENS < estimate < 2 * PART_TOKENS + 100
    text = [{"type": "text", "text": "word " * 2000}]
    assert prompt_tokens(ask(text)) in range(2400, 2600), "a part that is text is text"


def test_an_answer_is_estimated_as_usual_or_as_short_as_it_is_wanted() -> None:
    assert answer_tokens(ask()) == answer_tokens(ask(max_tokens=100_000)) == 256
    assert answer_tokens(ask(max_completion_tokens=7)) == 7
    assert answer_tokens(ask(n=3)) == 768


def admitted(rates: Rates, of: Holder, asked: ChatAsk, now_us: int = T0) -> Ticket:
    ticket = rates.admit(of, ("m",), asked, now_us)
    assert ticket is not None
    return ticket


def test_without_limits_there_is_no_ticket() -> None:
    assert Rates(OwnCounters()).admit(holder(), ("m",), ask(), T0) is None


def test_headers_tell_of_those_limits_that_there_are() -> None:
    rates = Rates(OwnCounters())
    lines = admitted(rates, holder(requests_per_minute=60), ask()).lines
    assert lines == (
        b"x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n"
    )
    lines = admitted(Rates(OwnCounters()), holder(tokens_per_minute=600), ask(max_tokens=10)).lines
    assert re.fullmatch(
        rb"x-ratelimit-limit-tokens: 600\r\nx-ratelimit-remaining-tokens: 5\d\d\r\nx-ratelimit-reset-tokens: .+s\r\n",
        lines,
    )
    assert admitted(Rates(OwnCounters()), holder(concurrency_max=1), ask()).lines == b""


@pytest.mark.parametrize(
    ("attempts", "left"),
    [
        ((), 1000),
        ([attempt(100, 50)], 850),
        ([attempt(100, 0, 0), attempt(100, 50)], 750),
        ([attempt(0, 0, cost_nano_usd=5)], None),
        ([attempt(0, 0, cost_nano_usd=0)], 1000),
    ],
    ids=["none", "one", "two", "charged for what nobody knows", "not charged"],
)
def test_what_all_attempts_used_counts(attempts: list[AttemptRow], left: int | None) -> None:
    rates, of = Rates(OwnCounters()), holder(tokens_per_minute=1000)
    ticket = admitted(rates, of, ask())
    rates.end(ticket, attempts, T0)
    expected = 1000 - ticket.estimate if left is None else left
    shown = admitted(rates, of, ask(max_tokens=1))
    remaining = re.search(rb"remaining-tokens: (\d+)", shown.lines)
    assert remaining is not None
    assert int(remaining[1]) == expected - shown.estimate


@pytest.mark.parametrize(
    ("limits", "content", "words"),
    [
        ({"requests_per_minute": 1}, "a", "key `key_1` may make 1 requests a minute; try again in 1m0s"),
        ({"tokens_per_minute": 300}, "a", "key `key_1` may use 300 tokens a minute, and this request is estimated at"),
        ({"concurrency_max": 1}, "a", "key `key_1` may have 1 requests under way at once"),
        ({"tokens_per_minute": 300}, "word " * 300, "tokens long, and key `key_1` may use 300 a minute: shorten it"),
    ],
)
def test_a_refusal_names_the_limit_and_what_to_do(limits: dict[str, object], content: str, words: str) -> None:
    rates, of = Rates(OwnCounters()), holder(**limits)
    rates.admit(of, ("m",), ask(), T0)
    with pytest.raises(RateLimited, match=re.escape(words)) as caught:
        rates.admit(of, ("m",), ask(content), T0)
    rendered = render(caught.value, "req_1")
    headers = dict(rendered.headers)
    assert (rendered.status, rendered.code) == (429, "rate_limit_exceeded")
    assert int(headers["retry-after"]) * 1000 >= int(headers["retry-after-ms"]) > 0
    assert ("x-should-retry" in headers) == ("shorten" in words)
