"""`journal_sync: group`: one wait for the disk for all attempts of a moment, so that a power cut loses none of them.

The event loop goes on meanwhile. An attempt awaits its turn between its D and its first byte.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

from billing.journal import JournalNotDurable

_logger: Final = logging.getLogger(__name__)


class JournalSync:
    """`sync` is the journal's and raises `JournalNotDurable`. Its thread lives from the first wait to `close`."""

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
            outcome: JournalNotDurable | None = None
            try:
                self._sync()
            except JournalNotDurable as error:
                outcome = error
            except Exception:
                # Whatever it was: an attempt that is never told waits for ever, and all after it.
                _logger.exception("the journal was not written to its disk: look into %s", self._thread.name)
                outcome = JournalNotDurable("the journal was not written to its disk: see the log")
            waiting[0].get_loop().call_soon_threadsafe(_tell, waiting, outcome)


def _tell(waiting: "list[asyncio.Future[None]]", outcome: Exception | None) -> None:
    for waiter in waiting:
        if waiter.done():
            continue
        if outcome is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(outcome)
