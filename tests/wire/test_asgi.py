"""An ASGI application on a connection of ours: it is told of its client's leaving, and its failures never look like success."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from gateway.wire.asgi import AsgiCall
from gateway.wire.clock import Sweep
from gateway.wire.headers import status_line
from gateway.wire.server import Limits, ServerConnection, Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.wire.asgi import Application, Message, Receive, Send
    from gateway.wire.http1 import RequestHead

LIMITS: Final = Limits(10_000, 10_000, 10, 10, 10)


class Door:
    """Every request goes to the application."""

    def __init__(self, application: Application) -> None:
        self.limits = LIMITS
        self.connections: set[ServerConnection] = set()
        self.closing = False
        self.failures: list[BaseException] = []
        self._application = application

    def serve(self, connection: ServerConnection, head: RequestHead, body: bytes) -> Work | None:
        return AsgiCall(
            self._application,
            connection,
            head,
            body,
            request_id="req_1",
            on_failure=self.failures.append,
            status_line=status_line,
        )

    def refusal(self, status: int, code: str, message: str) -> tuple[bytes, bytes]:
        raise AssertionError(message)


class Served:
    """The application behind a real socket."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._doors: list[Door] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def by(self, application: Application) -> tuple[Door, asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        door = Door(application)
        sweep = Sweep(loop)
        server = await loop.create_server(
            lambda: cast("asyncio.Protocol", ServerConnection(door, sweep, loop)), "127.0.0.1", 0
        )
        self._servers.append(server)
        self._doors.append(door)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        self._writers.append(writer)
        return door, reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):  # its end is a test's own affair
                await writer.wait_closed()
        for server in self._servers:
            server.close()
        async with asyncio.timeout(10):
            while any(door.connections for door in self._doors):
                await asyncio.sleep(0.002)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    yield made
    await made.close()


def get(target: bytes = b"/", *lines: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"host: a", *lines]) + b"\r\n\r\n"


async def read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One answer with a length, or in chunks."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head:
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
            return head, body
        lengths = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
        return head, await reader.readexactly(int(lengths[0][16:])) if lengths else b""


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def piece(body: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def test_a_request_becomes_a_scope_and_a_message(served: Served) -> None:
    seen: list[Any] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        seen.extend((scope, await receive()))
        await send(
            start(201, (b"X-A", b"b"), (b"Content-Length", b"999"), (b"connection", b"close"), (b"date", b"now"))
        )
        await send(piece(b"made"))

    _, reader, writer = await served.by(application)
    writer.write(get(b"/a%20b?c=d", b"X-In: y", b"content-length: 4", method=b"POST") + b"body")
    head, body = await read(reader)
    assert (head, body) == (
        b"HTTP/1.1 201 Created\r\nx-request-id: req_1\r\nX-A: b\r\ncontent-length: 4\r\n\r\n",
        b"made",
    )
    scope, message = seen
    assert (scope["method"], scope["path"], scope["raw_path"], scope["query_string"]) == (
        "POST",
        "/a b",
        b"/a%20b",
        b"c=d",
    )
    assert (b"x-in", b"y") in scope["headers"]
    assert scope["client"][0] == "127.0.0.1"
    assert scope["state"] == {"request_id": "req_1"}
    assert message == {"type": "http.request", "body": b"body", "more_body": False}


async def test_a_stream_is_sent_in_chunks_and_the_connection_stays(served: Served) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(start())
        for part in (b"one ", b"", b"two "):
            await send(piece(part, more=True))
        await send(piece(b"three"))
        await send(piece(b"after the end"))

    _, reader, writer = await served.by(application)
    for _ in range(2):
        writer.write(get())
        head, body = await read(reader)
        assert b"content-length" not in head
        assert body == b"one two three"


async def test_an_answer_without_content_has_no_length(served: Served) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(start(204))
        await send(piece())

    _, reader, writer = await served.by(application)
    writer.write(get())
    head, _ = await read(reader)
    assert head == b"HTTP/1.1 204 No Content\r\nx-request-id: req_1\r\n\r\n"


async def test_a_failure_before_the_answer_is_500_and_told_to_the_log(served: Served) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(start())
        raise ValueError("a secret")

    door, reader, writer = await served.by(application)
    writer.write(get())
    head, body = await read(reader)
    assert head.startswith(b"HTTP/1.1 500 ")
    assert body == b"Internal Server Error"
    assert [str(error) for error in door.failures] == ["a secret"]


async def test_an_application_that_answers_nothing_is_500(served: Served) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()

    _, reader, writer = await served.by(application)
    writer.write(get())
    assert (await read(reader))[0].startswith(b"HTTP/1.1 500 ")


async def test_a_stream_that_fails_is_cut_and_does_not_look_whole(served: Served) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(start())
        await send(piece(b"half", more=True))
        raise ValueError("broken")

    _, reader, writer = await served.by(application)
    writer.write(get())
    with contextlib.suppress(ConnectionError):  # a reset, or an end that comes too soon
        assert not (await reader.read()).endswith(b"0\r\n\r\n")


async def test_a_client_that_leaves_is_told_to_the_application(served: Served) -> None:
    told: list[Message] = []
    ended = asyncio.Event()

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(start())
        await send(piece(b"x", more=True))
        told.append(await receive())
        await send(piece(b"nobody hears", more=True))
        ended.set()

    door, reader, writer = await served.by(application)
    writer.write(get())
    await reader.readuntil(b"x\r\n")
    writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 10)
    assert told == [{"type": "http.disconnect"}]
    assert door.failures == []


async def test_an_application_is_no_faster_than_its_client(served: Served) -> None:
    sent = 0

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(200):
            await send(piece(b"z" * 100_000, more=True))
            sent += 1
        await send(piece())

    _, reader, writer = await served.by(application)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads too
    writer.write(get())
    async with asyncio.timeout(10):
        last = -1
        while sent != last or sent == 0:
            last = sent
            await asyncio.sleep(0.1)
    assert 0 < sent < 180, "20 MB do not fit between the two"
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    size, end = 0, b""
    async with asyncio.timeout(10):
        while not end.endswith(b"\r\n0\r\n\r\n"):
            data = await reader.read(2**20)
            size, end = size + len(data), (end + data)[-10:]
    assert size > 20_000_000
