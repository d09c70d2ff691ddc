"""The thread that carries what was settled from memory into the database, and keeps the journal supplied with room.

Nothing is dropped: an error of the database is logged and tried again for as long as it takes, the queue is kept, and
the journal's quota is what bounds it.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from billing.holds import Posting
from billing.journal import Journal
from billing.journal_damage import set_aside
from billing.ledger import Ledger
from billing.request_log import RequestRow, as_line

TURN_MS: Final = 250
# While there is traffic a turn rests so many times before it goes to the database again: what that costs, however few
# the rows, requests beside it wait for. It goes at once where it has many to carry, and after a turn that had few.
RESTS_MAX: Final = 3
FEW_ROWS: Final = 16
MANY_ROWS: Final = 5_000
RETRY_MS: Final = 500
ROWS_MAX: Final = 20_000  # in one transaction: half a second of the writer's lock at the most

_T = TypeVar("_T")
_logger: Final = logging.getLogger(__name__)


class Flusher:
    """The event loop's thread appends to `settled` and `requests` and counts `opened`; all else is this thread's."""

    def __init__(
        self, ledger: Ledger, journal: Journal, clock: Callable[[], int], sink: Callable[[bytes], object] | None
    ) -> None:
        self.settled: deque[Posting] = deque()
        self.requests: deque[RequestRow] = deque()
        self._told: deque[RequestRow] = deque()  # those whose lines are written
        self._rests = 0  # turns without the database that are still to come
        self.opened: dict[int, int] = {}  # by segment: holds in it that must be posted before it can go
        self._posted: Counter[int] = Counter()
        self._ledger, self._journal, self._clock, self._sink = ledger, journal, clock, sink
        self._turn = threading.Condition()
        self._asked = self._answered = 0
        self._closing = False
        self._recovered: tuple[Sequence[Posting], Sequence[RequestRow], tuple[Path, ...], str] | None = None
        self._database_trouble = self._disk_trouble = ""
        self.down_since_us = 0  # since when the database has taken no rows; 0 when it takes them
        self._thread = threading.Thread(target=self._run, name="turnpike-flusher", daemon=True)

    def start(
        self, postings: Sequence[Posting], requests: Sequence[RequestRow], left: tuple[Path, ...], journal: str
    ) -> None:
        """Begins with what an earlier boot left: its postings; then what it had leased is free, and its segments go."""
        self._recovered = (postings, requests, left, journal)
        self._thread.start()

    def flush(self, wait_s: int) -> bool:
        """Asks for a turn now and waits for its end; False when the database did not take it in time."""
        with self._turn:
            self._asked += 1
            ticket = self._asked
            self._turn.notify_all()
            return self._turn.wait_for(lambda: self._answered >= ticket, wait_s)

    def close(self) -> bool:
        """Flushes and ends the thread. False: the database did not take everything, the journal is still needed."""
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        return self._recovered is None and not self.settled and not self.requests and not self._told

    def troubles(self) -> tuple[str, ...]:
        return tuple(filter(None, (self._database_trouble, self._disk_trouble)))

    def _run(self) -> None:
        while True:
            with self._turn:
                if self._asked == self._answered and not self._closing:
                    self._turn.wait(TURN_MS / 1000)
                ticket, closing = self._asked, self._closing
                wanted = closing or ticket != self._answered
            if not wanted and self._rests and len(self.settled) < MANY_ROWS:
                self._rest()
                continue
            if self.turn():
                with self._turn:
                    self._answered = ticket
                    self._turn.notify_all()
            if closing:
                return

    def _rest(self) -> None:
        """A turn that leaves the database alone; lines are written, and the journal has its room."""
        self._rests -= 1
        self._tell()
        self._supply()

    def turn(self) -> bool:
        """One flush of what was queued when it began. False only when closing while the database is away."""
        if self._recovered is not None:
            if not self._recover(*self._recovered):
                return False
            self._recovered = None
        self._supply()
        # Told before it is stored: a database that is away must not silence the log as well.
        self._tell()
        # What comes in meanwhile is the next turn's, so that a turn ends.
        settled, told = len(self.settled), len(self._told)
        self._rests = RESTS_MAX if max(settled, told) >= FEW_ROWS else 0
        while settled or told:
            batch = _take(self.settled, min(settled, ROWS_MAX))
            rows = _take(self._told, min(told, ROWS_MAX))
            settled, told = settled - len(batch), told - len(rows)
            if not self._deliver(batch, rows, again=False):
                self.settled.extendleft(reversed(batch))
                self._told.extendleft(reversed(rows))
                return False
            self._posted.update([posting[4] for posting in batch])
            self._supply()
        return True

    def _recover(
        self, postings: Sequence[Posting], requests: Sequence[RequestRow], left: tuple[Path, ...], journal: str
    ) -> bool:
        before = self._ledger.posted
        for at in range(0, max(len(postings), len(requests)), ROWS_MAX):
            part, rows = postings[at : at + ROWS_MAX], requests[at : at + ROWS_MAX]
            if not self._deliver(part, rows, again=True):
                return False
        if self._ledger.harmed_journal:
            self._leave_pending(left)
        elif not self._until_done(lambda: self._ledger.take_over(journal)):
            return False
        for path in left:
            path.unlink(missing_ok=True)
        if self._ledger.posted > before:
            _logger.warning("recovered %d attempts that an earlier boot had not posted", self._ledger.posted - before)
        return True

    def _leave_pending(self, left: tuple[Path, ...]) -> None:
        """Not everything that was spent is known: what is leased stays so until a person closes it."""
        aside = set_aside(left)
        _logger.error(
            "the journal of an earlier boot is harmed: what it still told of is posted, its segments are kept in %s;"
            " `turnpike ledger show` lists the leases of journal %s, `turnpike ledger close` ends each as unknown",
            aside,
            self._ledger.harmed_journal,
        )
        self._ledger.harmed_journal = ""

    def _deliver(self, postings: Sequence[Posting], requests: Sequence[RequestRow], *, again: bool) -> bool:
        tried = again

        def post() -> None:
            nonlocal tried
            again, tried = tried, True
            self._ledger.post(postings, requests, self._clock(), again=again)

        return self._until_done(post)

    def _until_done(self, work: Callable[[], object]) -> bool:
        """Tries until the database takes it. False only when closing meanwhile."""
        while not self._try(work):
            self._supply()
            with self._turn:
                if self._turn.wait_for(lambda: self._closing, RETRY_MS / 1000):
                    return False
        return True

    def _try(self, work: Callable[[], object]) -> bool:
        try:
            work()
        except Exception as error:
            # Whatever it was: to give a batch up would lose money, to end the thread would lose all that follow.
            self._database_trouble = f"the database takes no rows: {type(error).__name__}; the log says more"
            self.down_since_us = self.down_since_us or self._clock()
            _logger.exception("the ledger took no rows, %d more wait: trying again", len(self.settled))
            return False
        self._database_trouble = ""
        self.down_since_us = 0
        return True

    def _tell(self) -> None:
        """Writes the lines of the requests that have ended."""
        rows = _take(self.requests, len(self.requests))
        self._told.extend(rows)
        if not rows or self._sink is None:
            return
        try:
            self._sink(b"\n".join([*map(as_line, rows), b""]))
        except OSError:
            _logger.exception("the request log takes no lines: free its disk, or repair what reads it")

    def _supply(self) -> None:
        """Room for the journal: segments whose holds are all posted go back, spare ones are made ahead of need."""
        done_below = 0
        for number in self._journal.full_numbers():
            # Equal only when none is open: an open hold is counted here and not there.
            if self.opened.get(number, 0) != self._posted[number]:
                break
            done_below = number + 1
        try:
            self._journal.tend(done_below)
        except OSError as error:
            if not self._disk_trouble:
                _logger.exception("the journal got no new segment: free the disk of %s", self._journal.directory)
            self._disk_trouble = f"the journal gets no room in {self._journal.directory}: {error.strerror}"
        else:
            self._disk_trouble = ""
        for number in [number for number in self._posted if number < done_below]:
            del self._posted[number]
            self.opened.pop(number, None)


def _take(queue: deque[_T], count: int) -> list[_T]:
    return [queue.popleft() for _ in range(count)]
