"""A whole gateway in one process and without sockets: clients and its only provider are the test."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import gateway.app
from billing.books import Books
from billing.journal import RECORD_BYTES_MAX
from billing.migrating import migrate
from gateway.app import build, new_key
from gateway.config.load import read
from gateway.wire.server import ServerConnection
from gateway.wire.upstream import Origin, Pool
from tests.wire.fake_transport import Loop, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import pytest

    from gateway.app import App

SEGMENT_BYTES: Final = 4 * RECORD_BYTES_MAX
BODY: Final = json.dumps(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7},
    }
).encode()
ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
CONFIG: Final = """
state: {directory: %s}
billing: {cancelled_stream: %s, journal_sync: %s, unknown_outcome: %s}
providers: {one: {base_url: "http://one.test/v1", api_key: sk-one-0123456789}}
models: {m: [{provider: one, model: m, price: {input: 1, output: 2}}]}
limits: {concurrency_max: 1000}
"""


class Far:
    """The provider's end of each connection; a test decides when one opens and what comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.transports: list[Transport] = []
        self.opening: list[asyncio.Future[None]] = []
        self.slams_door = False
        self._loop = loop

    async def connect(self, factory: Callable[[], asyncio.Protocol]) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
        opened: asyncio.Future[None] = self._loop.create_future()
        self.opening.append(opened)
        await opened
        protocol = factory()
        transport = Transport(protocol, Loop())
        protocol.connection_made(transport)
        self.transports.append(transport)
        if self.slams_door:
            transport.hang_up()
        return transport, protocol

    async def opens(self) -> None:
        """The connection that is asked for last is there."""
        await turn()
        self.opening[-1].set_result(None)
        await turn()


async def turn() -> None:
    """What is due happens."""
    for _ in range(5):
        await asyncio.sleep(0)


class House:
    """A gateway whose only provider is the test."""

    def __init__(self, app: App, far: Far, secret: str) -> None:
        self.app = app
        self.far = far
        self._secret = secret

    def client(self, peer: str = "192.0.2.7") -> Transport:
        """A client that says nothing yet; its transport."""
        connection = ServerConnection(self.app.door, self.app.services.sweep, self.app.services.loop)
        transport = Transport(connection, Loop(), peer=peer)
        connection.connection_made(transport)
        return transport

    def get(
        self, path: str, *lines: str, method: str = "GET", peer: str = "192.0.2.7", bearer: str = ""
    ) -> tuple[int, bytes, bytes]:
        """What a request without a body is answered: status, head, body."""
        client = self.client(peer)
        first = f"{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {bearer or self._secret}"
        client.feed("\r\n".join([first, *lines, "", ""]).encode())
        head, _, body = client.take().partition(b"\r\n\r\n")
        return int(head.split()[1]), head, body

    async def looks_up(self, path: str, *lines: str, method: str = "GET", bearer: str = "") -> tuple[int, bytes, bytes]:
        """The same for what is read on a thread; waits for it."""
        client = self.client()
        first = f"{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {bearer or self._secret}"
        client.feed("\r\n".join([first, *lines, "", ""]).encode())
        answer = b""
        async with asyncio.timeout(30):
            while b"\r\n\r\n" not in answer:
                await asyncio.sleep(0.002)
                answer += client.take()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head, body

    def asks(self, *lines: str, **fields: Any) -> Transport:
        """A client that sends a chat request; its transport."""
        transport = self.client()
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()
        first = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {self._secret}"
        transport.feed("\r\n".join([first, f"content-length: {len(body)}", *lines, "", ""]).encode() + body)
        return transport

    async def warm(self) -> None:
        """One request and its answer, so that a connection is kept alive."""
        client = self.asks()
        await self.far.opens()
        self.far.transports[-1].feed(ANSWER)
        await turn()
        assert client.take().startswith(b"HTTP/1.1 200 OK")
        self.far.transports[-1].take()

    def at_rest(self) -> None:
        """Nothing is under way, held or unexplained."""
        s = self.app.services
        assert s.gate.in_flight == 0
        assert s.books.pending_nano_usd() == 0
        assert s.books.pending() == ()
        assert s.roads.providers["one"].in_flight == 0
        assert {count.running for count in s.rates._counters._counts.values()} <= {0}  # type: ignore[attr-defined]
        assert s.metrics.surprises == 0, "something failed that nobody foresaw; the log has it"

    def outcomes(self) -> dict[str, int]:
        """How many attempts ended how."""
        lines = self.app.services.metrics.render().decode().splitlines()
        found = {}
        for line in lines:
            if line.startswith("turnpike_attempts_total{"):
                labels, _, count = line.rpartition(" ")
                found[labels.partition('outcome="')[2].partition('"')[0]] = int(count)
        return found


@asynccontextmanager
async def opened(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    cancelled_stream: str = "cancel",
    journal_sync: str = "os",
    unknown_outcome: str = "charge_hold",
    more: str = "",
) -> AsyncIterator[House]:
    """The gateway, running; at the end everything is closed."""
    small = partial(Books, segment_bytes=SEGMENT_BYTES, journal_bytes_max=3 * SEGMENT_BYTES)
    monkeypatch.setattr(gateway.app, "Books", small)
    settings = read(CONFIG % (directory, cancelled_stream, journal_sync, unknown_outcome) + more, "", {})
    settings.state.directory.mkdir()
    migrate(settings.state.database_url)
    loop = asyncio.get_running_loop()
    app = build(settings, {}, "tpa-secret")
    far = Far(loop)
    one = app.services.roads.providers["one"]
    one.connections = Pool(Origin.of("http://one.test/v1"), far.connect, loop, connect_s=30)
    secret, key = new_key("k")
    app.services.keyring.put(key)
    app.services.books.open()
    yield House(app, far, secret)
    for opening in far.opening:
        opening.cancel()
    await turn()
    await app.close()
