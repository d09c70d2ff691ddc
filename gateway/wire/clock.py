"""The sweep: one timer for all deadlines of the wire, so that no request needs one of its own.

Deadlines are met to within `SWEEP_INTERVAL_S`, never early. It also has the line that tells the date at hand, which
RFC 9110 §6.6.1 asks of a server that has a clock: made once a second, for all answers.
"""

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, Protocol

SWEEP_INTERVAL_S: Final = 0.1
NEVER: Final = float("inf")


class Watched(Protocol):
    """Something with a deadline, in the event loop's time; it may move the deadline freely."""

    expires_at: float

    def expired(self, now: float) -> None:
        """The deadline has passed. Called at every sweep until the deadline moves or the object leaves the sweep."""
        ...


class Sweep:
    """Looks at everything watched ten times a second. `wall` gives UTC microseconds; without it no date is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: Callable[[], int] | None = None) -> None:
        self._loop = loop
        self._wall = wall
        self._second = -1
        self.date_line = b""
        self._tell_date()
        self._watched: set[Watched] = set()
        self.add = self._watched.add
        self.discard = self._watched.discard
        self._timer: asyncio.TimerHandle | None = None
        self.lag_s = 0.0
        self._due_at = 0.0

    def start(self) -> None:
        """Begins to look."""
        self._arm()

    def stop(self) -> None:
        """Ends; nothing expires any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        self._due_at = self._loop.time() + SWEEP_INTERVAL_S
        self._timer = self._loop.call_later(SWEEP_INTERVAL_S, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        self.lag_s = max(0.0, now - self._due_at)
        self._tell_date()
        for watched in [watched for watched in self._watched if watched.expires_at <= now]:
            watched.expired(now)
        self._arm()

    def _tell_date(self) -> None:
        if self._wall is None:
            return
        second = self._wall() // 1_000_000
        if second != self._second:
            self._second = second
            self.date_line = b"date: %b\r\n" % formatdate(second, usegmt=True).encode()
