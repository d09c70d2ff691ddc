"""What one worker does with money: hold it, note that it may be spent, settle it. In memory and in the journal only.

Everything here but `open`, `flush` and `close` runs on the event loop's thread and does no I/O beyond one copy into the
journal's pages; the flusher's thread carries it into the database.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from billing.alerts import BudgetEvent
from billing.bank import Bank
from billing.budget_events import Alerts
from billing.database import open_engine
from billing.flusher import Flusher
from billing.heads import Heads
from billing.holds import (
    REQUEST_ID_CHARS_MAX,
    EntryKind,
    Hold,
    Posting,
    charge_of,
    encode,
    encode_hold,
    encode_price,
    unknown_charge,
)
from billing.journal import (
    JOURNAL_BYTES_MAX,
    SEGMENT_BYTES,
    Journal,
    JournalFull,
    JournalInUse,
    JournalNotDurable,
    JournalRecordTooLarge,
    read,
)
from billing.journal_damage import damage
from billing.journal_records import Mark
from billing.journal_sync import JournalSync
from billing.ledger import Ledger
from billing.price import FREE, Price, Usage
from billing.recovery import outstanding, told_by_recovery
from billing.request_log import AttemptRow, RequestRow
from billing.scopes import Rule, Rulebook
from billing.wallets import NOTHING, Wallet, Wallets

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "AttemptRow",
    "Books",
    "EntryKind",
    "Hold",
    "HoldNotOpen",
    "JournalFull",
    "JournalInUse",
    "JournalRecordTooLarge",
    "RequestRow",
    "Usage",
]

TOKENS_MAX: Final = 2**40 - 1  # of one kind in one attempt; what a provider reports beyond is a mistake of its own
COST_NANO_USD_MAX: Final = 10**15  # a million dollars an attempt
PRICES_MAX: Final = 10_000
RELOAD_S_MAX: Final = 1
DATABASE_GRACE_S: Final = 30
FLUSHER_BUSY_MS: Final = 1000  # short, for the journal needs tending between two tries
FLUSH_S_MAX: Final = 10

# Plain integers: a flag's own arithmetic costs more than the copy.
_R: Final = int(Mark.R)
_D: Final = int(Mark.D)
_P: Final = int(Mark.P)
_X: Final = int(Mark.X)
_RD: Final = int(Mark.R | Mark.D)
_US: Final = int(Mark.U | Mark.S)
_UNKNOWN: Final = int(EntryKind.UNKNOWN)
_OVERRUN: Final = int(EntryKind.OVERRUN)
_SAVING: Final = int(EntryKind.SAVING)

_NO_USAGE: Final = Usage()
_tuple: Final = tuple.__new__  # a named tuple's own constructor is interpreted

_Name = tuple[Any, ...]  # request and attempt; typed, the compiled code would take it apart and put it together anew
_Open = tuple[Hold, int, tuple[Wallet, ...]]  # a hold, where the journal has it, and what it was taken from
_logger: Final = logging.getLogger(__name__)


class Loop(Protocol):
    """What is used of an event loop."""

    def soon(self, _callback: Callable[[], None], /) -> object: ...  # from any thread
    def after_ms(self, _delay_ms: int, _callback: Callable[[], None], /) -> object: ...


class HoldNotOpen(LookupError):
    """A step for an attempt that is not in the state before it: never reserved, or closed already."""


class FlushTimedOut(Exception):
    """The database did not take the queued rows in time; they are kept and tried again."""


class Books:
    def __init__(
        self,
        database_url: str,
        directory: Path,
        *,
        clock: Callable[[], int],
        sink: Callable[[bytes], object] | None = None,
        writer: int = 0,
        journal_sync: str = "os",
        journal_bytes_max: int = JOURNAL_BYTES_MAX,
        segment_bytes: int = SEGMENT_BYTES,
        boot_id: str = "",
        workers: int = 1,
        loop: Loop | None = None,
        database_grace_s: int = DATABASE_GRACE_S,
        refuse_when_down: bool = True,
        state: Path | None = None,
    ) -> None:
        """`clock` answers microseconds since the epoch. `sink` takes lines of JSON, many at once, on the
        flusher's thread.

        The journal of `directory` is this process's alone; `writer` numbers its chain of batches. `boot_id` names
        this process among all that lease from the same budgets, `workers` says how many there are. Without a `loop`
        budgets are asked in the caller's own thread. The chain's head is kept, signed, below `state`.
        """
        self._engine = open_engine(database_url, busy_ms=FLUSHER_BUSY_MS)
        self._journal = Journal(
            directory, segment_bytes=segment_bytes, journal_bytes_max=journal_bytes_max, sync=journal_sync
        )
        self._sync = JournalSync(self._journal.sync) if journal_sync == "group" else None
        self._boot_id = boot_id or f"{writer}.{clock()}"
        heads = Heads(state, self._engine) if state is not None else None
        self._ledger = Ledger(self._engine, writer, self._boot_id, heads)
        self._flusher = Flusher(self._ledger, self._journal, clock, sink)
        self._opened, self._settled = self._flusher.opened, self._flusher.settled
        self._bank = Bank(
            self._engine,
            boot_id=self._boot_id,
            workers=workers,
            on_loop=loop.soon if loop is not None else _at_once,
        )
        self._clock = clock
        self._grace_us = database_grace_s * 1_000_000
        self._refuse_when_down = refuse_when_down
        self._soon = loop.soon if loop is not None else _at_once
        self._threaded = loop is not None
        self.wallets = Wallets(
            clock=clock,
            visit=self._bank.visit if loop is not None else self._bank.visit_now,
            after_ms=loop.after_ms if loop is not None else _never,
            recall=_nobody,
        )
        self._reserved: dict[_Name, _Open] = {}
        self._dispatched: dict[_Name, _Open] = {}
        self._progress: dict[_Name, Usage] = {}
        self._prices: dict[int, tuple[Price, msgspec.Raw]] = {}
        self._price, self._price_record = self._encoded(FREE)  # the last one, for the next hold is likely to pin it too
        self._pending_nano_usd = 0
        self._segment = 0

    def open(self) -> None:
        """Recovers what an earlier boot left, then starts the flusher, which posts it before anything else."""
        left = self._journal.open(self._boot_id)
        harmed = damage(left)
        try:
            postings = outstanding(read(left), Rulebook(tuple(self._bank.rules())))
            requests = told_by_recovery(postings)
        except BaseException:
            self._journal.close()
            raise
        if harmed:
            self._ledger.harmed_journal = self._journal.rename(self._boot_id)
            for harm in harmed:
                _logger.error(
                    "%s: %s; leases of journal %s stay pending", harm.path, harm.sentence, self._ledger.harmed_journal
                )
        self._bank.journal = self._journal.name
        self._segment = self._journal.number
        self._opened[self._segment] = 0
        self._flusher.start(postings, requests, left, self._journal.name)
        self.reload()
        if self._threaded:
            self._bank.start()

    def rules(self) -> list[Rule]:
        """The budgets as the database has them."""
        return self._bank.rules()

    def reload(self) -> None:
        """Reads the budgets anew; those that are new bind the holds in flight as well. On the loop's thread."""
        self.replace(self._bank.rules())

    def tell(self, alerts: Alerts, on_crossed: Callable[[Sequence[BudgetEvent]], object]) -> None:
        """Before `open`: which thresholds of budgets are told, and who hears of them, on the flusher's thread."""
        self._ledger.alerts, self._ledger.on_crossed = alerts, on_crossed

    def reload_from(self, wait_s: int = RELOAD_S_MAX) -> None:
        """The same from another thread. When it returns, slices that a change took away are back in the database."""
        rules, done = self._bank.rules(), threading.Event()

        def replace() -> None:
            self.replace(rules)
            self.wallets.after_visit(done.set)

        self._soon(replace)
        if not done.wait(wait_s):
            _logger.warning(
                "changed budgets: the database has not taken what is leased of them back within %d s", wait_s
            )

    def replace(self, rules: Sequence[Rule]) -> None:
        """These are the budgets from now on."""
        self.wallets.replace(rules)
        for holds in (self._reserved, self._dispatched):
            for name, (hold, segment, wallets) in tuple(holds.items()):
                if hold.amount_nano_usd:
                    bound = self.wallets.adopt(wallets, charge_of(hold), hold.opened_at_us, hold.amount_nano_usd)
                    holds[name] = hold, segment, bound

    def close(self) -> None:
        """Flushes everything. Where the database does not take it, the journal stays, and the next start posts it."""
        if self._threaded:
            self._bank.close()
        if self._sync is not None:
            self._sync.close()
        if self._flusher.close() and not self._reserved and not self._dispatched:
            # Everything is posted: what is still leased is free.
            self._ledger.leave(self._journal.name)
            self._journal.discard()
        else:
            self._journal.close()
        self._engine.dispose()

    def flush(self, wait_s: int = FLUSH_S_MAX) -> None:
        """What was settled before stands in the database after."""
        if not self._flusher.flush(wait_s):
            raise FlushTimedOut(f"the database took no rows for {wait_s} s: see the log; nothing is lost")

    def durable(self) -> "asyncio.Future[None] | None":
        """With `journal_sync: group`, to be awaited between a dispatch and the first byte; else None."""
        return None if self._sync is None else self._sync.durable()

    def reserve(self, hold: Hold, wallets: tuple[Wallet, ...] = NOTHING) -> None:
        """R. `wallets` are those that the hold was taken from."""
        name = self._fresh_name(hold)
        self._reserved[name] = hold, self._opens(self._journal.append(_R, self._record(hold))), wallets
        self._pending_nano_usd += hold.amount_nano_usd

    def dispatch(self, hold: Hold) -> None:
        """D: right before the first byte goes upstream."""
        name = _name(hold)
        if name not in self._reserved:
            raise HoldNotOpen(f"{hold.request_id}/{hold.attempt} is not reserved: reserve it, and dispatch it once")
        try:
            self._journal.append_promising(_D, encode(name))
        except JournalNotDurable:
            self._dispatched[name] = self._reserved.pop(name)  # its D is written, and must not outlive its release
            raise
        self._dispatched[name] = self._reserved.pop(name)

    def reserve_and_dispatch(self, hold: Hold, wallets: tuple[Wallet, ...] = NOTHING) -> None:
        """Both at once, in one record, for the ordinary case in which nothing happens between the two."""
        name = self._fresh_name(hold)
        try:
            segment = self._journal.append_promising(_RD, self._record(hold))
        except JournalNotDurable:
            self._journal.append_promised(_X, encode(name))  # written, and not to be sent
            raise
        self._dispatched[name] = hold, self._opens(segment), wallets
        self._pending_nano_usd += hold.amount_nano_usd

    def progress(self, hold: Hold, usage: Usage) -> None:
        """P: a stream's usage so far, which is what a crash would charge."""
        name = _name(hold)
        if name not in self._dispatched:
            raise HoldNotOpen(
                f"{hold.request_id}/{hold.attempt} is not dispatched: tell progress of attempts in flight"
            )
        # Only an estimate gets better by it, so it is no reason to fail a stream that has its room for the end.
        with suppress(JournalFull):
            self._journal.append(_P, encode((*name, usage)))
        self._progress[name] = usage

    def settle(self, hold: Hold, usage: Usage, cost_nano_usd: int, kind: EntryKind) -> None:
        """U and S. What an unknown outcome is charged follows from its hold, whatever is given; what a budget's hold
        does not cover is an overrun.
        """
        name = _name(hold)
        opened = self._dispatched.pop(name, None)
        if opened is None:
            raise HoldNotOpen(f"{hold.request_id}/{hold.attempt} is not dispatched: settle each dispatched hold once")
        held, segment, wallets = opened
        code = int(kind)
        if code == _UNKNOWN:
            usage, cost_nano_usd = unknown_charge(held, bound=bool(wallets))
        fresh, cached, cache_write, output, reasoning, heard, spoken = usage
        # All seven at once: a negative one makes the union negative, a large one makes it large.
        union = fresh | cached | cache_write | output | reasoning | heard | spoken
        if not (0 <= union <= TOKENS_MAX and 0 <= cost_nano_usd <= COST_NANO_USD_MAX):
            usage, cost_nano_usd = _bounded(held, usage, cost_nano_usd)
        if wallets:
            self.wallets.settle(wallets, held[12], cost_nano_usd)
            if cost_nano_usd > held[12]:
                code = _OVERRUN
                _overrun(held, cost_nano_usd)
        self._journal.append_promised(_US, encode((*name, usage, cost_nano_usd, code)))
        self._pending_nano_usd -= held[12]
        if self._progress:
            self._progress.pop(name, None)
        self._settled.append(_tuple(Posting, (held, usage, cost_nano_usd, code, segment, wallets)))

    def settle_unknown(self, hold: Hold) -> tuple[Usage, int]:
        """The same of an attempt of which nothing was heard; answers what it was charged."""
        opened = self._dispatched.get(_name(hold))
        self.settle(hold, _NO_USAGE, 0, EntryKind.UNKNOWN)
        assert opened is not None, "settle had it"
        return unknown_charge(opened[0], bound=bool(opened[2]))

    def release(self, hold: Hold) -> None:
        """X: nothing was sent, or the provider certainly bills nothing."""
        name = _name(hold)
        if name in self._dispatched:
            held, segment, wallets = self._dispatched.pop(name)
            self._journal.append_promised(_X, encode(name))
        elif name in self._reserved:
            # A hold alone is released by recovery as well: without room its X need not be written.
            held, segment, wallets = self._reserved.pop(name)
            with suppress(JournalFull):
                self._journal.append(_X, encode(name))
        else:
            raise HoldNotOpen(
                f"{hold.request_id}/{hold.attempt} is not open: release a hold once, unless it is settled"
            )
        if wallets:
            self.wallets.settle(wallets, held.amount_nano_usd, 0)
        self._pending_nano_usd -= held.amount_nano_usd
        self._progress.pop(name, None)
        self._opened[segment] -= 1

    def saving(self, hold: Hold, usage: Usage, saved_nano_usd: int) -> None:
        """The memo of an answer from the cache. No provider was asked, so the journal has nothing to keep."""
        self._settled.append(Posting(hold, usage, saved_nano_usd, _SAVING, 0))

    def request(self, row: RequestRow) -> None:
        """A request's row in the log and on its page, once, at its end."""
        self._flusher.requests.append(row)

    def tend(self) -> None:
        """Twice a second, on the loop's thread."""
        down_us = self._clock() - self._flusher.down_since_us if self._flusher.down_since_us else 0
        long_down = down_us > self._grace_us and self._refuse_when_down
        self.wallets.refuses = "the database has been away for too long" if long_down else None
        self.wallets.tend()

    def troubles(self) -> tuple[str, ...]:
        """What keeps the books from taking paid requests, in sentences; none when all is well."""
        return (*self._flusher.troubles(), *((self._journal.trouble,) if self._journal.trouble else ()))

    def pending_nano_usd(self) -> int:
        return self._pending_nano_usd

    def pending(self) -> tuple[Hold, ...]:
        """The holds of requests in flight; any thread may ask."""
        return tuple(hold for hold, _, _ in (*self._reserved.values(), *self._dispatched.values()))

    def _fresh_name(self, hold: Hold) -> _Name:
        name = _name(hold)
        if name in self._dispatched or name in self._reserved:
            raise HoldNotOpen(f"{hold.request_id}/{hold.attempt} is held already: number the attempts of a request")
        if len(name[0]) > REQUEST_ID_CHARS_MAX:
            raise ValueError(f"request id {name[0]!r} is too long: use at most {REQUEST_ID_CHARS_MAX} characters")
        return name

    def _record(self, hold: Hold) -> bytes:
        price = hold[11]
        if price is not self._price:
            self._price, self._price_record = self._prices.get(id(price)) or self._encoded(price)
        return encode_hold(hold, self._price_record)

    def _opens(self, segment: int) -> int:
        """One more hold stands in that segment."""
        if segment != self._segment:
            self._rolled(segment)
        self._opened[segment] += 1
        return segment

    def _encoded(self, price: Price) -> tuple[Price, msgspec.Raw]:
        # Kept with the price itself, so that its identity stays its own.
        if len(self._prices) >= PRICES_MAX:
            self._prices.clear()
        self._prices[id(price)] = price, encode_price(price)
        return self._prices[id(price)]

    def _rolled(self, segment: int) -> None:
        """A new segment has begun: holds two behind move up, so that one long stream keeps no old one alive."""
        self._opened.setdefault(segment, 0)
        before, self._segment = self._segment, segment
        with suppress(JournalFull):
            for mark, holds in ((_R, self._reserved), (_RD, self._dispatched)):
                for name, (hold, old, wallets) in tuple(holds.items()):
                    if old < before:
                        self._move_up(mark, holds, name, (hold, old, wallets))

    def _move_up(self, mark: int, holds: dict[_Name, _Open], name: _Name, opened: _Open) -> None:
        hold, old, wallets = opened
        segment = self._journal.append(mark, self._record(hold))
        self._opened[segment] = self._opened.get(segment, 0) + 1
        holds[name] = hold, segment, wallets
        usage = self._progress.get(name)
        if usage is not None:
            self._journal.append(_P, encode((*name, usage)))
        self._opened[old] -= 1


def _name(hold: Any) -> _Name:
    name: _Name = hold[:2]
    return name


def _at_once(callback: Callable[[], None]) -> None:
    callback()


def _never(_delay_ms: int, _callback: Callable[[], None]) -> None:
    """Without a loop nothing happens later; `Wallets.tend` is called by whoever has the time."""


def _nobody(_ids: Sequence[int]) -> None:
    """No other worker to ask."""


def _overrun(hold: Hold, cost_nano_usd: int) -> None:
    """The one way in which a budget is overspent: told at once."""
    _logger.error(
        "%s/%d: %s/%s billed %d nano-USD, %d beyond the bound that it was sent: an overrun, look into its limits",
        *hold[:2],
        hold.provider,
        hold.model,
        cost_nano_usd,
        cost_nano_usd - hold.amount_nano_usd,
    )


def _bounded(hold: Hold, usage: Usage, cost_nano_usd: int) -> tuple[Usage, int]:
    """An absurd report must not keep its batch, and all after it, out of the ledger; it is told instead."""
    _logger.error(
        "%s/%d: %s reported %s at %d nano-USD, which cannot be: the figures are cut to what can",
        *hold[:2],
        hold.provider,
        usage,
        cost_nano_usd,
    )
    return Usage(*(min(max(tokens, 0), TOKENS_MAX) for tokens in usage)), min(max(cost_nano_usd, 0), COST_NANO_USD_MAX)
