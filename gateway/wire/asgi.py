"""Runs an ASGI application on a connection of ours: what is not hot (the admin pages) costs the hot path nothing.

HTTP scope only. One task a request; a client that hangs up is told to the application as `http.disconnect`.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import unquote

from gateway.wire.http1 import RequestHead
from gateway.wire.server import ServerConnection

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

# The connection speaks for itself about these.
_OWN_LINES: Final = frozenset({b"connection", b"transfer-encoding", b"keep-alive", b"date"})


class AsgiCall:
    """One request of an ASGI application."""

    def __init__(
        self,
        application: Application,
        connection: ServerConnection,
        head: RequestHead,
        body: bytes,
        *,
        request_id: str,
        on_failure: Callable[[BaseException], None],
        status_line: Callable[[int], bytes],
        root_path: str = "",
    ) -> None:
        self._application = application
        self._connection = connection
        self._head = head
        self._body: bytes | None = body
        self._request_id = request_id
        self._on_failure = on_failure
        self._status_line = status_line
        self._root_path = root_path
        self._start: Message | None = None
        self._streaming = False
        self._ended = False
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    # --- from the connection ---

    def client_gone(self) -> None:
        self._gone.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- the call ---

    async def _run(self) -> None:
        head = self._head
        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.0" if head.http10 else "1.1",
            "method": head.method,
            "scheme": "http",
            "path": unquote(head.path),
            "raw_path": head.path.encode("ascii"),
            "query_string": head.query,
            "root_path": self._root_path,
            "headers": list(head.headers),
            "client": (self._connection.peer, 0) if self._connection.peer else None,
            "server": None,
            "state": {"request_id": self._request_id},
        }
        try:
            await self._application(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001  # the application's own handler has failed: told to the log, answered as 500
            self._on_failure(error)
        if not self._ended and not self._gone.is_set():
            if self._streaming:
                self._connection.abort()  # a cut answer must not look whole
            else:
                self._reply(500, [(b"content-type", b"text/plain")], b"Internal Server Error")

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._ended or self._gone.is_set():
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        assert self._start is not None
        body, more = message.get("body", b""), message.get("more_body", False)
        if not more and not self._streaming:
            self._reply(self._start["status"], self._start["headers"], body)
            return
        if not self._streaming:
            self._streaming = True
            headers = [pair for pair in self._start["headers"] if pair[0].lower() != b"content-length"]
            self._connection.begin_stream(self._lines(self._start["status"], headers))
        if more:
            self._connection.stream(body)
            await self._writable.wait()
        else:
            self._ended = True
            self._connection.end_stream(body)

    def _reply(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._ended = True
        headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        lines = self._lines(status, headers)
        if status not in (204, 304):
            lines += b"content-length: %d\r\n" % len(body)
        self._connection.reply(lines, body)

    def _lines(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        lines = [self._status_line(status), b"x-request-id: %b\r\n" % self._request_id.encode()]
        lines += [b"%b: %b\r\n" % (name, value) for name, value in headers if name.lower() not in _OWN_LINES]
        return b"".join(lines)
