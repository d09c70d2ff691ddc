"""`journal_sync: group`: one wait for the disk for all attempts of a moment, so that a power cut loses none of them.

The event loop goes on meanwhile. An attempt awaits its turn between its D and its first byte.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

from billing.journal import JournalFull

_logger: Final = logging.getLogger(__name__)


class JournalNotDurable(JournalFull):
    """The disk did not take the journal; nothing was sent."""


class JournalSync:
    """`sync` is the journal's. Its thread lives from the first wait to `close`."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._turn = threading.Condition()
        self._waiting: list[asyncio.Future[None]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="turnpike-journal-sync", daemon=True)

    def durable(self) -> "asyncio.Future[None]":
        """Done when what was appended before this call is on the disk. On the event loop's thread."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._turn:
            self._waiting.append(waiter)
            self._turn.notify()
        if self._thread.ident is None:
            self._thread.start()
        return waiter

    def close(self) -> None:
        with self._turn:
            self._closing = True
            self._turn.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._waiting or self._closing)
                waiting, self._waiting = self._waiting, []
                if not waiting:
                    return
            try:
                self._sync()
            except OSError as error:
                _logger.exception("the journal cannot be written to its disk: repair or replace it")
                reason = f"the disk of the journal took nothing ({error.strerror}): see the log"
                outcome: Exception | None = JournalNotDurable(reason)
            else:
                outcome = None
            waiting[0].get_loop().call_soon_threadsafe(_tell, waiting, outcome)


def _tell(waiting: "list[asyncio.Future[None]]", outcome: Exception | None) -> None:
    for waiter in waiting:
        if waiter.done():
            continue
        if outcome is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(outcome)
