"""A transport and a loop without sockets and without waiting: time moves when a test says so."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, cast

from gateway.wire.clock import SWEEP_INTERVAL_S

if TYPE_CHECKING:
    from collections.abc import Callable


class Receiver(Protocol):
    """What a transport tells; the wire's connections are such, without asyncio's class behind them."""

    def data_received(self, data: bytes) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class Loop:
    """As much of an event loop as the wire uses outside of connecting."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._soon: deque[Callable[[], None]] = deque()
        self._later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._soon.append(lambda: callback(*arguments))

    def call_later(self, delay_s: float, callback: Callable[..., None], *arguments: Any) -> None:
        self._later.append((self.now + delay_s, lambda: callback(*arguments)))

    def run(self) -> None:
        while self._soon:
            self._soon.popleft()()

    def pass_s(self, seconds: float) -> None:
        """Time passes, and what is due by then happens; a sweep more, since deadlines are met within one."""
        until = self.now + seconds + SWEEP_INTERVAL_S
        while due := [timer for timer in self._later if timer[0] <= until]:
            first = min(due, key=lambda timer: timer[0])
            self._later.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
            self.run()
        self.now = until

    @property
    def real(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)


class Transport(asyncio.Transport):
    """What is written is kept; nothing leaves before `drain`. Paused reading is obeyed by whoever feeds."""

    def __init__(self, protocol: Receiver, loop: Loop, *, can_half_close: bool = True, peer: str = "192.0.2.7") -> None:
        super().__init__({"peername": (peer, 4711)})
        self.written = b""
        self.unsent_bytes = 0
        self.reading = True
        self.half_closed = False
        self.closing = False
        self.aborted = False
        self.closed = False
        self._can_half_close = can_half_close
        self._protocol = protocol
        self._loop = loop

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        assert not self.half_closed, "written after write_eof"
        if not self.closing:
            self.written += bytes(data)

    def take(self) -> bytes:
        """What was written since last asked."""
        data, self.written = self.written, b""
        return data

    def feed(self, *pieces: bytes) -> None:
        """Bytes from the other side; callbacks that the protocol asked for run in between."""
        for piece in pieces:
            if piece and not self.closing:
                self._protocol.data_received(piece)
                self._loop.run()

    def hang_up(self, error: Exception | None = None) -> None:
        """The other side closes."""
        self.closing = True
        if not self.closed:
            self.closed = True
            self._protocol.connection_lost(error)

    def fills(self) -> None:
        """The other side takes less than is written."""
        self._protocol.pause_writing()

    def empties(self) -> None:
        """It has caught up."""
        self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def pause_reading(self) -> None:
        assert not self.closing
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.closing
        self.reading = True

    def can_write_eof(self) -> bool:
        return self._can_half_close

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._loop.call_soon(self.hang_up)

    def abort(self) -> None:
        self.aborted = True
        if not self.closing:
            self.closing = True
        self._loop.call_soon(self.hang_up)


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)]
