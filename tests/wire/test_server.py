"""The side towards clients: requests in order however their bytes are cut, everything bounded in size and time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.clock import NEVER, Sweep
from gateway.wire.headers import status_line
from gateway.wire.server import CONTINUE, LINGER_S, PIPELINE_BYTES_MAX, Limits, ServerConnection, Work
from tests.wire.fake_transport import Loop, Transport, pieces
from tests.wire.listening import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.wire.http1 import RequestHead

LIMITS: Final = Limits(
    request_body_bytes_max=100, header_bytes_max=500, body_timeout_s=10, keepalive_s=75, client_stall_s=20
)


@dataclass
class Under:
    """Work under way: it notes what it is told."""

    told: list[str] = field(default_factory=list)

    def client_gone(self) -> None:
        self.told.append("gone")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


def echo(connection: ServerConnection, head: RequestHead, body: bytes) -> None:
    """Answers with what was asked."""
    said = b"%b %b %b" % (head.method.encode(), head.target, body)
    connection.reply(status_line(200) + b"content-length: %d\r\n" % len(said), said)


class Door:
    """Answers by `then`; with none, a request is under way until the test answers it."""

    def __init__(self, then: Callable[[ServerConnection, RequestHead, bytes], None] | None = echo) -> None:
        self.limits = LIMITS
        self.connections: set[ServerConnection] = set()
        self.closing = False
        self.served: list[tuple[str, bytes, bytes]] = []
        self.work = Under()
        self._then = then

    def serve(self, connection: ServerConnection, head: RequestHead, body: bytes) -> Work | None:
        self.served.append((head.method, head.target, body))
        if self._then is None:
            return self.work
        self._then(connection, head, body)
        return None

    def refusal(self, status: int, code: str, message: str) -> tuple[bytes, bytes]:
        body = f"{code}: {message}".encode()
        return status_line(status) + b"content-length: %d\r\n" % len(body), body


class Client:
    """A connection as its client sees it."""

    def __init__(self, door: Door | None = None, *, can_half_close: bool = True) -> None:
        self.door = door or Door()
        self.loop = Loop()
        self.sweep = Sweep(self.loop.real)
        self.sweep.start()
        self.connection = ServerConnection(self.door, self.sweep, self.loop.real)
        self.transport = Transport(self.connection, self.loop, can_half_close=can_half_close)
        self.connection.connection_made(self.transport)

    def says(self, *data: bytes) -> bytes:
        """Sends, and gives what was answered."""
        self.transport.feed(*data)
        return self.transport.take()

    def after(self, seconds: float) -> bytes:
        self.loop.pass_s(seconds)
        return self.transport.take()


def post(body: bytes = b"", *lines: bytes, target: bytes = b"/", version: bytes = b"1.1") -> bytes:
    head = [b"POST %b HTTP/%b" % (target, version), b"host: a", b"content-length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(*parts: bytes, target: bytes = b"/c") -> bytes:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"POST %b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % (target, framed)


GET: Final = b"GET /g HTTP/1.1\r\nhost: a\r\n\r\n"

# --- requests, however cut ---

a_request = st.one_of(
    st.just(GET),
    st.builds(post, st.binary(max_size=30), target=st.sampled_from([b"/a", b"/b?c"])),
    st.lists(st.binary(min_size=1, max_size=12), max_size=3).map(lambda parts: chunked(*parts)),
)


@given(st.lists(a_request, min_size=1, max_size=5), st.lists(st.integers(0, 2000), max_size=20), st.booleans())
def test_requests_are_served_in_order_however_they_are_cut(
    requests: list[bytes], places: list[int], spaced: bool
) -> None:
    data = (b"\r\n" if spaced else b"").join(requests)
    one_by_one = Client()
    expected = b"".join(one_by_one.says(request) for request in requests)
    at_once = Client()
    assert at_once.says(*pieces(data, places)) == expected
    assert at_once.door.served == one_by_one.door.served
    assert len(at_once.door.served) == len(requests)
    assert at_once.connection.idle


def test_a_request_may_come_a_byte_at_a_time() -> None:
    client = Client()
    data = post(b"hello") + chunked(b"ab", b"c")
    client.says(*(data[at : at + 1] for at in range(len(data))))
    assert [body for _, _, body in client.door.served] == [b"hello", b"abc"]


def test_an_equal_head_is_read_once_and_another_is_read_again() -> None:
    heads: list[RequestHead] = []

    def noting(connection: ServerConnection, head: RequestHead, body: bytes) -> None:
        heads.append(head)
        echo(connection, head, body)

    client = Client(Door(noting))
    client.says(GET, GET, post(b"x"), GET)
    first, second, third, fourth = heads
    assert first is second
    assert third.method == "POST"
    assert fourth.target == b"/g"


def test_while_one_is_answered_the_next_waits() -> None:
    client = Client(Door(None))
    assert client.says(post(b"one") + post(b"two"), post(b"three")) == b""
    assert len(client.door.served) == 1
    assert not client.connection.idle
    client.connection.reply(status_line(200) + b"content-length: 0\r\n", b"")
    client.loop.run()
    assert [body for _, _, body in client.door.served] == [b"one", b"two"]


def test_a_client_that_sends_ahead_without_end_is_read_no_further() -> None:
    client = Client(Door(None))
    client.says(GET)
    client.says(b"x" * PIPELINE_BYTES_MAX)
    assert client.transport.reading
    client.says(b"x")
    assert not client.transport.reading
    client.connection.reply(status_line(200) + b"content-length: 0\r\n", b"")
    client.loop.run()
    assert client.transport.reading
    assert client.transport.take().count(b"HTTP/1.1 ") == 2, "what it had sent ahead is no request and refused"


# --- refusals ---


def refused(data: bytes, status: int, said: bytes) -> None:
    client = Client()
    answer = client.says(data)
    assert answer.startswith(status_line(status)), answer
    assert said in answer
    assert b"connection: close\r\n" in answer
    assert client.door.served == []
    assert client.transport.half_closed
    # What follows has no meaning any more.
    assert client.says(GET) == b""
    assert client.connection.idle
    assert not client.transport.closing
    client.after(LINGER_S)
    assert client.transport.closed


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 500 + b"\r\n\r\n", 431, b"header_too_large"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 500, 431, b"header_too_large"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"exactly one host"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nexpect: more\r\n\r\n", 417, b"100-continue"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, b"malformed_request"),
        (b"PRI", 400, b"not HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00", 400, b"not HTTP/1.1"),
        (b"GET / HTTP/1.1\nhost: a\n\n", 400, b"end in CRLF"),
        (b"\nGET", 400, b"end in CRLF"),
        (post(b"x" * 101), 413, b"request_body_bytes_max"),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\nexpect: 100-continue\r\n\r\n",
            413,
            b"exceeds 100",
        ),
        (chunked(b"x" * 60, b"y" * 41), 413, b"exceeds 100"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\n", 400, b"malformed_request"),
    ],
)
def test_what_is_no_request_is_answered_and_cut_off(data: bytes, status: int, said: bytes) -> None:
    refused(data, status, said)


def test_where_a_connection_cannot_be_half_closed_it_is_closed() -> None:
    client = Client(can_half_close=False)
    client.says(b"\n")
    assert client.transport.closed


# --- time ---


def test_a_head_that_does_not_arrive_is_408() -> None:
    client = Client()
    client.says(b"GET / HT")
    assert client.after(LIMITS.body_timeout_s - 1) == b""
    client.says(b"T")
    assert client.after(1).startswith(status_line(408))


def test_a_body_that_trickles_is_408_although_each_byte_is_quick() -> None:
    client = Client()
    client.says(post(b"x" * 50)[:-50])
    for _ in range(9):
        client.says(b"x")
        assert client.after(1) == b""
    assert client.after(1).startswith(status_line(408))
    assert client.says(b"x" * 41) == b""


def test_a_connection_that_never_says_anything_is_closed_and_an_idle_one_may_wait_longer() -> None:
    silent = Client()
    silent.after(LIMITS.body_timeout_s)
    assert silent.transport.closed
    idle = Client()
    idle.says(GET)
    idle.after(LIMITS.keepalive_s - 1)
    assert not idle.transport.closing
    idle.after(1)
    assert idle.transport.closed
    assert idle.connection not in idle.door.connections


def test_an_answer_may_take_its_time() -> None:
    client = Client(Door(None))
    client.says(GET)
    client.after(1_000)
    assert not client.transport.closing
    client.connection.expired(client.loop.now)
    assert client.connection.expires_at == NEVER


# --- clients that read slowly, and those that go ---


def streaming() -> Client:
    client = Client(Door(None))
    client.says(GET)
    client.connection.begin_stream(status_line(200))
    return client


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    client = streaming()
    client.transport.unsent_bytes = 1000
    client.connection.pause_writing()
    assert not client.connection.writable
    client.after(LIMITS.client_stall_s)
    assert client.transport.aborted
    assert client.door.work.told == ["pause", "gone"]


def test_a_client_that_takes_a_little_may_go_on() -> None:
    client = streaming()
    client.transport.unsent_bytes = 1000
    client.connection.pause_writing()
    for _ in range(5):
        client.transport.unsent_bytes -= 1
        client.after(LIMITS.client_stall_s)
        assert not client.transport.closing
    client.connection.resume_writing()
    assert client.connection.writable
    client.after(LIMITS.client_stall_s * 10)
    assert not client.transport.closing
    assert client.door.work.told == ["pause", "resume"]


def test_a_client_that_does_not_take_the_end_of_its_answer_is_cut_off_too() -> None:
    client = Client(Door(None))
    client.says(GET)
    client.transport.unsent_bytes = 1000
    client.connection.pause_writing()
    client.connection.reply(status_line(200) + b"content-length: 5\r\n", b"large")
    client.after(LIMITS.client_stall_s)
    assert client.transport.aborted


def test_a_client_that_goes_is_told_to_the_work_once_and_nothing_more_is_written() -> None:
    client = streaming()
    client.transport.take()
    client.transport.hang_up()
    assert client.door.work.told == ["gone"]
    assert client.connection not in client.door.connections
    client.connection.stream(b"x")
    client.connection.end_stream(b"y")
    client.connection.reply(b"", b"")
    client.connection.begin_stream(b"")
    client.connection.refuse(400, "a", "b")
    assert client.transport.take() == b""


def test_a_client_that_goes_in_the_middle_of_its_body_is_nobodys_work() -> None:
    client = Client()
    client.says(post(b"hello")[:-2])
    client.transport.hang_up(ConnectionResetError())
    assert client.door.served == []


# --- answers ---


def test_the_connections_own_line_and_the_end_of_the_head_are_added() -> None:
    client = Client()
    assert client.says(GET) == b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nGET /g "
    closing = b"GET /g HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    assert client.says(closing) == b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nGET /g "
    assert client.transport.half_closed


def test_an_answer_to_head_has_no_body() -> None:
    client = Client()
    assert client.says(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n") == b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"


@pytest.mark.parametrize(
    ("version", "line", "framing", "body", "kept"),
    [
        (b"1.1", b"x: y", b"transfer-encoding: chunked\r\n", b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", True),
        (
            b"1.1",
            b"connection: close",
            b"transfer-encoding: chunked\r\nconnection: close\r\n",
            b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            False,
        ),
        (b"1.0", b"connection: keep-alive", b"connection: close\r\n", b"abc", False),
    ],
)
def test_a_stream_is_framed_as_its_client_understands(
    version: bytes, line: bytes, framing: bytes, body: bytes, kept: bool
) -> None:
    client = Client(Door(None))
    client.says(post(b"", line, version=version))
    client.connection.begin_stream(status_line(200) + b"a: b\r\n")
    client.connection.stream(b"ab")
    client.connection.stream(b"")
    client.connection.end_stream(b"c")
    assert client.transport.take() == b"HTTP/1.1 200 OK\r\na: b\r\n" + framing + b"\r\n" + body
    assert client.transport.half_closed is not kept


@pytest.mark.parametrize(("version", "body"), [(b"1.1", b"0\r\n\r\n"), (b"1.0", b"")])
def test_a_stream_may_end_without_a_piece(version: bytes, body: bytes) -> None:
    client = Client(Door(None))
    client.says(post(b"", version=version))
    client.connection.begin_stream(status_line(200))
    client.connection.end_stream()
    assert client.transport.take().endswith(b"\r\n\r\n" + body)


def test_a_door_that_closes_ends_connections_with_their_answers() -> None:
    client = Client()
    client.door.closing = True
    assert b"connection: close" in client.says(GET)
    stream = streaming()
    stream.door.closing = True
    stream.connection.end_stream(b"x")
    assert stream.transport.half_closed


# --- expect ---


def test_100_continue_is_said_once_where_the_body_is_awaited() -> None:
    client = Client()
    head = post(b"hello", b"expect: 100-continue")[:-5]
    assert client.says(head) == CONTINUE
    assert client.says(b"hello").startswith(status_line(200))


def test_100_continue_is_not_said_to_who_sends_its_body_anyway() -> None:
    client = Client()
    assert client.says(post(b"hello", b"expect: 100-continue")).startswith(status_line(200))
    assert client.says(post(b"hello", b"expect: 100-continue")[:-2]) == b""


def test_the_peer_is_known_while_there_is_one() -> None:
    client = Client()
    assert client.connection.peer == "192.0.2.7"
    assert ServerConnection(client.door, client.sweep, client.loop.real).peer == ""


# --- over real sockets ---


async def test_a_refusal_is_read_whole_by_a_client_that_is_still_sending() -> None:
    """Closing on unread input would reset the answer away."""
    loop = asyncio.get_running_loop()
    sweep = Sweep(loop)
    sweep.start()
    door = Door()
    server = await loop.create_server(
        lambda: cast("asyncio.Protocol", ServerConnection(door, sweep, loop)), "127.0.0.1", 0
    )
    try:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n")
        writer.write(b"x" * 3_000_000)
        await asyncio.wait_for(writer.drain(), 10)
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(status_line(413))
        assert answer.endswith(b"(server.request_body_bytes_max)")
        writer.close()
        await writer.wait_closed()
        await until(lambda: not door.connections)
    finally:
        server.close()
        sweep.stop()
