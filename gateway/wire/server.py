"""The gateway's side towards clients: one protocol object per connection, one request at a time, in order.

Bounded in head, body, time and unsent bytes. Who is refused for the shape of the request is answered and then cut off:
after a framing error the next byte has no meaning.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol, cast

from gateway.wire.clock import NEVER, Sweep
from gateway.wire.http1 import CRLF2, ChunkedDecoder, ProtocolError, RequestHead, parse_request_head

PIPELINE_BYTES_MAX: Final = 262144
LINGER_S: Final = 5.0
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_IDLE, _HEAD, _BODY, _ANSWERING, _LINGERING, _CLOSED = range(6)


class Work(Protocol):
    """What is under way for a connection: told when its client has gone or takes its bytes too slowly."""

    def client_gone(self) -> None:
        """The connection is closed; nothing can be sent."""
        ...

    def pause_writing(self) -> None:
        """The client takes its bytes more slowly than they come."""
        ...

    def resume_writing(self) -> None:
        """It has caught up."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The named limits of CONTRACT §3 `server` that bind a connection."""

    request_body_bytes_max: int
    header_bytes_max: int
    body_timeout_s: float
    keepalive_s: float
    client_stall_s: float


class Door(Protocol):
    """Who answers: the application behind the wire."""

    limits: Limits
    connections: "set[ServerConnection]"
    closing: bool
    """Whether answers end their connection: the process is about to go."""

    def serve(self, connection: "ServerConnection", head: RequestHead, body: bytes) -> Work | None:
        """Begins to answer a whole request; gives what is under way, if it did not end at once."""
        ...

    def refusal(self, status: int, code: str, message: str) -> tuple[bytes, bytes]:
        """Head (without the connection's own lines) and body for a request that never became one."""
        ...


class ServerConnection:
    """One client's connection. An asyncio protocol by its methods; a base class would keep it from being compiled."""

    __slots__ = (
        "_body", "_body_bytes", "_buffer", "_decoder", "_door", "_head", "_last_head", "_last_head_bytes", "_loop",
        "_opening", "_remaining", "_state", "_sweep", "_transport", "_unsent", "_work", "_writable", "expires_at",
    )  # fmt: skip

    def __init__(self, door: Door, sweep: Sweep, loop: asyncio.AbstractEventLoop) -> None:
        self._door = door
        self._sweep = sweep
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._state = _IDLE
        self._buffer = b""
        self._head: RequestHead | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._remaining = 0
        self._decoder: ChunkedDecoder | None = None
        self._work: Work | None = None
        self._writable = True
        self._unsent = 0
        self._opening = b""
        self._last_head_bytes = b""
        self._last_head: RequestHead | None = None
        self.expires_at = NEVER

    # --- from the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._door.connections.add(self)
        self._sweep.add(self)
        self.expires_at = self._loop.time() + self._door.limits.body_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's signature
        self._state = _CLOSED
        self._door.connections.discard(self)
        self._sweep.discard(self)
        self._body = []
        work, self._work = self._work, None
        if work is not None:
            work.client_gone()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _BODY:
            self._take_body(data)
        elif state == _IDLE or state == _HEAD:  # noqa: PLR1714, SIM109  # two comparisons of small ints beat a tuple here
            self._take_head(self._buffer + data if self._buffer else data)
        elif state == _ANSWERING:
            # The next request, sent before this one is answered: kept, up to a limit.
            self._buffer += data
            if len(self._buffer) > PIPELINE_BYTES_MAX and self._transport is not None:
                self._transport.pause_reading()

    def eof_received(self) -> None:
        """The client sends no more; the transport closes once what is written has left."""

    def pause_writing(self) -> None:
        assert self._transport is not None
        self._writable = False
        self._unsent = self._transport.get_write_buffer_size()
        self.expires_at = self._loop.time() + self._door.limits.client_stall_s
        if self._work is not None:
            self._work.pause_writing()

    def resume_writing(self) -> None:
        self._writable = True
        if self._state == _ANSWERING:
            self.expires_at = NEVER
        if self._work is not None:
            self._work.resume_writing()

    def expired(self, now: float) -> None:
        """A limit in time has passed: which one, the state tells."""
        if self._state == _BODY:
            self.refuse(408, "request_timeout", "the request's body did not arrive in time")
        elif self._state == _HEAD:
            self.refuse(408, "request_timeout", "the request's head did not arrive in time")
        elif not self._writable:
            self._stalled(now)
        elif self._state in (_IDLE, _LINGERING):
            self.close()
        else:
            self.expires_at = NEVER

    def _stalled(self, now: float) -> None:
        """Cuts off a client that has taken nothing for `client_stall_s`; one that takes a little may go on."""
        assert self._transport is not None
        unsent = self._transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.abort()
            return
        self._unsent = unsent
        self.expires_at = now + self._door.limits.client_stall_s

    # --- reading ---

    def _take_head(self, data: bytes) -> None:
        limits = self._door.limits
        if data.startswith(b"\r\n"):
            data = data.lstrip(b"\r\n")  # RFC 9112 §2.2: an empty line before the request line is nothing
        cut = data.find(CRLF2)
        if cut < 0:
            self._head_is_partial(data)
            return
        raw = data[: cut + 4]
        if raw == self._last_head_bytes and self._last_head is not None:
            head = self._last_head  # equal bytes, equal meaning: parsed once
        else:
            if len(raw) > limits.header_bytes_max:
                self.refuse(431, "header_too_large", f"the request's head exceeds {limits.header_bytes_max} bytes")
                return
            try:
                head = parse_request_head(raw)
            except ProtocolError as error:
                self.refuse(error.status, "malformed_request", f"{error}")
                return
            self._last_head_bytes, self._last_head = raw, head
        rest = data[cut + 4 :]
        length = head.content_length
        if (
            len(rest) == length <= limits.request_body_bytes_max and not head.chunked
        ):  # the common case: all in one piece
            self._buffer = b""
            self._answer(head, rest)
            return
        self._head = head
        if length > limits.request_body_bytes_max:
            self._too_large()
            return
        if not head.chunked and len(rest) > length:
            self._buffer = rest[length:]
            self._answer(head, rest[:length])
            return
        self._buffer = b""
        self._body, self._body_bytes, self._remaining = [], 0, length
        self._decoder = ChunkedDecoder(extensions=False) if head.chunked else None
        self._state = _BODY
        self.expires_at = self._loop.time() + limits.body_timeout_s
        if head.expects_continue and not rest and self._transport is not None:
            self._transport.write(CONTINUE)
        if rest:
            self._take_body(rest)

    def _head_is_partial(self, data: bytes) -> None:
        limits = self._door.limits
        if self._state == _IDLE and data:
            self._state = _HEAD
            self.expires_at = self._loop.time() + limits.body_timeout_s
        if len(data) > limits.header_bytes_max:
            self.refuse(431, "header_too_large", f"the request's head exceeds {limits.header_bytes_max} bytes")
        elif data[:3] == b"PRI" or b"\x00" in data or _bare_newline(data):
            self.refuse(400, "malformed_request", "this is not HTTP/1.1: lines must end in CRLF")
        else:
            self._buffer = data

    def _take_body(self, data: bytes) -> None:
        head = self._head
        assert head is not None
        rest = b""
        if self._decoder is not None:
            try:
                pieces, rest = self._decoder.feed(data)
            except ProtocolError as error:
                self.refuse(error.status, "malformed_request", f"{error}")
                return
            self._body += pieces
            self._body_bytes += sum(map(len, pieces))
            whole = self._decoder.done
        else:
            if len(data) > self._remaining:
                data, rest = data[: self._remaining], data[self._remaining :]
            self._body.append(data)
            self._body_bytes += len(data)
            self._remaining -= len(data)
            whole = not self._remaining
        if self._body_bytes > self._door.limits.request_body_bytes_max:
            self._too_large()
        elif whole:
            body = b"".join(self._body)
            self._body, self._decoder = [], None
            self._buffer = rest
            self._answer(head, body)

    def _too_large(self) -> None:
        limit = self._door.limits.request_body_bytes_max
        message = f"the request's body exceeds {limit} bytes (server.request_body_bytes_max)"
        self.refuse(413, "request_too_large", message)

    def _answer(self, head: RequestHead, body: bytes) -> None:
        self._head = head
        self._state = _ANSWERING
        self.expires_at = NEVER
        work = self._door.serve(self, head, body)
        if self._state == _ANSWERING:
            self._work = work

    # --- writing ---

    def reply(self, head: bytes, body: bytes) -> None:
        """A whole answer. `head` ends with its last header line; the date, the connection's own line and the empty one
        are added here.
        """
        transport = self._transport
        if transport is None or self._state != _ANSWERING:
            return
        if self._head is not None and self._head.method == "HEAD":
            body = b""
        keep = self._head is not None and self._head.keep_alive and not self._door.closing
        if keep:
            transport.write(b"%b%b\r\n%b" % (head, self._sweep.date_line, body))
        else:
            transport.write(b"%b%bconnection: close\r\n\r\n%b" % (head, self._sweep.date_line, body))
        self._finish(keep=keep)

    def begin_stream(self, head: bytes) -> None:
        """The head of an answer whose length is not known; `head` without framing lines. It leaves with the first
        piece.
        """
        if self._head is None or self._state != _ANSWERING:
            return
        if self._head.http10:
            framing = b"connection: close\r\n\r\n"
        elif self._head.keep_alive and not self._door.closing:
            framing = b"transfer-encoding: chunked\r\n\r\n"
        else:
            framing = b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        self._opening = head + self._sweep.date_line + framing

    def stream(self, data: bytes) -> None:
        """A piece of a streamed answer. Empty pieces are dropped: an empty chunk would end the body."""
        if self._transport is None or self._head is None or self._state != _ANSWERING or not data:
            return
        opening = self._opening
        if opening:
            self._opening = b""
        if self._head.http10:
            self._transport.write(opening + data)
        else:
            self._transport.write(b"%b%x\r\n%b\r\n" % (opening, len(data), data))

    def end_stream(self, data: bytes = b"") -> None:
        """The last piece, and the end."""
        if self._transport is None or self._head is None or self._state != _ANSWERING:
            return
        opening = self._opening
        if opening:
            self._opening = b""
        if self._head.http10:
            self._transport.write(opening + data)
            self._finish(keep=False)
            return
        if data:
            self._transport.write(b"%b%x\r\n%b\r\n0\r\n\r\n" % (opening, len(data), data))
        else:
            self._transport.write(opening + b"0\r\n\r\n")
        self._finish(keep=self._head.keep_alive and not self._door.closing)

    def _finish(self, *, keep: bool) -> None:
        """The answer is written: what comes next?"""
        self._work = None
        self._head = None
        if not keep:
            self._linger()
            return
        self._state = _IDLE
        limits = self._door.limits
        self.expires_at = self._loop.time() + (limits.keepalive_s if self._writable else limits.client_stall_s)
        if self._buffer:
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """Takes up the request that came while the last one was answered."""
        if self._state != _IDLE or not self._buffer:
            return
        data, self._buffer = self._buffer, b""
        if self._transport is not None:
            self._transport.resume_reading()
        self._take_head(data)

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answers what never became a request, and ends the connection."""
        if self._transport is None or self._state in (_CLOSED, _LINGERING):
            return
        head, body = self._door.refusal(status, code, message)
        self._transport.write(b"%b%bconnection: close\r\n\r\n%b" % (head, self._sweep.date_line, body))
        self._linger()

    def _linger(self) -> None:
        """Closes once the client has had time to read: closing on unread input would reset the answer away."""
        self._state = _LINGERING
        self._buffer, self._body, self._decoder = b"", [], None
        self.expires_at = self._loop.time() + LINGER_S
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self.close()

    def close(self) -> None:
        """Closes after what is written has left."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._state in (_IDLE, _LINGERING)

    @property
    def writable(self) -> bool:
        """Whether the client keeps up."""
        return self._writable

    @property
    def peer(self) -> str:
        """The client's address, or an empty string."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""


def _bare_newline(data: bytes) -> bool:
    """Whether a line ends in LF alone: nothing that follows could make it a head."""
    at = data.find(b"\n")
    return at >= 0 and not data.endswith(b"\r", 0, at)
