"""A client that hangs up: the provider is let go at once, and what was used is in the books, marked as estimated."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway, Key, chat, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.script import FOREVER_S, Behaviour, Pause, Says, Send, broken_stream, reply, response, stall
from tests.fakes.script import STREAMED as CHUNKED

if TYPE_CHECKING:
    from tests.fakes.provider import Left, Provider

AT_ONCE_S = 1.0


def left(provider: Provider, model: str) -> Left:
    found = eventually(
        lambda: [seen for seen in provider.left if seen.request.model == model], "the provider is let go"
    )
    return found[0]


def test_a_stream_is_cancelled_at_once_and_charged_as_estimated(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    one.queue(model, broken_stream(Says(), Pause(FOREVER_S), after=3))
    with RawClient(gateway.port) as client:
        client.send(request_bytes(json.dumps(chat(model, stream=True, max_tokens=100)).encode(), key.secret))
        client.read_until(b"Hello")
        gone_at = time.monotonic()
    assert left(one, model).at_s - gone_at < AT_ONCE_S
    [row] = gateway.usage_of(key)
    assert float(str(row["cost_usd"])) > 0
    assert row["estimated_usd"] == row["cost_usd"]
    assert float(str(row["pending_usd"])) == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("behaviour", [stall(), broken_stream(Says(), Pause(FOREVER_S), after=1)], ids=["head", "role"])
def test_waiting_is_cancelled_at_once(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str, stream: bool, behaviour: Behaviour
) -> None:
    one.queue(pair, behaviour)
    with RawClient(gateway.port) as client:
        client.send(request_bytes(json.dumps(chat(pair, stream=stream)).encode(), key.secret))
        eventually(lambda: one.asked(pair), "the provider is asked")
        gone_at = time.monotonic()
    assert left(one, pair).at_s - gone_at < AT_ONCE_S
    gateway.usage_of(key)
    assert two.asked(pair) == [], "nobody waits for an answer any more"


def test_a_request_that_never_arrived_whole_costs_nothing(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    whole = request_bytes(json.dumps(chat(model)).encode(), key.secret)
    with RawClient(gateway.port) as client:
        client.send(whole[:-3])
    assert gateway.ask(key, chat(model)).status_code == 200
    [row] = gateway.usage_of(key)
    assert row["requests"] == 1
    assert len(one.asked(model)) == 1


def test_a_client_that_only_finished_sending_gets_its_answer(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    """A half-closed connection is not a client that left, or is treated as one; never is it left hanging."""
    one.queue(model, reply(gap_s=0.2))
    with RawClient(gateway.port) as client:
        client.send(request_bytes(json.dumps(chat(model)).encode(), key.secret))
        client.half_close()
        rest = client.rest()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 200 ")
    gateway.usage_of(key)


def test_a_provider_is_not_read_faster_than_the_client_reads(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    """Backpressure: 200 MB that nobody reads stay with the provider, not in our memory."""
    event = b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
    part = event % (b"z" * 100_000)
    head = response((part,), CHUNKED, "text/event-stream", whole=False)
    framed = b"%x\r\n%s\r\n" % (len(part), part)
    one.queue(model, lambda _: (*head, *[Send(framed)] * 2000))
    memory, sent = gateway.resident_bytes(), one.bytes_sent
    with RawClient(gateway.port, receive_buffer_bytes=8192) as client:
        client.send(request_bytes(json.dumps(chat(model, stream=True)).encode(), key.secret))
        client.read_until(b"zzz")
        steady = _steady(one)
        assert steady - sent < 40_000_000
        assert gateway.resident_bytes() - memory < 32_000_000
    left(one, model)


def _steady(provider: Provider) -> int:
    """What was sent, once no more of it goes for a third of a second."""
    last, since = provider.bytes_sent, time.monotonic()
    deadline = since + 10
    while time.monotonic() - since < 0.3:
        assert time.monotonic() < deadline, "the provider is still being read although the client is not reading"
        time.sleep(0.02)
        if provider.bytes_sent != last:
            last, since = provider.bytes_sent, time.monotonic()
    return last
