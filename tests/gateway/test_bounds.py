"""A provider that goes on beyond the limit that bounds its cost is stopped, and what it delivered is paid for."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final

import pytest

from gateway.wire.sse import EVENTS_BESIDE_MAX
from tests.gateway.whole_gateway import House, opened, turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from billing.request_log import RequestRow
    from tests.wire.fake_transport import Transport

# The body's bytes at a dollar per million, and so many tokens of output at two.
CAP: Final = "x-turnpike-max-cost: 0.0007"
STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n%b\r\n"
WORD: Final = b'data: {"id":"c1","model":"m","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
LAST: Final = b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
USAGE: Final = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":%d}}\n\n'
DONE: Final = b"data: [DONE]\n\n"


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with opened(tmp_path / "state", monkeypatch) as made:
        await made.warm()
        yield made


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def asked(house: House, **fields: Any) -> tuple[Transport, Transport, int]:
    """A client, its provider, and the limit that this one was sent."""
    client = house.asks(CAP, stream=True, max_tokens=5000, **fields)
    far = house.far.transports[-1]
    limit: int = json.loads(far.take().partition(b"\r\n\r\n")[2])["max_tokens"]
    assert 256 <= limit < 400, "lowered to what the cap has room for"
    return client, far, limit


def words(said: bytes) -> int:
    return said.count(b'"content":"word "')


def the_last(house: House) -> RequestRow:
    house.app.services.books.flush()
    return house.app.store.requests(1).data[0]


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_stream_that_goes_on_beyond_its_limit_is_stopped_and_ended_cleanly(
    house: House, at_once: bool, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    client, far, limit = asked(house)
    packer = zlib.compressobj(wbits=31)

    def sent(data: bytes) -> bytes:
        return framed(data if coding == "identity" else packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))

    head = STREAM % (b"" if coding == "identity" else b"content-encoding: gzip\r\n")
    if at_once:
        far.feed(head + sent(WORD * 1000))
    else:
        far.feed(head)
        for _ in range(1000):
            if not far.aborted:
                far.feed(sent(WORD))
    await turn()
    assert far.aborted
    said = client.take()
    if not at_once:
        assert words(said) == limit + EVENTS_BESIDE_MAX + 1
    assert said.endswith(b"\r\n0\r\n\r\n")
    assert said.count(b'"finish_reason":"length"') == 1
    assert DONE in said
    assert b"usage" not in said
    house.at_rest()
    row = the_last(house)
    assert (row.status, row.attempts[0].outcome) == (200, "answered")
    assert f"beyond the {limit} tokens" in str(row.attempts[0].error)
    assert row.attempts[0].usage.output_tokens == words(said)
    assert limit * 2_000 < row.cost_nano_usd <= 700_000, "what was delivered, at most the hold"
    assert "goes on beyond" in caplog.text


async def test_who_asked_for_the_usage_gets_what_was_counted(house: House) -> None:
    client, far, _ = asked(house, stream_options={"include_usage": True})
    far.feed(STREAM % b"" + framed(WORD * 1000))
    await turn()
    [told] = [json.loads(line[6:]) for line in client.take().split(b"\n\n") if b'"turnpike"' in line]
    assert told["usage"]["completion_tokens"] == 1000
    assert told["turnpike"]["estimated"] is True


async def test_a_stream_that_keeps_its_limit_or_came_whole_is_billed_exactly(house: House) -> None:
    """Also where it was longer than it should have been: its bill is known, and what is beyond the hold is told."""
    for count in (200, 2000):
        client, far, _ = asked(house)
        far.feed(STREAM % b"" + framed(WORD * count + LAST + USAGE % count + DONE) + b"0\r\n\r\n")
        await turn()
        assert words(client.take()) == count
        assert not far.closing
        assert the_last(house).cost_nano_usd == 11_000 + count * 2_000
    house.at_rest()


async def test_without_a_limit_of_ours_no_stream_is_stopped(house: House) -> None:
    client = house.asks(stream=True, max_tokens=1)
    far = house.far.transports[-1]
    far.feed(STREAM % b"" + framed(WORD * 1000))
    await turn()
    assert not far.aborted
    far.feed(framed(LAST + USAGE % 1000 + DONE) + b"0\r\n\r\n")
    await turn()
    assert words(client.take()) == 1000
    house.at_rest()


async def test_what_was_stopped_is_not_kept(house: House) -> None:
    for _ in range(2):
        client, far, _ = asked(house, temperature=0)
        far.feed(STREAM % b"" + framed(WORD * 1000))
        await turn()
        assert words(client.take()) == 1000
        await house.warm()
    house.at_rest()
