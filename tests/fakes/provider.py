"""A hosted provider over real sockets: it plays scripts, keeps its own bill, and notes who came and who left when."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from tests.fakes.bill import Charge, Tariff, cost_nano_usd
from tests.fakes.script import Behaviour, Charged, Close, Pause, Received, Reset, Send, Step, refusal, reply

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import TracebackType

READY_S_MAX: Final = 10.0
LINGER_NONE: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Left:
    """A client that went away in the middle of an answer."""

    request: Received
    at_s: float
    bytes_sent: int


class Provider:
    """Use as a context manager. Everything it saw may be read at any time, also from other threads."""

    def __init__(
        self,
        name: str,
        prices: Tariff,
        tariffs: Mapping[str, Tariff] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        # `tariffs` are of single models, `prices` of all the others.
        self.prices = prices
        self.tariffs = dict(tariffs or {})
        self.requests: list[Received] = []
        self.bill: list[Charge] = []
        self.left: list[Left] = []
        self.connections = 0
        self.bytes_sent = 0
        # A connection is closed as soon as it is accepted.
        self.slams_door = False
        self._queued: defaultdict[str, deque[Behaviour]] = defaultdict(deque)
        self._always: dict[str, Behaviour] = {}
        self._port = 0
        self._tls = tls
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"fake-{name}", daemon=True)
        self.open: set[Connection] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(READY_S_MAX), "the fake provider did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(READY_S_MAX)
        self._loop.close()

    @property
    def port(self) -> int:
        return self._port

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1" if self._tls is None else f"https://localhost:{self._port}/v1"

    def queue(self, model: str, *behaviours: Behaviour) -> None:
        """The next requests for the model are answered so, one each."""
        self._queued[model].extend(behaviours)

    def always(self, model: str, behaviour: Behaviour) -> None:
        """Requests for the model for which nothing is queued are answered so."""
        self._always[model] = behaviour

    @property
    def connected(self) -> set[int]:
        """The connections that are open now, by the number that their requests bear."""
        return {connection.number for connection in list(self.open)}

    def asked(self, model: str) -> list[Received]:
        return [request for request in list(self.requests) if request.model == model]

    def bill_nano_usd(self, *models: str) -> int:
        """The sum of the bill, or of these models' lines."""
        return sum(line.cost_nano_usd for line in list(self.bill) if not models or line.model in models)

    def drop_idle_connections(self) -> None:
        """Closes what is kept alive and waits for nothing, as an idle limit does."""

        def close() -> None:
            for connection in list(self.open):
                connection.close_if_idle()

        self._loop.call_soon_threadsafe(close)

    def script_for(self, request: Received) -> tuple[Step, ...]:
        if not request.target.split("?")[0].endswith("/chat/completions"):
            return refusal(404, f"the fake has no {request.target}")(request)
        queued = self._queued.get(request.model)
        if queued:
            return queued.popleft()(request)
        return self._always.get(request.model, reply())(request)

    def charge(self, request: Received, step: Charged) -> None:
        prices = self.tariffs.get(request.model, self.prices)
        self.bill.append(Charge(request.model, step.tokens, cost_nano_usd(step.tokens, prices)))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: Connection(self), "127.0.0.1", 0, ssl=self._tls)
        )
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for connection in list(self.open):
            connection.abort()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        # Once round for the transports' own farewells.
        self._loop.run_until_complete(asyncio.sleep(0))


class Connection(asyncio.Protocol):
    """One client. Requests are answered one after another, and its leaving ends the answer at once."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._request: Received | None = None
        self._served = 0
        self._sent = 0
        self.number = 0
        self._writable = asyncio.Event()
        self._gone = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._provider.connections += 1
        self.number = self._provider.connections
        self._provider.open.add(self)
        self._writable.set()
        # Small buffers, so that a client that does not read is felt soon.
        transport.set_write_buffer_limits(high=65536)
        if self._provider.slams_door:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._provider.open.discard(self)
        self._gone = True
        self._note_leaving()

    def eof_received(self) -> bool:
        self._note_leaving()
        return False

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def close_if_idle(self) -> None:
        if self._task is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """RST, whatever is still unsent."""
        if self._transport is None:
            return
        if self._task is None or self._task is asyncio.current_task():
            self._request = None
        with contextlib.suppress(OSError):
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        self._transport.abort()

    def _note_leaving(self) -> None:
        if self._task is None or self._request is None:
            return
        self._provider.left.append(Left(self._request, time.monotonic(), self._sent))
        self._request = None
        self._task.cancel()

    def _next(self) -> None:
        if self._task is not None or self._gone:
            return
        request = self._parse()
        if request is None:
            return
        self._provider.requests.append(request)
        self._request = request
        self._sent = 0
        self._task = asyncio.get_running_loop().create_task(self._play(request))

    async def _play(self, request: Received) -> None:
        try:
            for step in self._provider.script_for(request):
                await self._step(request, step)
        finally:
            self._task = None
        self._request = None
        self._next()

    async def _step(self, request: Received, step: Step) -> None:
        assert self._transport is not None
        match step:
            case Send(data):
                self._transport.write(data)
                self._sent += len(data)
                self._provider.bytes_sent += len(data)
                await self._writable.wait()
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Charged():
                self._provider.charge(request, step)
            case Close():
                self._request = None
                self._gone = True
                self._transport.close()
            case Reset():
                self._gone = True
                self.abort()

    def _parse(self) -> Received | None:
        """One whole request off the buffer. What is no HTTP at all is kept as it is, so that a test sees it."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._buffer[: end + 4])
        first, *lines = head[:-4].split(b"\r\n")
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(b":") for line in lines))
        named = {name.lower(): value for name, value in headers}
        if named.get(b"transfer-encoding", b"").lower() == b"chunked":
            framed = _unchunked(self._buffer, end + 4)
        else:
            stop = end + 4 + int(named.get(b"content-length", b"0"))
            framed = (bytes(self._buffer[end + 4 : stop]), stop) if len(self._buffer) >= stop else None
        if framed is None:
            return None
        body, stop = framed
        del self._buffer[:stop]
        method, _, rest = first.decode("latin-1").partition(" ")
        self._served += 1
        target = rest.rpartition(" ")[0]
        return Received(self.number, self._served, time.monotonic(), head, method, target, headers, body)


def _unchunked(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    body = bytearray()
    while (line_end := buffer.find(b"\r\n", at)) >= 0:
        size = int(bytes(buffer[at:line_end]).partition(b";")[0], 16)
        at = line_end + 2 + size + 2
        if len(buffer) < at:
            return None
        body += buffer[line_end + 2 : line_end + 2 + size]
        if size == 0:
            return bytes(body), at
    return None


def closed_port() -> int:
    """A port at which nobody listens: connecting is refused."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
