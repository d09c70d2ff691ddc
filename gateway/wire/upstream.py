"""Kept-alive connections to providers, one pool per origin. An exchange's bytes go to a sink as they come."""

import asyncio
import ssl
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from gateway.wire.http1 import CRLF2, ChunkedDecoder, ProtocolError, ResponseHead, parse_response_head

HEAD_BYTES_MAX: Final = 65536
IDLE_CONNECTIONS_MAX: Final = 1024
INFLATE_STEP_BYTES_MAX: Final = 1024 * 1024
# A kept-alive connection that closes this soon after the request, before one answer byte, closed for its idle limit.
STALE_WITHIN_S: Final = 1.0


class UpstreamError(Exception):
    """The exchange with a provider failed; the message holds no address and no secret."""


class ConnectFailed(UpstreamError):
    """Nothing was sent: name, TCP, proxy or TLS."""


class ConnectTimedOut(ConnectFailed):
    """Nothing was sent: `connect_s` passed."""


class StaleConnection(UpstreamError):
    """A reused connection closed before the first answer byte, at once: its idle limit."""


class ConnectionReset(UpstreamError):
    """The connection closed after the request was sent and before the answer was whole."""


class BadAnswer(UpstreamError):
    """What came is not an HTTP answer that can be passed on."""


class Sink(Protocol):
    """Where an exchange's answer goes. `broken` is the last call where there is no `end`."""

    def head_received(self, head: ResponseHead) -> None:
        """The final answer's head (1xx are dropped)."""
        ...

    def body(self, data: bytes) -> None:
        """Decoded body bytes: without chunk framing, inflated."""
        ...

    def end(self) -> None:
        """The answer is whole."""
        ...

    def whole_answer(self, head: ResponseHead, body: bytes) -> None:
        """All three at once, for an answer that came in one piece."""
        ...

    def broken(self, error: UpstreamError) -> None:
        """There will be no more."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a provider listens, and how requests to it begin."""

    tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, base_url: str) -> "Origin":
        """Splits `http[s]://host[:port][/path]`. Raises ValueError."""
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is not an http(s) URL")
        tls = parts.scheme == "https"
        return cls(tls, parts.hostname, parts.port or (443 if tls else 80), parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """What the host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Inflater:
    """Undoes gzip or deflate piece by piece, in steps of bounded size. Of gzip each member (RFC 1952 §2.2), and zeros
    behind the last, with which some fill a block up.
    """

    def __init__(self, coding: str) -> None:
        self._members = coding == "gzip"
        self._raw_deflate_possible = coding == "deflate"
        self._start = b""
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def feed(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        """Raises `BadAnswer` on what is not compressed data."""
        if self._raw_deflate_possible:  # two bytes tell which of the two it is
            self._start += data
            if len(self._start) < 2:
                return
            data = self._start
        while data:
            if self._zlib.eof:
                data = data.lstrip(b"\0") if self._members else b""
                if not data:
                    return
                self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                piece = self._zlib.decompress(data, INFLATE_STEP_BYTES_MAX)
            except zlib.error as error:
                if not self._raw_deflate_possible:
                    raise BadAnswer("the provider's compressed answer cannot be read") from error
                # RFC 9110 §8.4.1.2: some send deflate without the zlib wrapper.
                self._zlib, self._raw_deflate_possible = zlib.decompressobj(-zlib.MAX_WBITS), False
                continue
            self._raw_deflate_possible = False
            if piece:
                deliver(piece)
            data = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail

    @property
    def whole(self) -> bool:
        """Whether the compressed data came to its end."""
        return self._zlib.eof


_ENCODING: Final = b"content-encoding"
_CODINGS: Final = {b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate"}


class UpstreamConnection:
    """One connection; one exchange at a time. An asyncio protocol by its methods, without its base class."""

    __slots__ = (
        "_answered", "_buffer", "_decoder", "_head", "_inflater", "_loop", "_paused", "_pool", "_remaining", "_sent_at",
        "_sink", "_transport", "reused",
    )  # fmt: skip

    def __init__(self, pool: "Pool", loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        self._buffer = b""
        self._head: ResponseHead | None = None
        self._remaining: int | None = 0
        self._decoder: ChunkedDecoder | None = None
        self._inflater: Inflater | None = None
        self._answered = False
        self._paused = False
        self._sent_at = 0.0
        self.reused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, sink: Sink) -> None:
        """Sends a whole request; its answer goes to `sink`."""
        assert self._transport is not None
        assert self._sink is None
        self._sink = sink
        self._answered = False
        if not self.reused and self._transport.is_closing():  # between its opening and now; `Pool.idle` asks the others
            self._break(StaleConnection("the connection closed before the request was sent"))
            return
        self._sent_at = self._loop.time()
        self._transport.write(request)

    def abort(self) -> None:
        """Ends the exchange and the connection at once; the sink hears nothing more."""
        self._sink = None
        if self._transport is not None:
            self._transport.abort()

    def spare(self) -> None:
        """Nobody sends on it after all: it waits for the next request."""
        if self.usable:
            self.reused = True
            self._pool.give_back(self)

    def pause(self) -> None:
        """Stops reading: whoever takes the answer is slower than the provider."""
        if self._sink is not None and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        if self._sink is None:  # bytes nobody asked for
            self.abort()
            return
        self._answered = True
        try:
            if self._head is None and not self._buffer:
                # The common case, all of it in one piece, without a step for each part.
                cut = data.find(CRLF2) + 4
                if cut > 3:
                    head = parse_response_head(data[:cut])
                    if head.content_length == len(data) - cut and head.status >= 200 and _ENCODING not in head.headers:
                        self._whole(self._sink, head, data[cut:])
                        return
            self._take(data)
        except (ProtocolError, BadAnswer) as error:
            self._break(error if isinstance(error, BadAnswer) else BadAnswer(str(error)))

    def eof_received(self) -> None:
        """The provider sends no more; the transport closes."""

    def pause_writing(self) -> None:
        """A request waits in the transport until the provider takes it."""

    def resume_writing(self) -> None:
        """The provider takes it."""

    def _whole(self, sink: Sink, head: ResponseHead, body: bytes) -> None:
        self._sink = None
        transport = self._transport
        if head.keep_alive and transport is not None and not transport.is_closing():
            self.reused = True
            self._pool.give_back(self)
        elif transport is not None:
            transport.close()
        sink.whole_answer(head, body)

    def _take(self, data: bytes) -> None:
        while self._head is None:
            if self._buffer:
                data = self._buffer + data
                self._buffer = b""
            cut = data.find(CRLF2)
            if cut < 0:
                if len(data) > HEAD_BYTES_MAX:
                    raise BadAnswer(f"the provider's answer head exceeds {HEAD_BYTES_MAX} bytes")
                self._buffer = data
                return
            head = parse_response_head(data[: cut + 4])
            data = data[cut + 4 :]
            if head.status < 200:
                if head.status == 101:
                    raise BadAnswer("the provider switched protocols unasked")
                self._buffer, data = data, b""
                if not self._buffer:
                    return
                continue
            self._begin(head)
        self._body(data)

    def _begin(self, head: ResponseHead) -> None:
        self._head = head
        self._remaining = head.content_length
        if head.chunked:
            self._decoder = ChunkedDecoder(extensions=True)
        coding = head.headers.get(b"content-encoding")
        if coding is not None and coding.lower() != b"identity":
            known = _CODINGS.get(coding.lower())
            if known is None:
                raise BadAnswer("the provider sent a content-encoding that was not asked for")
            self._inflater = Inflater(known)
        if self._sink is not None:
            self._sink.head_received(head)

    def _body(self, data: bytes) -> None:
        if self._decoder is not None:
            pieces, rest = self._decoder.feed(data)
            if pieces:
                self._deliver(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            if self._decoder.done:
                self._end(surplus=bool(rest))
        elif self._remaining is None:
            if data:
                self._deliver(data)
        elif len(data) < self._remaining:
            self._remaining -= len(data)
            if data:
                self._deliver(data)
        else:
            surplus = len(data) > self._remaining
            if surplus:
                data = data[: self._remaining]
            self._remaining = 0
            if data:
                self._deliver(data)
            self._end(surplus=surplus)

    def _deliver(self, data: bytes) -> None:
        sink = self._sink
        if sink is None:
            return
        if self._inflater is None:
            sink.body(data)
        else:
            self._inflater.feed(data, sink.body)

    def _end(self, *, surplus: bool) -> None:
        sink, head = self._sink, self._head
        if sink is None or head is None:
            return
        if self._inflater is not None and not self._inflater.whole:
            raise BadAnswer("the provider's compressed answer is cut short")
        self._forget()
        if self._paused:
            self.resume()  # the last bytes filled the client's buffer; the next exchange must not find this one's pause
        if head.keep_alive and not surplus and self.usable:
            self.reused = True
            self._pool.give_back(self)
        elif self._transport is not None:
            self._transport.close()
        sink.end()

    def _forget(self) -> None:
        self._sink = None
        self._head = None
        self._decoder = None
        self._inflater = None
        self._buffer = b""

    def _break(self, error: UpstreamError) -> None:
        sink = self._sink
        self._forget()
        if self._transport is not None:
            self._transport.abort()
        if sink is not None:
            sink.broken(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        sink = self._sink
        if sink is None:
            return
        if exc is None and self._head is not None and self._decoder is None and self._remaining is None:
            try:
                self._end(surplus=False)  # a body that ends with the connection
            except BadAnswer as error:
                self._break(error)
            return
        if self.reused and not self._answered and self._loop.time() - self._sent_at < STALE_WITHIN_S:
            self._break(StaleConnection("a kept-alive connection had closed"))
        elif self._answered:
            self._break(ConnectionReset("the provider's answer broke off"))
        else:
            self._break(ConnectionReset("the provider closed the connection without an answer"))


Connect = Callable[
    [Callable[[], asyncio.Protocol]], Coroutine[Any, Any, tuple[asyncio.BaseTransport, asyncio.Protocol]]
]


class Pool:
    """The connections to one origin. The last one used is used first, so that spare ones age and close."""

    def __init__(self, origin: Origin, connect: Connect, loop: asyncio.AbstractEventLoop, *, connect_s: float) -> None:
        self.origin = origin
        self._connect = connect
        self._loop = loop
        self._connect_s = connect_s
        self._idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection] = set()

    def idle(self) -> UpstreamConnection | None:
        """A kept-alive connection, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    def connect(self) -> asyncio.Task[UpstreamConnection]:
        """A fresh connection; a task, so that it may be awaited by an errand and outlive it. Raises `ConnectFailed`."""
        return self._loop.create_task(self._open())

    async def _open(self) -> UpstreamConnection:
        connection = UpstreamConnection(self, self._loop)
        try:
            opening = self._connect(lambda: cast("asyncio.Protocol", connection))
            await asyncio.wait_for(opening, self._connect_s)
        except TimeoutError as error:
            raise ConnectTimedOut(f"no connection within {self._connect_s:g} s") from error
        except ssl.SSLError as error:
            raise ConnectFailed(f"TLS failed: {error.reason or 'handshake'}") from error
        except OSError as error:
            raise ConnectFailed(f"no connection: {_os_reason(error)}") from error
        self._all.add(connection)
        return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keeps a connection for the next request."""
        if len(self._idle) < IDLE_CONNECTIONS_MAX:
            self._idle.append(connection)
        else:
            connection.abort()

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection has closed."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Closes all connections."""
        for connection in list(self._all):
            connection.abort()


def _os_reason(error: OSError) -> str:
    """The reason without the address, which a client must not see."""
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if error.errno is None or error.strerror is None or "Connect call failed" in error.strerror:
        return type(error).__name__
    return error.strerror


def plain_connect(origin: Origin, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext | None) -> Connect:
    """Connects straight to the origin."""

    def connect(
        factory: Callable[[], asyncio.Protocol],
    ) -> Coroutine[Any, Any, tuple[asyncio.BaseTransport, asyncio.Protocol]]:
        return loop.create_connection(factory, origin.host, origin.port, ssl=tls if origin.tls else None)

    return connect
