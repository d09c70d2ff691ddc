"""The counts of one gateway's workers, in a file that all of them map into memory, under a lock of the kernel's.

A worker that dies leaves no lock behind, and what it had under way stands in a column of its own, cleared when its
successor opens the file or its parent says that it is gone. Nothing here is money: a worker that is stopped while it
holds the lock must not stop the others, so after a while they count without it.
"""

import fcntl
import mmap
import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Final

from billing.counters import SUBJECTS_MAX
from billing.rates import Count, Decision, Subject, decide, finish

FORMAT: Final = b"turnpike limits 1"
# The seats of a subject are those of its row; there it is looked for, and there the longest idle makes room.
ROW_SEATS: Final = 8
HINTS_MAX: Final = 100_000
# How long a request waits for the lock before it counts without, and how long the lock is then left alone.
LOCK_US_MAX: Final = 20_000
STUCK_US: Final = 1_000_000
TRIES_BEFORE_SLEEP: Final = 50
SLEEP_US: Final = 200

_HEAD: Final = Struct("<24sqq")
_HEAD_BYTES: Final = 64
_SEAT: Final = Struct("<16sqqq")  # whose, when, requests, tokens
_FIGURES: Final = Struct("<qqq")
_FIGURES_AT: Final = 16
_RUNNING: Final = Struct("<i")
_EMPTY: Final = bytes(16)
_RUNNING_MAX: Final = 2**31 - 1


class SharedCounters:
    """One worker's hands on the file. `monotonic_us` and `sleep_us` are for waiting at the lock alone."""

    def __init__(
        self,
        file: Path,
        index: int,
        workers: int,
        *,
        monotonic_us: Callable[[], int],
        sleep_us: Callable[[int], None],
        subjects_max: int = SUBJECTS_MAX,
    ) -> None:
        self._index = index
        self._workers = workers
        self._monotonic_us = monotonic_us
        self._sleep_us = sleep_us
        self._rows = max(subjects_max // ROW_SEATS, 1)
        self._seats = self._rows * ROW_SEATS
        self._columns_at = _HEAD_BYTES + self._seats * _SEAT.size
        self._stuck_until_us = 0
        self._hints: dict[str, tuple[bytes, int]] = {}
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._map = self._opened()
        self.gone(index)

    def admit(self, subjects: tuple[Subject, ...], tokens: int, prompt: int, now_us: int) -> Decision:
        locked = self._lock()
        try:
            seats = self._seats_of(subjects, now_us)
            counts = [self._read(seat) for seat in seats]
            before = [count.running for count in counts]
            decision = decide(subjects, counts, tokens, prompt, now_us)
            for place, seat in enumerate(seats):
                self._write(seat, counts[place], counts[place].running - before[place])
        finally:
            if locked:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        return decision

    def end(self, subjects: tuple[Subject, ...], estimate: int, used: int, begun_us: int, now_us: int) -> None:
        locked = self._lock()
        try:
            for place, seat in enumerate(self._seats_of(subjects, now_us)):
                count = self._read(seat)
                finish(subjects[place], count, estimate, used, begun_us, now_us)
                self._write(seat, count, -1)
        finally:
            if locked:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def tracked(self) -> int:
        starts = range(_HEAD_BYTES, self._columns_at, _SEAT.size)
        return sum(self._map[start : start + 16] != _EMPTY for start in starts)

    def gone(self, index: int) -> None:
        """A worker has died: none of its requests is under way any more."""
        start = self._columns_at + index * self._seats * _RUNNING.size
        self._map[start : start + self._seats * _RUNNING.size] = bytes(self._seats * _RUNNING.size)

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)

    def _opened(self) -> mmap.mmap:
        """The file as this gateway has it. Made anew where it is of an earlier one with another number of workers,
        which has ended: none of this gateway's has it mapped yet.
        """
        size = self._columns_at + self._workers * self._seats * _RUNNING.size
        head = _HEAD.pack(FORMAT, self._seats, self._workers)
        locked = self._lock()
        try:
            if os.pread(self._fd, _HEAD.size, 0) != head or os.fstat(self._fd).st_size != size:
                os.ftruncate(self._fd, 0)
                os.ftruncate(self._fd, size)
                os.pwrite(self._fd, head, 0)
            return mmap.mmap(self._fd, size)
        finally:
            if locked:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        """False: somebody stands still with it, and nobody waits for that."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._wait_for_lock()
        return True

    def _wait_for_lock(self) -> bool:
        begun_us = self._monotonic_us()
        tries = 0
        while begun_us >= self._stuck_until_us:
            tries += 1
            if tries > TRIES_BEFORE_SLEEP:
                self._sleep_us(SLEEP_US)
            else:
                os.sched_yield()
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now_us = self._monotonic_us()
                if now_us - begun_us > LOCK_US_MAX:
                    self._stuck_until_us = now_us + STUCK_US
                    return False
            else:
                return True
        return False

    def _seats_of(self, subjects: tuple[Subject, ...], now_us: int) -> list[int]:
        taken: list[int] = []
        for subject in subjects:
            mark, seat = self._hints.get(subject.id) or self._hint(subject.id)
            start = _HEAD_BYTES + seat * _SEAT.size
            if self._map[start : start + 16] != mark:
                seat = self._seat(mark, now_us, taken)
                self._hints[subject.id] = mark, seat
            taken.append(seat)
        return taken

    def _hint(self, name: str) -> tuple[bytes, int]:
        if len(self._hints) >= HINTS_MAX:
            self._hints.clear()
        mark = blake2b(name.encode(), digest_size=16).digest()
        hint = self._hints[name] = mark, self._row(mark)
        return hint

    def _row(self, mark: bytes) -> int:
        return int.from_bytes(mark[:8], "little") % self._rows * ROW_SEATS

    def _seat(self, mark: bytes, now_us: int, taken: list[int]) -> int:
        """Its seat in its row; else an empty one; else that of who has been idle for longest. A row of nothing but
        requests under way gives up its longest unchanged: what is counted wrong then is concurrency, for a while.
        """
        first = self._row(mark)
        best, best_rank = first, (2, 0)
        for seat in range(first, first + ROW_SEATS):
            start = _HEAD_BYTES + seat * _SEAT.size
            whose = self._map[start : start + 16]
            if whose == mark:
                return seat
            if seat in taken:
                continue
            at_us = _FIGURES.unpack_from(self._map, start + _FIGURES_AT)[0]
            rank = (-1, 0) if whose == _EMPTY else (int(self._running(seat) > 0), at_us)
            if rank < best_rank:
                best, best_rank = seat, rank
        _SEAT.pack_into(self._map, _HEAD_BYTES + best * _SEAT.size, mark, now_us, 0, 0)
        for index in range(self._workers):
            _RUNNING.pack_into(self._map, self._column(index, best), 0)
        return best

    def _column(self, index: int, seat: int) -> int:
        return self._columns_at + (index * self._seats + seat) * _RUNNING.size

    def _running(self, seat: int) -> int:
        total = 0
        for index in range(self._workers):
            total += _RUNNING.unpack_from(self._map, self._column(index, seat))[0]
        return total

    def _read(self, seat: int) -> Count:
        at_us, requests, tokens = _FIGURES.unpack_from(self._map, _HEAD_BYTES + seat * _SEAT.size + _FIGURES_AT)
        return Count(requests, tokens, self._running(seat), at_us)

    def _write(self, seat: int, count: Count, begun: int) -> None:
        start = _HEAD_BYTES + seat * _SEAT.size + _FIGURES_AT
        _FIGURES.pack_into(self._map, start, count.at_us, count.requests, count.tokens)
        if begun:
            own = self._column(self._index, seat)
            running = _RUNNING.unpack_from(self._map, own)[0] + begun
            _RUNNING.pack_into(self._map, own, min(max(running, 0), _RUNNING_MAX))
