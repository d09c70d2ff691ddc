"""A transport and a loop without sockets and without waiting: time moves when a test says so."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from gateway.wire.clock import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """As much of an event loop as the wire uses outside of connecting."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._soon: deque[Callable[[], None]] = deque()

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._soon.append(lambda: callback(*arguments))

    def run(self) -> None:
        while self._soon:
            self._soon.popleft()()

    @property
    def real(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)


class Time:
    """A sweep that looks when told: at `pass_s` everything that is due by then expires."""

    def __init__(self, loop: Loop) -> None:
        self.sweep = Sweep(loop.real)
        self._fake = loop

    def pass_s(self, seconds: float) -> None:
        self._fake.now += seconds
        for watched in [each for each in self.sweep._watched if each.expires_at <= self._fake.now]:
            watched.expired(self._fake.now)


class Transport(asyncio.Transport):
    """What is written is kept; nothing leaves before `drain`. Paused reading is obeyed by whoever feeds."""

    def __init__(self, protocol: Any, loop: Loop, *, can_half_close: bool = True) -> None:
        super().__init__({"peername": ("192.0.2.7", 4711)})
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
    return [data[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]
