"""What the workers of one machine say to one another, over Unix sockets; a lone worker has none and pays nothing.

Each worker listens under its own name and asks the others by theirs. One that is stopped or busy holds nobody up for
longer than the asker is willing to wait; one that is dead is noticed at once, and its socket taken away.
"""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from inspect import isawaitable
from pathlib import Path
from typing import Any, Final, cast

import msgspec

ANSWER_S_MAX: Final = 1.0
FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
# A sibling that takes nothing in is told no more; it must not fill this worker's memory.
UNSENT_BYTES_MAX: Final = 4 * 1024 * 1024
BACKLOG: Final = 256
SUFFIX: Final = ".sock"
PARENT: Final = "parent"

_ASK, _ANSWER, _FAILURE = range(3)
_LENGTH: Final = struct.Struct("<I")
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[int, int, str, Any]).decode

Handler = Callable[[Any], Any | Awaitable[Any]]

log = logging.getLogger("turnpike")


class SiblingGone(Exception):
    """The worker asked does not run (any more), or takes nothing in."""


class SiblingFailed(Exception):
    """The worker asked could not do it; the message is its own."""


class _Line(asyncio.Protocol):
    """One connection: asks and answers go both ways, each answer under the number of what it answers."""

    def __init__(self, bus: "Bus") -> None:
        self._bus = bus
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    @property
    def open(self) -> bool:
        return self._transport is not None

    @property
    def unsent(self) -> int:
        """Bytes that the other side has not taken in."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one by its methods alone.
        self._transport = cast("asyncio.Transport", transport)
        self._bus.lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._bus.lines.discard(self)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(SiblingGone(f"the worker's connection closed: {exc or 'it ended'}"))
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if end > FRAME_BYTES_MAX:
                log.error("a sibling sent %d bytes at once: its connection is closed", end)
                self.abort()
                return
            if len(self._buffer) < end:
                return
            kind, number, name, document = _decode(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            self._take(kind, number, name, document)

    def _take(self, kind: int, number: int, name: str, document: Any) -> None:
        if kind == _ASK:
            self._bus.answer(name, document, partial(self._send, number))
            return
        future = self._waiting.pop(number, None)
        # None: who asked has given up meanwhile.
        if future is not None and not future.done():
            if kind == _ANSWER:
                future.set_result(document)
            else:
                future.set_exception(SiblingFailed(str(document)))

    async def ask(self, name: str, document: Any) -> Any:
        if not self.open or self.unsent > UNSENT_BYTES_MAX:
            raise SiblingGone("the worker takes nothing in")
        self._number += 1
        number = self._number
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._send(number, _ASK, document, name)
        try:
            return await future
        finally:
            self._waiting.pop(number, None)

    def _send(self, number: int, kind: int, document: Any, name: str = "") -> None:
        if self._transport is None:
            return
        frame = _encode((kind, number, name, document))
        self._transport.write(_LENGTH.pack(len(frame)) + frame)
        if self.unsent > FRAME_BYTES_MAX:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Bus:
    """One worker's end. `directory` None: it is alone, has nobody to tell, and opens nothing."""

    def __init__(self, directory: Path | None, name: str) -> None:
        self.name = name
        self.lines: set[_Line] = set()
        self._directory = directory
        self._handlers: dict[str, Handler] = {}
        self._server: asyncio.Server | None = None
        self._calls: dict[str, asyncio.Task[_Line]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def alone(self) -> bool:
        return self._directory is None

    def handle(self, name: str, handler: Handler) -> None:
        """What is done when a sibling asks for `name`: on the event loop, so what blocks gives back an awaitable."""
        self._handlers[name] = handler

    async def open(self) -> None:
        """Can be reached from now on; what arrives before `begin` waits for it.

        Opened before anything is read that a sibling may change, so that no change falls in between.
        """
        self._loop = asyncio.get_running_loop()
        if self._directory is None:
            return
        unready, path = self._directory / f".{self.name}", self._path(self.name)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(unready))
            unready.chmod(0o600)
            self._server = await self._loop.create_unix_server(lambda: _Line(self), sock=listening, backlog=BACKLOG)
        except BaseException:
            listening.close()
            raise
        # Seen only once it listens: one that refuses a connection is taken for dead.
        unready.rename(path)

    def begin(self) -> None:
        """Every handler is there."""
        self._begun.set()

    async def close(self) -> None:
        if self._directory is None:
            return
        self._path(self.name).unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        for call in self._calls.values():
            call.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        for line in tuple(self.lines):
            line.abort()
        await asyncio.sleep(0)

    def forget(self, name: str) -> None:
        """A worker that is known to be dead: nobody needs to find out by calling it."""
        if self._directory is not None:
            self._path(name).unlink(missing_ok=True)

    def siblings(self) -> tuple[str, ...]:
        """The names of the other workers that listen; the parent is none of them."""
        if self._directory is None:
            return ()
        # A third of what `iterdir` costs, on a path that a recall takes.
        listed = os.listdir(self._directory)  # noqa: PTH208
        names = sorted(each.removesuffix(SUFFIX) for each in listed if each.endswith(SUFFIX))
        return tuple(name for name in names if name not in (self.name, PARENT) and not name.startswith("."))

    async def tell_all(self, name: str, document: Any = None, wait_s: float = ANSWER_S_MAX) -> dict[str, Any]:
        """Asks every sibling at once. Who is missing in the answer has not confirmed within `wait_s`, or could not."""
        siblings = self.siblings()
        if not siblings:
            return {}
        tasks = {sibling: asyncio.ensure_future(self._call(sibling, name, document)) for sibling in siblings}
        await asyncio.wait(tasks.values(), timeout=wait_s)
        replies = {}
        for sibling, task in tasks.items():
            if not task.done():
                task.cancel()
                continue
            error = task.exception()
            if error is None:
                replies[sibling] = task.result()
            elif isinstance(error, SiblingFailed):
                log.error("worker %s could not do %r: %s", sibling, name, error)
            elif not isinstance(error, SiblingGone):
                raise error
        return replies

    async def ask(self, sibling: str, name: str, document: Any = None, wait_s: float | None = ANSWER_S_MAX) -> Any:
        """Asks one. Raises `SiblingGone`, `SiblingFailed`, or `TimeoutError`; `wait_s` None waits while it lives."""
        async with asyncio.timeout(wait_s):
            return await self._call(sibling, name, document)

    def telling(self, name: str, document: Any = None, wait_s: float = ANSWER_S_MAX) -> "Future[dict[str, Any]]":
        """`tell_all` for any thread but the event loop's own; the result is there after `wait_s` at the latest, and
        however late the loop is.
        """
        if self._directory is None:
            nobody: Future[dict[str, Any]] = Future()
            nobody.set_result({})
            return nobody
        assert self._loop is not None, "opened before it is used"
        return asyncio.run_coroutine_threadsafe(self.tell_all(name, document, wait_s), self._loop)

    def answer(self, name: str, document: Any, send: Callable[[int, Any], None]) -> None:
        task = asyncio.ensure_future(self._answer(name, document, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, name: str, document: Any, send: Callable[[int, Any], None]) -> None:
        await self._begun.wait()
        handler = self._handlers.get(name)
        if handler is None:
            send(_FAILURE, f"nothing answers {name!r} here")
            return
        try:
            answer = handler(document)
            if isawaitable(answer):
                answer = await answer
            send(_ANSWER, answer)
        except Exception as error:
            log.exception("what a sibling asked for failed: %s", name)
            send(_FAILURE, f"{type(error).__name__}: {error}")

    async def _call(self, sibling: str, name: str, document: Any) -> Any:
        line = await self._line(sibling)
        try:
            return await line.ask(name, document)
        except SiblingGone:
            if not line.open:
                # Calling it again tells whether it is dead, and then takes its socket away.
                await self._line(sibling)
            raise

    async def _line(self, sibling: str) -> _Line:
        call = self._calls.get(sibling)
        if call is None or (call.done() and not _usable(call)):
            call = self._calls[sibling] = asyncio.ensure_future(self._connect(sibling))
            call.add_done_callback(_looked_at)
        # Shared by all who ask meanwhile: one who gives up must not end the others' wait.
        return await asyncio.shield(call)

    async def _connect(self, sibling: str) -> _Line:
        path = self._path(sibling)
        try:
            _, line = await asyncio.get_running_loop().create_unix_connection(lambda: _Line(self), str(path))
        except (ConnectionRefusedError, FileNotFoundError) as error:
            self._calls.pop(sibling, None)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise SiblingGone(f"worker {sibling} does not run") from error
        except OSError as error:
            self._calls.pop(sibling, None)
            raise SiblingGone(f"worker {sibling} cannot be reached: {error}") from error
        return line

    def _path(self, name: str) -> Path:
        assert self._directory is not None
        return self._directory / f"{name}{SUFFIX}"


def _usable(call: "asyncio.Task[_Line]") -> bool:
    return not call.cancelled() and call.exception() is None and call.result().open


def _looked_at(call: "asyncio.Task[_Line]") -> None:
    """Those who waited for it may all have given up."""
    if not call.cancelled():
        call.exception()
