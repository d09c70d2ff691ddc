"""One attempt's answer on its way: collected until it can be judged, then relayed as it comes.

Until the first content of a stream, or the end of any other answer, nothing has gone to the client, so another road may
still be taken. From then on bytes pass from the provider's callback to the client's transport without a task or queue.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from gateway.wire.clock import Sweep
from gateway.wire.errand import Waiter
from gateway.wire.http1 import ResponseHead
from gateway.wire.server import ServerConnection
from gateway.wire.sse import ChatStream, StreamBroken
from gateway.wire.upstream import BadAnswer, UpstreamConnection, UpstreamError

HELD_BYTES_MAX: Final = 1024 * 1024
COPY_BYTES_MAX: Final = 4 * 1024 * 1024


class AnswerTimedOut(UpstreamError):
    """The provider took longer than its row, or the caller, allows."""


class Clocks(Protocol):
    """What an answer needs of the services."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def monotonic(self) -> Callable[[], float]: ...
    @property
    def sweep(self) -> Sweep: ...
    @property
    def response_body_bytes_max(self) -> int: ...


class Patience(Protocol):
    """A provider's limits for streams."""

    @property
    def first_byte_s(self) -> float: ...
    @property
    def idle_s(self) -> float: ...


class Answer(Waiter[None]):
    """The sink of one exchange; awaited, it ends when it can be judged: whole, or at a stream's first content."""

    # Defaults stand on the class, without slots: an exchange sets few of them, and each one set costs.
    first_content_at = 0.0
    last_at = 0.0
    relaying = False
    stopped: bytes | None = None
    """Of a stream that was stopped at its limit: what came last."""
    head: ResponseHead | None = None
    _connection: UpstreamConnection | None = None
    _client: ServerConnection | None = None
    _body = b""
    _pieces: list[bytes] | None = None
    _bytes = 0
    _paused = False
    _copy: list[bytes] | None = None
    _ended: Waiter[None] | None = None
    _failure: UpstreamError | None = None
    _over = False

    def __init__(self, s: "Clocks", stream: ChatStream | None, deadline: float, timeouts: "Patience") -> None:
        self._s = s
        self._stream = stream
        self.deadline = self.expires_at = deadline
        self._timeouts = timeouts

    @property
    def ended(self) -> Waiter[None]:
        """Set at a stream's end; fails with what went wrong after the first content."""
        if self._ended is None:
            self._ended = Waiter()
            if self._failure is not None:
                self._ended.fail(self._failure)
            elif self._over:
                self._ended.set(None)
        return self._ended

    def begin(self, connection: UpstreamConnection, request: bytes) -> None:
        """Sends the request and starts its clocks."""
        self._connection = connection
        if self._stream is not None:
            self.expires_at = min(self.deadline, self._s.loop.time() + self._timeouts.first_byte_s)
        self._s.sweep.add(self)
        connection.send(request, self)

    # --- from the provider's connection ---

    def head_received(self, head: ResponseHead) -> None:
        self.head = head
        if self._stream is not None:
            content_type = head.headers.get(b"content-type", b"")
            if head.status != 200 or not content_type.startswith(b"text/event-stream"):
                self._stream = None
                self.expires_at = self.deadline

    def whole_answer(self, head: ResponseHead, body: bytes) -> None:
        if self._stream is not None:
            self.head_received(head)
            self.body(body)
            self.end()
            return
        self._connection = None
        self._s.sweep.discard(self)
        self.head = head
        self._body = body
        self.set(None)

    def body(self, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            self._collect(data)
            return
        now = self.last_at = self._s.loop.time()
        self.expires_at = min(self.deadline, now + self._timeouts.idle_s)
        try:
            out = stream.feed(data)
        except StreamBroken as error:
            self._fail(BadAnswer(str(error)))
            return
        if not self.relaying:
            self._hold(stream, out)
        elif out and self._client is not None:
            self._client.stream(out)
            if self._copy is not None:
                self._copied(out)
        if stream.events > stream.events_max and stream.runs_over:
            self._stop(out)

    def _stop(self, last: bytes) -> None:
        """The provider goes on beyond the limit that it was sent: what came by now is the answer."""
        self.abort()
        if not self._over:
            self._over = True
            self.stopped = last
            self._client = None  # what is still being inflated comes too late
            if self._ended is not None:
                self._ended.set(None)

    def _collect(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > self._s.response_body_bytes_max:
            self._fail(BadAnswer(f"the provider's answer exceeds {self._s.response_body_bytes_max} bytes"))
        elif self._pieces is None:
            self._pieces = [data]
        else:
            self._pieces.append(data)

    def _hold(self, stream: ChatStream, out: bytes) -> None:
        """Keeps what comes before the first content, when the answer can be judged."""
        if out:
            self._bytes += len(out)
            if self._pieces is None:
                self._pieces = [out]
            else:
                self._pieces.append(out)
        if stream.content_seen:
            if not self.ready:
                self.first_content_at = self._s.monotonic()
                self.set(None)
        elif self._bytes > HELD_BYTES_MAX:
            self._fail(BadAnswer("the provider's stream has no content"))

    def end(self) -> None:
        self._s.sweep.discard(self)
        stream = self._stream
        self._connection = None
        if stream is None:
            self.set(None)
        elif not stream.content_seen or not stream.finished:
            self._fail(BadAnswer("the provider's stream ended before its answer did"))
        else:
            self._over = True
            self.set(None)
            if self._ended is not None:
                self._ended.set(None)

    def broken(self, error: UpstreamError) -> None:
        self._connection = None
        if self._stream is not None and self._stream.done and self._stream.finished:
            self.end()  # all of it came; that the connection then broke is nobody's loss
        else:
            self._fail(error)

    # --- from the sweep and the client ---

    def expired(self, now: float) -> None:
        if self._paused and now < self.deadline:
            self.expires_at = min(self.deadline, now + self._timeouts.idle_s)  # it is the client who is slow
            return
        what = "the request's time is over" if now >= self.deadline else "the provider's stream stands still"
        self._fail(AnswerTimedOut(what))

    def _fail(self, error: UpstreamError) -> None:
        self.abort()
        if self._over:
            return
        self._over = True
        self._failure = error
        if not self.ready:
            self.fail(error)
        elif self._ended is not None:
            self._ended.fail(error)

    def abort(self) -> None:
        """Ends the exchange; the provider sees its connection close at once."""
        self._s.sweep.discard(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def relay_to(self, client: ServerConnection) -> None:
        """From now on content goes to the client as it comes; what was held goes first."""
        self._client = client
        self.relaying = True
        held, self._pieces = self._pieces, None
        client.stream(b"".join(held or ()))
        if not client.writable:
            self.pause()

    def unrelay(self) -> None:
        """The client has gone, and the provider's stream is read to its end for its bill."""
        self._client = None
        self._copy = None
        self.resume()

    def keep_copy(self) -> None:
        """What is relayed is also collected, up to a bound, so that it can be kept."""
        self._copy = list(self._pieces or ())

    def copied(self) -> bytes:
        """All that was relayed, or nothing where it grew too large."""
        return b"".join(self._copy or ())

    def _copied(self, out: bytes) -> None:
        assert self._copy is not None
        self._copy.append(out)
        self._bytes += len(out)
        if self._bytes > COPY_BYTES_MAX:
            self._copy = None

    def pause(self) -> None:
        """The client is slower than the provider: read no more for now."""
        if self.relaying and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self._paused:
            self._paused = False
            if self._connection is not None:
                self._connection.resume()

    # --- what came ---

    @property
    def whole(self) -> bytes:
        """The collected body of an answer that is not a stream."""
        if self._pieces is not None:
            self._body, self._pieces = b"".join(self._pieces), None
        return self._body

    @property
    def streamed(self) -> ChatStream | None:
        """The stream's reader, or None where the provider answered otherwise."""
        return self._stream
