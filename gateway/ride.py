"""One request on its way through the gateway: what is known of it so far, and the only hands that answer its client."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from billing.books import AttemptRow, RequestRow
from billing.keys import Key
from billing.money import usd_text
from gateway.answer import Answer, AnswerTimedOut
from gateway.errors import Rendered, error_object, render
from gateway.rates import Ticket
from gateway.services import Services
from gateway.wire.clock import NEVER
from gateway.wire.errand import Errand, Waiter
from gateway.wire.headers import status_line
from gateway.wire.http1 import RequestHead
from gateway.wire.server import ServerConnection
from gateway.wire.sse import PING
from gateway.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    import asyncio

PROGRESS_S: Final = 1.0
CLIENT_CLOSED: Final = 499  # nginx's number for a client that hung up; it stands in logs only

_ANSWER_LINES: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nx-request-id: %b\r\n%bx-turnpike-cost-usd: %b\r\nx-turnpike-cache: %b\r\n"
    b"x-turnpike-attempts: %d\r\nx-turnpike-route: %b\r\n%b%b"
)

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed its connection."""


class Ride(Errand):
    """One request. Its errand runs the life in `gateway.chat`; this holds the state that outlives each step."""

    # Defaults stand on the class, without slots: a request sets few of them, and each one set costs.
    deadline = NEVER
    expires_at = NEVER
    key: Key | None = None
    model_asked = ""
    model: str | None = None
    provider: str | None = None
    named_lines = b""
    route = ""
    why = ""
    cache = "miss"
    budget_lines = b""
    rate_lines = b""
    ticket: Ticket | None = None
    """Of a request under limits, for as long as it counts as under way."""
    stream = False
    stream_begun = False
    tags: tuple[str, ...] = ()
    end_user: str | None = None
    calls = 0
    spent_nano_usd = 0
    first_content_us: int | None = None
    progress: Callable[[], None] | None = None
    """Notes in the journal how far a stream has come: what a crash would charge."""
    answer: Answer | None = None
    over = False
    _waiting = False
    _sweep_on = False

    def __init__(self, s: Services, connection: ServerConnection, head: RequestHead, body: bytes) -> None:
        self._s = s
        self.connection = connection
        self.head = head
        self.body = body
        self.at_us = at_us = s.clock()
        self.request_id = s.mint_id.at(at_us)
        self.started_at = s.monotonic()
        self.attempts: list[AttemptRow] = []

    # --- from the client's connection and the sweep ---

    def client_gone(self) -> None:
        if not self.over:
            self.throw(ClientGone("the client closed its connection"))

    def pause_writing(self) -> None:
        if self.answer is not None:
            self.answer.pause()

    def resume_writing(self) -> None:
        if self.answer is not None:
            self.answer.resume()

    def expired(self, now: float) -> None:
        if self._waiting and now >= self.deadline:
            self.expires_at = NEVER
            self.throw(AnswerTimedOut("the request's time is over"))
            return
        if self.stream and not self.over:
            if self.progress is not None:
                self.progress()
            last = max(self.started_at, self.answer.last_at if self.answer is not None else 0.0)
            if now - last >= self._s.sse_keepalive_s:
                self.begin_stream("", 0)
                self.connection.stream(PING)
                last = now
            self.expires_at = min(last + self._s.sse_keepalive_s, now + PROGRESS_S)
            if self._waiting:
                self.expires_at = min(self.expires_at, self.deadline)
        else:
            self.expires_at = NEVER

    def watch_stream(self) -> None:
        """From now on silence is filled with pings."""
        self.stream = True
        self.expires_at = self.started_at + min(self._s.sse_keepalive_s, PROGRESS_S)
        self._sweep_on = True
        self._s.sweep.add(self)

    async def hear(self, waiter: Waiter[T]) -> T:
        """Awaits one word within the request's deadline. Raises `AnswerTimedOut`, `ClientGone`."""
        self._waiting = True
        if self.deadline < NEVER:
            self.expires_at = min(self.expires_at, self.deadline)
            self._sweep_on = True
            self._s.sweep.add(self)
        try:
            return await waiter
        finally:
            self._waiting = False

    async def wait(self, future: "asyncio.Future[T]") -> T:
        """Awaits within the request's deadline. Raises `AnswerTimedOut`; what was awaited goes on by itself."""
        self._waiting = True
        if self.deadline < NEVER:
            self.expires_at = min(self.expires_at, self.deadline)
            self._sweep_on = True
            self._s.sweep.add(self)
        try:
            return await future
        except BaseException:
            if not future.done():
                future.add_done_callback(_unwanted)
            raise
        finally:
            self._waiting = False

    # --- to the client ---

    def answer_head(self, content_type: bytes, cost_nano_usd: int) -> bytes:
        """The lines of a successful answer, without framing."""
        return _ANSWER_LINES % (
            content_type, self.request_id.encode(), self.named_lines, usd_text(cost_nano_usd).encode(),
            self.cache.encode(),
            self.calls, self.route.encode(), self.budget_lines, self.rate_lines,
        )  # fmt: skip

    def begin_stream(self, route: str, bound_nano_usd: int) -> None:
        """Commits to a stream; what fails from now on is an event in it."""
        if self.stream_begun:
            return
        self.stream_begun = True
        self.route = route or self.route
        lines = self.answer_head(b"text/event-stream; charset=utf-8", self.spent_nano_usd + bound_nano_usd)
        self.connection.begin_stream(lines + b"cache-control: no-cache\r\n")

    def failed(self, error: BaseException) -> None:
        """The request ends in an error: told to the client, to the log and to the books."""
        if self.over:
            return
        if isinstance(error, ClientGone):
            self.close(CLIENT_CLOSED, "client_closed")
            return
        rendered = render(error, self.request_id)
        if rendered.status >= 500 and rendered.code == "internal_error":
            self._s.metrics.surprise(self.request_id, error)
        if self.stream_begun:
            _, told = error_object(error)
            event = b"event: error\ndata: %b\n\n" % orjson.dumps({"error": told, "request_id": self.request_id})
            self.connection.end_stream(event)
        else:
            head = error_head(rendered, self.request_id, self.calls) + self.rate_lines
            self.connection.reply(head, rendered.body)
        self.close(rendered.status, rendered.code)

    def close(self, status: int, error_code: str | None) -> None:
        """The end of every request: the log row, the metrics, nothing more to wait for."""
        self.over = True
        self.answer = self.progress = None  # no cycle is left for the collector
        s = self._s
        s.gate.in_flight -= 1
        if self._sweep_on:
            s.sweep.discard(self)
        if self.ticket is not None:
            s.rates.end(self.ticket, self.attempts, s.clock())
        key = self.key
        row = RequestRow(
            self.request_id, self.at_us, key.id if key else "", key.team_id if key else None, key.user_id if key else
            None,
            self.model_asked, self.model, self.provider, self.route, self.why, self.cache, self.stream, status,
            error_code,
            int((s.monotonic() - self.started_at) * 1_000_000), self.first_content_us, self.spent_nano_usd,
            tuple(self.attempts), self.tags, self.end_user,
        )  # fmt: skip
        s.metrics.request(row)
        s.books.request(row)


def _unwanted(future: "asyncio.Future[Any]") -> None:
    """Nobody waits for it any more: its failure is no news, and a connection is there for the next request."""
    if not future.cancelled() and future.exception() is None:
        found = future.result()
        if isinstance(found, UpstreamConnection):
            found.spare()


def error_head(rendered: Rendered, request_id: str, attempts: int | None = None) -> bytes:
    """An error's head, up to its last header line."""
    lines = [
        status_line(rendered.status),
        b"content-type: application/json\r\n",
        b"content-length: %d\r\n" % len(rendered.body),
        b"x-request-id: %b\r\n" % request_id.encode(),
    ]
    if attempts is not None:
        lines.append(b"x-turnpike-attempts: %d\r\n" % attempts)
    lines += [f"{name}: {value}\r\n".encode() for name, value in rendered.headers]
    return b"".join(lines)
