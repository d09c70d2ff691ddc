"""The only authority on what a budget has left: one transaction for everything a worker wants at that moment.

Runs on a thread of its own. Between a commit whose answer was lost and the next visit it first finds out whether the
commit happened: a slice is never granted twice, nor returned twice.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from billing import queries
from billing.admission import Room, Short, Wish, admit, slice_of
from billing.database import writing
from billing.scopes import Rule
from billing.visits import CONTENDED_US, Call, Found, Visit

TRIES_MAX: Final = 3  # of a transaction that another one's locks undid
_logger: Final = logging.getLogger(__name__)

NOTHING_FOUND: Final = Found((), (), (), (), (), (), (), ())

Done = Callable[[Found | Exception], None]


class Bank:
    def __init__(
        self,
        engine: Engine,
        *,
        boot_id: str,
        workers: int,
        on_loop: Callable[[Callable[[], None]], object],
    ) -> None:
        self._engine = writing(engine)
        self._boot_id = boot_id
        self.journal = ""  # whose records tell what became of the leases; known once it is open
        self._workers = workers
        self._on_loop = on_loop
        self._serial = 0
        self._visits: queue.SimpleQueue[tuple[Visit, Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="turnpike-bank", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends the thread after the visits that wait."""
        self._visits.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def rules(self) -> list[Rule]:
        """The budgets as they stand."""
        with self._engine.connect() as connection, connection.begin():
            return queries.budget_rules(connection)

    def visit_now(self, visit: Visit, done: Done) -> None:
        """Makes it in the caller's thread."""
        done(self._answer(visit))

    def visit(self, visit: Visit, done: Done) -> None:
        """Queues it; `done` is called on the loop's thread."""
        self._visits.put((visit, done))

    def _run(self) -> None:
        while (item := self._visits.get()) is not None:
            visit, done = item
            found = self._answer(visit)
            self._on_loop(lambda done=done, found=found: done(found))  # type: ignore[misc]

    def _answer(self, visit: Visit) -> Found | Exception:
        try:
            return self.settle_visit(visit)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it was
            _logger.warning("the budgets cannot be read: %s", error)
            return error

    def settle_visit(self, visit: Visit) -> Found:
        """Makes the visit, once. Raises what the database raised, and then nothing of it happened."""
        self._serial += 1
        for attempt in range(TRIES_MAX):
            found = None
            try:
                with self._engine.begin() as connection:
                    found = self._transact(connection, visit)
            except OperationalError:
                # A deadlock or a lost connection. Whether the commit happened is written in the lease.
                # What was told alone may be told again.
                if found is not None and found.ids and self._happened(found):
                    return found
                if attempt == TRIES_MAX - 1:
                    raise
            else:
                return found
        raise AssertionError("unreachable")

    def _happened(self, found: Found) -> bool:
        """Whether the visit that ended in an error had been committed. Waits for the database to say so."""
        wait = threading.Event()
        while True:
            try:
                with self._engine.connect() as connection, connection.begin():
                    return queries.lease_serial(connection, found.ids[0], self._boot_id) == self._serial
            except DBAPIError as error:
                _logger.warning("the database does not say whether a lease was granted, asking again: %s", error)
                wait.wait(0.5)

    def _transact(self, tx: Connection, visit: Visit) -> Found:
        found = self._visited(tx, visit) if visit.calls else NOTHING_FOUND
        # After the accounts: whoever takes both takes them in this order, so that nothing deadlocks.
        if visit.told:
            queries.tell_leases(tx, visit.told, self._boot_id)
        return found

    def _visited(self, tx: Connection, visit: Visit) -> Found:
        calls = visit.calls
        rows = queries.stand_before(tx, [(call.rule, call.account, call.id) for call in calls])
        leased = queries.leases_of(tx, [row.id for row in rows])
        rooms = [self._room(call, row, leased, visit.now_at_us) for call, row in zip(calls, rows, strict=True)]
        before = [(room.free_nano_usd, room.holds) for room in rooms]
        answers = tuple(
            admit([rooms[place] for place in want.places], Wish(want.most, want.least)) for want in visit.wants
        )
        short = {
            want.places[answer.place]
            for want, answer in zip(visit.wants, answers, strict=True)
            if isinstance(answer, Short)
        }
        free, contended = [], []
        for place, (call, room) in enumerate(zip(calls, rooms, strict=True)):
            contended.append(
                visit.now_at_us + CONTENDED_US if place in short and room.others else rows[place].contended_until_us
            )
            wanted = call.slice and place not in short
            free.append(slice_of(room, max(self._workers, 1), call.kept) if wanted else 0)
        granted = [
            (free_before - room.free_nano_usd, room.holds - holds_before)
            for (free_before, holds_before), room in zip(before, rooms, strict=True)
        ]
        self._write(tx, calls, rows, granted, free, contended, visit.now_at_us)
        return Found(
            tuple(row.id for row in rows),
            tuple(room.limit_nano_usd for room in rooms),
            tuple(room.posted_nano_usd for room in rooms),
            tuple(free),
            tuple(until if until > visit.now_at_us else 0 for until in contended),
            tuple(free_before < 0 for free_before, _ in before),
            tuple(room.others for room in rooms),
            answers,
        )

    def _room(self, call: Call, row: queries.AccountRow, leased: Sequence[queries.LeaseRow], now_at_us: int) -> Room:
        these = [lease for lease in leased if lease.account_id == row.id]
        others = [lease for lease in these if lease.boot_id != self._boot_id]
        mine = sum(lease.amount_nano_usd for lease in these if lease.boot_id == self._boot_id)
        # What of this worker's own is settled and not posted, as the database has it: the flusher may have posted more
        # of it since the visit set out, and then it stands in the row already.
        unposted = max(mine - call.carried - call.kept - call.open + call.forced, 0)
        limit = row.limit_nano_usd if row.limit_nano_usd is not None else 2**62
        return Room(
            limit_nano_usd=limit,
            posted_nano_usd=row.posted_nano_usd + unposted,
            free_nano_usd=limit - row.posted_nano_usd - row.pending_nano_usd + call.carried - call.forced,
            holds=call.holds + sum(lease.holds for lease in others),
            contended=row.contended_until_us > now_at_us,
            # Not only what was unused when last told: holds that ended since are free there, and come when recalled.
            others=any(lease.amount_nano_usd > 0 for lease in others),
        )

    def _write(
        self,
        tx: Connection,
        calls: Sequence[Call],
        rows: Sequence[queries.AccountRow],
        granted: Sequence[tuple[int, int]],
        free: Sequence[int],
        contended: Sequence[int],
        now_at_us: int,
    ) -> None:
        leases = []
        pending = []
        for place, call in enumerate(calls):
            amount, holds = granted[place]
            change = amount + free[place] + call.forced - call.carried
            row = rows[place]
            if change or contended[place] != row.contended_until_us:
                pending.append((row.id, change, contended[place]))
            leases.append(
                queries.LeaseChange(
                    row.id,
                    self.journal,
                    self._boot_id,
                    change,
                    call.open + amount,
                    call.holds + holds,
                    self._serial,
                    now_at_us,
                )
            )
        queries.change_pending(tx, pending)
        queries.change_leases(tx, leases)
