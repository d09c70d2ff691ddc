"""The side towards providers: an answer means the same however it is cut; only a sound connection is used again."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import upstream
from gateway.wire.upstream import (
    HEAD_BYTES_MAX,
    STALE_WITHIN_S,
    BadAnswer,
    ConnectFailed,
    ConnectionReset,
    ConnectTimedOut,
    Origin,
    Pool,
    StaleConnection,
    UpstreamConnection,
    UpstreamError,
)
from tests.fakes.certificate import make_certificate
from tests.wire.fake_transport import Loop, Transport, pieces
from tests.wire.listening import Listening, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.wire.http1 import ResponseHead

ORIGIN: Final = Origin.of("http://provider.test/v1")


class Kept:
    """A sink that keeps what it hears, and `then` does something when a piece of the body comes."""

    def __init__(self) -> None:
        self.then: Callable[[], None] = lambda: None
        self.head: ResponseHead | None = None
        self.received = b""
        self.steps: list[int] = []
        self.ended = False
        self.error: UpstreamError | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.error is not None

    def head_received(self, head: ResponseHead) -> None:
        assert self.head is None
        self.head = head

    def body(self, data: bytes) -> None:
        assert self.head is not None
        assert data
        self.received += data
        self.steps.append(len(data))
        self.then()

    def end(self) -> None:
        assert not self.over
        self.ended = True

    def whole_answer(self, head: ResponseHead, body: bytes) -> None:
        self.head_received(head)
        self.received = body
        self.end()

    def broken(self, error: UpstreamError) -> None:
        assert not self.over
        self.error = error


class Exchange:
    """A connection with a request under way."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.pool = Pool(ORIGIN, cast("Any", None), self.loop.real, connect_s=1)
        self.connection = UpstreamConnection(self.pool, self.loop.real)
        self.transport = Transport(self.connection, self.loop)
        self.connection.connection_made(self.transport)
        self.sink = Kept()
        self.connection.send(b"request", self.sink)

    def gets(self, *data: bytes) -> Kept:
        self.transport.feed(*data)
        self.loop.run()
        return self.sink

    def again(self) -> Kept:
        """The next request on the same connection, as the pool gives it out."""
        assert self.pool.idle() is self.connection
        self.sink = Kept()
        self.connection.send(b"request", self.sink)
        return self.sink

    @property
    def kept_alive(self) -> bool:
        found = self.pool.idle()
        if found is not None:
            self.pool.give_back(found)
        return found is not None


def answer(body: bytes = b"", *lines: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"\r\n".join([b"HTTP/1.1 " + status, b"content-length: %d" % size, *lines]) + b"\r\n\r\n" + body


def chunked(*parts: bytes, lines: bytes = b"", extension: bytes = b"") -> bytes:
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n%b\r\n%b0\r\n\r\n" % (lines, framed)


def squeezed(data: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.compress(data, mtime=0)
    if coding == "gzip in members":
        cut = len(data) // 3
        return b"".join(gzip.compress(part, mtime=0) for part in (data[:cut], b"", data[cut:])) + b"\0" * (cut % 5)
    packer = zlib.compressobj(wbits=-15 if coding == "raw deflate" else 15)
    return packer.compress(data) + packer.flush()


# --- answers, however cut ---


@given(
    st.binary(max_size=200),
    st.sampled_from(["length", "chunked", "close"]),
    st.sampled_from([None, "gzip", "x-gzip", "gzip in members", "deflate", "raw deflate"]),
    st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" * 2]),
    st.lists(st.integers(0, 2000), max_size=30),
)
def test_an_answer_means_the_same_in_every_framing_coding_and_cut(
    body: bytes, framing: str, coding: str | None, interim: bytes, places: list[int]
) -> None:
    sent = body if coding is None else squeezed(body, "gzip" if coding == "x-gzip" else coding)
    name = "" if coding is None else coding.removeprefix("raw ").removesuffix(" in members")
    line = b"Content-Encoding: %b" % name.encode() if name else b""
    if framing == "length":
        data = answer(sent, *([line] if line else []))
    elif framing == "chunked":
        data = chunked(sent[:50], sent[50:], lines=line + b"\r\n" if line else b"", extension=b";a=b")
    else:
        data = b"HTTP/1.1 200 OK\r\n" + (line + b"\r\n" if line else b"") + b"\r\n" + sent
    exchange = Exchange()
    sink = exchange.gets(*pieces(interim + data, places))
    if framing == "close":
        assert not sink.over
        exchange.transport.hang_up()
    assert sink.error is None
    assert sink.ended
    assert sink.received == body
    assert sink.head is not None
    assert sink.head.status == 200
    assert exchange.kept_alive is (framing != "close")


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_whatever_comes_ends_in_an_answer_or_an_error_once_the_connection_is_gone(
    data: bytes, places: list[int]
) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"):
        exchange = Exchange()
        sink = exchange.gets(*pieces(start + data, places))
        if not exchange.transport.closed:
            exchange.transport.hang_up()
        exchange.loop.run()
        assert sink.over


@pytest.mark.parametrize("coding", ["deflate", "raw deflate"])
def test_deflate_is_told_from_raw_deflate_although_its_first_byte_comes_alone(coding: str) -> None:
    sent = squeezed(b"\0\0\0", coding)
    whole = answer(sent, b"content-encoding: deflate")
    exchange = Exchange()
    sink = exchange.gets(whole[: -len(sent)], *(sent[at : at + 1] for at in range(len(sent))))
    assert (sink.ended, sink.received) == (True, b"\0\0\0")


def test_the_common_case_comes_in_one_piece() -> None:
    exchange = Exchange()
    sink = exchange.gets(answer(b"all of it", b"content-type: a/b"))
    assert (sink.ended, sink.received) == (True, b"all of it")
    assert exchange.connection.reused
    assert exchange.again().head is None
    assert exchange.gets(answer(b"next")).received == b"next"


def test_large_compressed_answers_are_delivered_in_steps() -> None:
    size = 3 * upstream.INFLATE_STEP_BYTES_MAX + 5
    exchange = Exchange()
    sink = exchange.gets(answer(squeezed(b"z" * size, "gzip"), b"content-encoding: gzip"))
    assert sum(sink.steps) == size
    assert max(sink.steps) <= upstream.INFLATE_STEP_BYTES_MAX


# --- answers that are none ---


def broken(kind: type[UpstreamError], *data: bytes, hang_up: bool = False, error: Exception | None = None) -> str:
    exchange = Exchange()
    sink = exchange.gets(*data)
    if hang_up:
        assert not sink.over
        exchange.transport.hang_up(error)
    assert type(sink.error) is kind
    exchange.loop.run()
    assert exchange.transport.closed
    assert not exchange.kept_alive
    return str(sink.error)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP/1.1"),
        (b"x" * (HEAD_BYTES_MAX + 1), "head exceeds"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "switched protocols"),
        (answer(b"x", b"content-length: 1"), "content-length twice"),
        (answer(b"x", b"content-encoding: br"), "not asked for"),
        (answer(b"not gzip at all", b"content-encoding: gzip"), "cannot be read"),
        (answer(b"\xff\xff neither", b"content-encoding: deflate"), "cannot be read"),
        (answer(squeezed(b"hello", "gzip")[:-6], b"content-encoding: gzip"), "cut short"),
        (answer(squeezed(b"hello", "gzip") * 2 + b"more", b"content-encoding: gzip"), "cannot be read"),
        (answer((squeezed(b"hello", "gzip") * 2)[:-6], b"content-encoding: gzip"), "cut short"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "size line is malformed"),
    ],
)
def test_what_is_no_answer_is_told_and_the_connection_ended(data: bytes, said: str) -> None:
    assert said in broken(BadAnswer, data)


def test_an_answer_that_breaks_off_is_a_reset() -> None:
    short = answer(b"half", length=8)
    assert "broke off" in broken(ConnectionReset, short, hang_up=True)
    assert "broke off" in broken(ConnectionReset, b"HTTP/1.1 200", hang_up=True)
    assert "broke off" in broken(ConnectionReset, chunked(b"abc")[:-5], hang_up=True)
    until_close = b"HTTP/1.1 200 OK\r\n\r\nhalf"
    assert "broke off" in broken(ConnectionReset, until_close, hang_up=True, error=ConnectionResetError())
    assert "without an answer" in broken(ConnectionReset, hang_up=True)


def test_a_compressed_body_that_ends_with_the_connection_must_be_whole() -> None:
    data = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + squeezed(b"hello", "gzip")[:-3]
    assert "cut short" in broken(BadAnswer, data, hang_up=True)


# --- connections used again, or not ---


@pytest.mark.parametrize(
    "data",
    [
        answer(b"x", b"connection: close"),
        answer(b"x").replace(b"HTTP/1.1", b"HTTP/1.0"),
        answer(b"x") + b"surplus",
        chunked(b"x") + b"surplus",
        chunked(b"x", lines=b"content-length: 1\r\n"),
    ],
)
def test_a_connection_is_not_used_again_where_its_state_is_in_doubt(data: bytes) -> None:
    exchange = Exchange()
    sink = exchange.gets(data)
    assert (sink.ended, sink.received) == (True, b"x")
    assert not exchange.kept_alive
    assert exchange.transport.closed


def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    exchange = Exchange()
    exchange.gets(answer(b"x"))
    exchange.gets(answer(b"y"))
    assert exchange.transport.aborted
    assert exchange.pool.idle() is None


def test_a_kept_alive_connection_that_closes_at_once_is_stale_and_a_later_one_is_a_reset() -> None:
    soon = Exchange()
    soon.gets(answer(b"x"))
    sink = soon.again()
    soon.transport.hang_up()
    assert type(sink.error) is StaleConnection
    late = Exchange()
    late.gets(answer(b"x"))
    sink = late.again()
    late.loop.now += STALE_WITHIN_S
    late.transport.hang_up()
    assert type(sink.error) is ConnectionReset


def test_a_connection_that_closed_before_the_request_is_told_at_once() -> None:
    """A provider that accepts and hangs up; nothing was sent, and nobody may wait for an answer."""
    loop = Loop()
    connection = UpstreamConnection(Pool(ORIGIN, cast("Any", None), loop.real, connect_s=1), loop.real)
    transport = Transport(connection, loop)
    connection.connection_made(transport)
    transport.hang_up()
    connection.send(b"request", sink := Kept())
    assert type(sink.error) is StaleConnection
    assert transport.written == b""


def test_an_idle_connection_that_closes_is_forgotten() -> None:
    exchange = Exchange()
    exchange.gets(answer(b"x"))
    exchange.transport.hang_up()
    assert exchange.pool.idle() is None
    closing = Exchange()
    closing.gets(answer(b"x"))
    closing.transport.closing = True
    assert closing.pool.idle() is None


@pytest.mark.source
def test_the_last_one_used_is_used_first_and_there_are_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "IDLE_CONNECTIONS_MAX", 2)
    loop = Loop()
    pool = Pool(ORIGIN, cast("Any", None), loop.real, connect_s=1)
    made = []
    for _ in range(3):
        connection = UpstreamConnection(pool, loop.real)
        connection.connection_made(Transport(connection, loop))
        made.append(connection)
        pool.give_back(connection)
    assert not made[2].usable
    assert [pool.idle(), pool.idle(), pool.idle()] == [made[1], made[0], None]


# --- flow ---


def test_reading_pauses_and_resumes() -> None:
    exchange = Exchange()
    exchange.connection.pause()
    assert not exchange.transport.reading
    exchange.connection.resume()
    assert exchange.transport.reading
    exchange.connection.abort()
    exchange.connection.pause()
    exchange.connection.resume()
    exchange.loop.run()
    assert exchange.sink.error is None, "who ended it hears nothing more"


def test_a_connection_paused_at_an_answers_end_is_read_again_for_the_next() -> None:
    """A slow client's last piece must not leave a connection in the pool that nobody reads."""
    exchange = Exchange()
    exchange.sink.then = exchange.connection.pause
    sink = exchange.gets(answer(b"", length=5), b"hello")
    assert sink.ended
    assert exchange.transport.reading
    exchange.again()
    assert exchange.gets(answer(b"next")).received == b"next"


def test_who_is_done_with_a_connection_cannot_pause_it() -> None:
    exchange = Exchange()
    exchange.gets(answer(b"x"))
    exchange.connection.pause()
    assert exchange.transport.reading


def test_a_sink_that_ends_the_exchange_in_the_middle_hears_nothing_more() -> None:
    exchange = Exchange()
    exchange.sink.then = exchange.connection.abort
    sink = exchange.gets(chunked(b"a"), b"b" * 9)
    assert sink.received == b"a"
    assert not sink.over
    assert exchange.transport.aborted


# --- origins ---


@pytest.mark.parametrize(
    ("url", "tls", "host", "port", "path", "authority"),
    [
        ("https://api.test/v1/", True, "api.test", 443, "/v1", "api.test"),
        ("http://api.test", False, "api.test", 80, "", "api.test"),
        ("http://127.0.0.1:8000/a/b", False, "127.0.0.1", 8000, "/a/b", "127.0.0.1:8000"),
        ("https://[::1]:8443", True, "::1", 8443, "", "[::1]:8443"),
        ("https://API.test:443", True, "api.test", 443, "", "api.test"),
    ],
)
def test_an_address_is_split(url: str, tls: bool, host: str, port: int, path: str, authority: str) -> None:
    origin = Origin.of(url)
    assert (origin.tls, origin.host, origin.port, origin.path) == (tls, host, port, path)
    assert origin.authority == authority


@pytest.mark.parametrize("url", ["", "api.test", "ftp://a", "https://", "http:///v1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        Origin.of(url)


# --- over real sockets ---


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    made = Listening()
    yield made
    await made.close()


async def over(sink: Kept) -> Kept:
    await until(lambda: sink.over)
    return sink


async def test_a_connection_is_opened_kept_and_used_again(listening: Listening) -> None:
    peers: set[object] = set()

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readexactly(7)
            peers.add(writer.get_extra_info("peername"))
            writer.write(answer(b"hello"))
        writer.close()

    pool = listening.pool(f"http://127.0.0.1:{await listening.at(twice)}")
    for _ in range(2):
        connection = pool.idle() or await pool.connect()
        connection.send(b"request", sink := Kept())
        assert (await over(sink)).received == b"hello"
    assert len(peers) == 1


async def test_a_reset_is_told(listening: Listening) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(7)
        writer.write(answer(b"half", length=9))
        await writer.drain()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    pool = listening.pool(f"http://127.0.0.1:{await listening.at(reset)}")
    connection = await pool.connect()
    connection.send(b"request", sink := Kept())
    assert isinstance((await over(sink)).error, ConnectionReset)


async def test_who_cannot_be_reached_is_told_without_an_address(listening: Listening) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(ConnectFailed) as caught:
        await listening.pool(f"http://127.0.0.1:{port}").connect()
    assert str(caught.value) == "no connection: refused"
    with pytest.raises(ConnectFailed) as caught:
        await listening.pool("http://nowhere.invalid").connect()
    assert "nowhere" not in str(caught.value)


async def test_a_connection_that_takes_too_long_is_given_up() -> None:
    loop = asyncio.get_running_loop()

    async def never(_: object) -> Any:
        await asyncio.sleep(60)

    with pytest.raises(ConnectTimedOut, match=r"no connection within 0\.05 s"):
        await Pool(ORIGIN, never, loop, connect_s=0.05).connect()


async def test_tls_is_verified_and_a_stranger_refused(listening: Listening, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(7)
        writer.write(answer(b"secret"))

    url = f"https://localhost:{await listening.at(serve, certificate.server_context())}"
    trusting = ssl.create_default_context(cafile=str(certificate.file))
    connection = await listening.pool(url, tls=trusting).connect()
    connection.send(b"request", sink := Kept())
    assert (await over(sink)).received == b"secret"
    for where, trust in ((url, ssl.create_default_context()), (url.replace("localhost", "127.0.0.1"), trusting)):
        with pytest.raises(ConnectFailed, match="TLS failed"):
            await listening.pool(where, tls=trust).connect()
