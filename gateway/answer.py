"""One attempt's answer on its way: collected until it can be judged, then relayed as it comes.

Until the first content of a stream, or the end of any other answer, nothing has gone to the client, so another road may
still be taken. From then on bytes pass from the provider's callback to the client's transport without a task or queue.
"""

import asyncio
from typing import Final

from gateway.wire.clock import NEVER, Sweep
from gateway.wire.errand import Waiter
from gateway.wire.http1 import ResponseHead
from gateway.wire.server import ServerConnection
from gateway.wire.sse import ChatStream, StreamBroken
from gateway.wire.upstream import BadAnswer, UpstreamConnection, UpstreamError

HELD_BYTES_MAX: Final = 1024 * 1024
COPY_BYTES_MAX: Final = 4 * 1024 * 1024


class AnswerTimedOut(UpstreamError):
    """The provider took longer than its row, or the caller, allows."""


class Answer:
    """The sink of one exchange."""

    __slots__ = (
        "_bytes", "_bytes_max", "_client", "_connection", "_copy", "_first_byte_s", "_idle_s", "_loop", "_paused", "_pieces",
        "_stream", "_sweep", "deadline", "ended", "expires_at", "first_content_at", "head", "held", "judged",
        "last_at", "relaying",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sweep: Sweep,
        stream: ChatStream | None,
        *,
        deadline: float,
        first_byte_s: float,
        idle_s: float,
        bytes_max: int,
    ) -> None:
        self._loop = loop
        self._sweep = sweep
        self._stream = stream
        self._first_byte_s = first_byte_s
        self._idle_s = idle_s
        self._bytes_max = bytes_max
        self._connection: UpstreamConnection | None = None
        self._client: ServerConnection | None = None
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._paused = False
        self._copy: list[bytes] | None = None
        self.deadline = deadline
        self.expires_at = NEVER
        self.head: ResponseHead | None = None
        self.held: list[bytes] = []
        self.first_content_at = 0.0
        self.last_at = 0.0
        self.relaying = False
        # Set when the answer can be judged: whole, or at a stream's first content. Fails with what went wrong before.
        self.judged: Waiter[None] = Waiter()
        # Set at a stream's end; fails with what went wrong after the first content.
        self.ended: Waiter[None] = Waiter()

    def reset(self) -> None:
        """Ready for another try on a fresh connection, after one that brought nothing."""
        self.judged = Waiter()

    def begin(self, connection: UpstreamConnection, request: bytes) -> None:
        """Sends the request and starts its clocks."""
        self._connection = connection
        self.expires_at = self.deadline
        if self._stream is not None:
            self.expires_at = min(self.deadline, self._loop.time() + self._first_byte_s)
        self._sweep.add(self)
        connection.send(request, self)

    # --- from the provider's connection ---

    def head_received(self, head: ResponseHead) -> None:
        self.head = head
        content_type = head.headers.get(b"content-type", b"")
        if self._stream is not None and (head.status != 200 or not content_type.startswith(b"text/event-stream")):
            self._stream = None
            self.expires_at = self.deadline

    def body(self, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            self._bytes += len(data)
            if self._bytes > self._bytes_max:
                self._fail(BadAnswer(f"the provider's answer exceeds {self._bytes_max} bytes"))
                return
            self._pieces.append(data)
            return
        now = self.last_at = self._loop.time()
        self.expires_at = min(self.deadline, now + self._idle_s)
        try:
            out = stream.feed(data)
        except StreamBroken as error:
            self._fail(BadAnswer(str(error)))
            return
        if self.relaying:
            if out and self._client is not None:
                self._client.stream(out)
                if self._copy is not None:
                    self._copied(out)
            return
        if out:
            self.held.append(out)
            self._bytes += len(out)
            if self._bytes > HELD_BYTES_MAX:
                self._fail(BadAnswer("the provider's stream has no content"))
                return
        if stream.content_seen and not self.judged.ready:
            self.first_content_at = now
            self.judged.set(None)

    def end(self) -> None:
        self._sweep.discard(self)
        stream = self._stream
        self._connection = None
        if stream is None:
            self.judged.set(None)
        elif not stream.content_seen or not stream.finished:
            self._fail(BadAnswer("the provider's stream ended before its answer did"))
        else:
            self.judged.set(None)
            self.ended.set(None)

    def broken(self, error: UpstreamError) -> None:
        self._connection = None
        if self._stream is not None and self._stream.done and self._stream.finished:
            self.end()  # all of it came; that the connection then broke is nobody's loss
        else:
            self._fail(error)

    # --- from the sweep and the client ---

    def expired(self, now: float) -> None:
        if self._paused and now < self.deadline:
            self.expires_at = min(self.deadline, now + self._idle_s)  # it is the client who is slow
            return
        what = "the request's time is over" if now >= self.deadline else "the provider's stream stands still"
        self._fail(AnswerTimedOut(what))

    def _fail(self, error: UpstreamError) -> None:
        self.abort()
        if self.judged.ready:
            self.ended.fail(error)
        else:
            self.judged.fail(error)

    def abort(self) -> None:
        """Ends the exchange; the provider sees its connection close at once."""
        self._sweep.discard(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def relay_to(self, client: ServerConnection) -> None:
        """From now on content goes to the client as it comes; what was held goes first."""
        self._client = client
        self.relaying = True
        held, self.held = self.held, []
        client.stream(b"".join(held))
        if not client.writable:
            self.pause()

    def keep_copy(self) -> None:
        """What is relayed is also collected, up to a bound, so that it can be kept."""
        self._copy = list(self.held)

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
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    @property
    def streamed(self) -> ChatStream | None:
        """The stream's reader, or None where the provider answered otherwise."""
        return self._stream

