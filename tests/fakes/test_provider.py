"""The fake itself: what it promises, asked of it directly, so that a failing end-to-end test accuses the gateway."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from tests.e2e.gateway import chat, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.bill import Tokens, cost_nano_usd, tariff, usd_text
from tests.fakes.provider import Provider
from tests.fakes.script import (
    Close,
    Reset,
    Says,
    Wire,
    broken_stream,
    completion,
    events,
    hang_up,
    refusal,
    reply,
    stall,
    truncated,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PRICES = tariff("0.0025", "1.2345", "0.0005", "3.3335")


@pytest.fixture(scope="module")
def fake() -> Iterator[Provider]:
    with Provider("fake", PRICES) as provider:
        yield provider


@pytest.fixture
def client(fake: Provider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=fake.base_url, api_key="sk", max_retries=0, timeout=5) as made:
        yield made


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_an_answer_arrives_whole_in_every_framing(fake: Provider, framing: str, encoding: str) -> None:
    says = Says(pieces=("grüße ", "🚀"))
    wire = Wire(framing=framing, encoding=encoding, piece_bytes=7)  # type: ignore[arg-type]
    fake.queue("m", reply(says, wire), reply(says, wire))
    body = httpx.post(f"{fake.base_url}/chat/completions", json=chat("m"), trust_env=False)
    assert body.content == completion(says, "m")
    stream = httpx.post(f"{fake.base_url}/chat/completions", json=chat("m", stream=True), trust_env=False)
    assert stream.content == b"".join(events(says, "m", include_usage=False))


def test_the_official_client_reads_its_streams_and_tool_calls(fake: Provider, client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"where":"here"}'}}
    fake.queue("m", reply(Says(tool_calls=(call,), finish="tool_calls")))
    parts = list(
        client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == "Hello, world"
    assert parts[-1].usage is not None
    assert parts[-1].usage.prompt_tokens == 11


def test_a_bill_is_rounded_once_and_half_to_even() -> None:
    assert cost_nano_usd(Tokens(input=1, output=0), tariff("0.0005", "1")) == 0
    assert cost_nano_usd(Tokens(input=3, output=0), tariff("0.0005", "1")) == 2
    assert cost_nano_usd(Tokens(input=11, output=7, cached=3, reasoning=2), PRICES) == round(
        (Decimal("0.0025") * 8 + Decimal("0.0005") * 3 + Decimal("1.2345") * 5 + Decimal("3.3335") * 2) * 1000
    )
    assert usd_text(1_234_500) == "0.001234500"


def test_what_is_served_is_billed_and_what_is_refused_is_not(fake: Provider, client: openai.OpenAI) -> None:
    before = fake.bill_nano_usd()
    fake.queue("billed", reply(), refusal(429, headers={"retry-after": "7"}))
    client.chat.completions.create(model="billed", messages=[])
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="billed", messages=[])
    assert caught.value.response.headers["retry-after"] == "7"
    assert fake.bill_nano_usd() - before == cost_nano_usd(Says().tokens, PRICES) == fake.bill_nano_usd("billed")


@pytest.mark.parametrize(
    "behaviour",
    [
        hang_up(),
        truncated(Says()),
        broken_stream(Says(), Reset(), after=2),
        broken_stream(Says(), Close(), after=2),
    ],
    ids=["hang_up", "truncated", "reset", "cut"],
)
def test_breakages_break(fake: Provider, behaviour: object) -> None:
    fake.queue("m", behaviour)  # type: ignore[arg-type]
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{fake.base_url}/chat/completions", json=chat("m", stream=True), trust_env=False)


def test_who_leaves_in_the_middle_is_noted(fake: Provider) -> None:
    fake.queue("leaver", stall())
    with RawClient(fake.port) as client:
        client.send(request_bytes(json.dumps(chat("leaver")).encode(), "sk"))
        eventually(lambda: fake.asked("leaver"), "the request arrives")
    eventually(lambda: [left for left in fake.left if left.request.model == "leaver"], "its leaving is noted")


def test_requests_are_kept_as_they_came(fake: Provider) -> None:
    body = b'{"model":"kept",  "messages":[], "\xc3\xbc":1e400}'
    sent = request_bytes(body, "sk", headers=((b"X-Odd", b"  caf\xe9"),))
    with RawClient(fake.port) as client:
        client.send(sent)
        assert client.answer().status == 200
    [request] = fake.asked("kept")
    assert request.head + request.body == sent
    assert request.header("x-odd") == "café"


def test_a_gzipped_stream_is_flushed_event_by_event(fake: Provider) -> None:
    fake.queue("m", reply(Says(), replace(Wire(encoding="gzip"), chunk_extension=b";a=b"), gap_s=0.01))
    with httpx.stream("POST", f"{fake.base_url}/chat/completions", json=chat("m", stream=True), trust_env=False) as got:
        assert got.headers["content-encoding"] == "gzip"
        raw = b"".join(got.iter_raw())
    assert gzip.decompress(raw) == b"".join(events(Says(), "m", include_usage=False))
