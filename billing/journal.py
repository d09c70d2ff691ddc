"""One worker's journal: an append is one copy into mapped, preallocated pages, so `kill -9` loses nothing.

What was appended stays in the page cache when the process dies. What a power cut may lose is `journal_sync`'s choice:
`os` seconds; `group` and `always` no attempt whose first byte went upstream, `always` no usage that was noted either.
"""

import fcntl
import logging
import mmap
import os
import re
import threading
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from billing.journal_records import END, FRAME, MAGIC, Record, beyond, records, seeds

SEGMENT_BYTES: Final = 16 * 1024 * 1024
JOURNAL_BYTES_MAX: Final = 256 * 1024 * 1024
RECORD_BYTES_MAX: Final = 16 * 1024
USAGE_RECORD_BYTES_MAX: Final = 320  # what a dispatched attempt is promised: room for its U or its X
SYNCS: Final = ("os", "group", "always")
SPARES: Final = 2  # segments ahead of need; one lasts 1.6 s at 25,000 requests a second

_crc32: Final = zlib.crc32
_pack: Final = FRAME.pack
_FRAME_BYTES: Final = FRAME.size

_logger: Final = logging.getLogger(__name__)
_NAME: Final = re.compile(r"([0-9]{12})\.tpj")


class JournalFull(Exception):
    """No preallocated room for another attempt; nothing was sent, nothing is lost."""


class JournalNotDurable(JournalFull):
    """The disk did not take the journal; nothing was sent."""


class JournalInUse(Exception):
    """Another process holds this journal."""


class JournalRecordTooLarge(ValueError):
    """A hold whose names and tags do not fit into a record."""


class _Segment(NamedTuple):
    number: int
    path: Path
    fd: int
    pages: mmap.mmap


class Journal:
    """`append` belongs to the event loop's thread, `tend` to the flusher's; a deque is between them."""

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        journal_bytes_max: int = JOURNAL_BYTES_MAX,
        sync: str = "os",
    ) -> None:
        if sync not in SYNCS:
            raise ValueError(f"journal_sync {sync!r} is not known: use one of {', '.join(SYNCS)}")
        if segment_bytes < 4 * RECORD_BYTES_MAX or journal_bytes_max < (1 + SPARES) * segment_bytes:
            raise ValueError(
                f"a journal of {journal_bytes_max} bytes in segments of {segment_bytes} is too small:"
                f" give each segment {4 * RECORD_BYTES_MAX} bytes and the whole {1 + SPARES} segments, at least"
            )
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._segments_max = journal_bytes_max // segment_bytes
        self._lock_fd: int | None = None
        self._spares: deque[_Segment] = deque()  # made by the flusher, not yet the writer's
        self._ready: deque[_Segment] = deque()  # the writer's, current first
        self._full: list[_Segment] = []
        self._last_number = 0
        self._seeds: dict[int, int] = {}
        self._always, self._durable = sync == "always", sync != "os"
        self._syncing = threading.RLock()
        self._doubtful: dict[int, _Segment] = {}  # those of which the disk may lack something, by their numbers
        self.trouble = ""
        self._limit = segment_bytes - len(END)
        # Bytes that may still be written once every promised usage record is. The margin pays for the tail of a
        # segment into which the next record did not fit.
        self._room = 0
        self._margin = len(MAGIC) + len(END) + RECORD_BYTES_MAX
        self._at = 0
        self.number = 0
        self.name = ""
        self._pages: mmap.mmap

    def open(self, fresh_name: str = "journal") -> tuple[Path, ...]:
        """Takes the lock and makes room. Answers the segments an earlier boot left, oldest first.

        A journal keeps the name that it was given first, by which leases tell where their holds are written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock_fd = _exclusively(self.directory / "lock")
        self.name = _named(self.directory / "name", fresh_name)
        left = segments(self.directory)
        self._last_number = max(map(segment_number, left), default=0)
        try:
            self.tend(0)
        except OSError:
            self.close()
            raise
        self._adopt()
        self._begin()
        return left

    def rename(self, name: str) -> str:
        """A new name, by which it leases from now on; answers the old one, whose leases are not its any more."""
        before, self.name = self.name, name
        (self.directory / "name").write_text(f"{name}\n")
        return before

    def append(self, mark: int, payload: bytes) -> int:
        """Writes a record that needs room of its own; answers its segment's number."""
        size = _FRAME_BYTES + len(payload)
        if size > self._room or size > RECORD_BYTES_MAX:
            self._find_room(size)
        self._room -= size
        return self._write(mark, payload, size)

    def append_promising(self, mark: int, payload: bytes) -> int:
        """Writes a D and sets room for its U aside, or refuses: then nothing may be sent. Raises `JournalNotDurable`
        with the D written, whose X has its room.
        """
        size = _FRAME_BYTES + len(payload)
        if size + USAGE_RECORD_BYTES_MAX > self._room or size > RECORD_BYTES_MAX:
            self._find_room(size, USAGE_RECORD_BYTES_MAX)
        self._room -= size + USAGE_RECORD_BYTES_MAX
        number = self._write(mark, payload, size)
        if self._always:
            self.sync()
        return number

    def append_promised(self, mark: int, payload: bytes) -> int:
        """Writes the U or X that an earlier `append_promising` has room for; never refused."""
        size = _FRAME_BYTES + len(payload)
        assert size <= USAGE_RECORD_BYTES_MAX, "a usage record outgrew its promise"
        self._room += USAGE_RECORD_BYTES_MAX - size
        number = self._write(mark, payload, size)
        if self._always:
            self._sync_or_doubt()  # it was sent and used: what it used is settled whatever the disk does
        return number

    def sync(self) -> None:
        """What was appended before outlives a power cut after. Any thread may ask. Raises `JournalNotDurable`.

        A segment is synced when it is left, so that the current one alone needs it, and those that failed.
        """
        with self._syncing:
            current, at = self._ready[0], self._at
            try:
                for segment in tuple(self._doubtful.values()):
                    # A kernel whose write has failed takes the pages for written: it is shown them once more.
                    _touch(segment.pages, at if segment is current else self._segment_bytes)
                    os.fdatasync(segment.fd)
                    del self._doubtful[segment.number]
                os.fdatasync(current.fd)
            except OSError as error:
                self._doubtful[current.number] = current
                if not self.trouble:
                    _logger.exception(
                        "the journal in %s cannot be written to its disk: repair or replace it", self.directory
                    )
                self.trouble = f"the disk of the journal took nothing ({error.strerror}): see the log"
                raise JournalNotDurable(self.trouble) from error
            self.trouble = ""

    def _sync_or_doubt(self) -> None:
        """The same where nothing can be refused any more: the next `sync` comes back to what this one left."""
        with suppress(JournalNotDurable):
            self.sync()

    def tend(self, done_below: int) -> None:
        """Keeps spare segments ready and frees those with a number below `done_below`, all posted."""
        if self._doubtful:
            self._sync_or_doubt()
        while self._full and self._full[0].number < done_below:
            self._reuse(self._full.pop(0))
        while self._ahead() < SPARES and self._made() < self._segments_max:
            self._spares.append(self._new())

    def full_numbers(self) -> tuple[int, ...]:
        return tuple(segment.number for segment in tuple(self._full))

    def close(self) -> None:
        """Lets go of files and lock. What was appended stays; `discard` is for a journal whose rows are all posted."""
        for segment in (*self._full, *self._ready, *self._spares):
            _close(segment)
        self._full, self._room = [], 0
        self._ready.clear()
        self._spares.clear()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def discard(self) -> None:
        """Takes this boot's segments away: nothing in them is needed any more."""
        for segment in (*self._full, *self._ready, *self._spares):
            segment.path.unlink()
        self.close()

    def _write(self, mark: int, payload: bytes, size: int) -> int:
        end = self._at + size
        if end > self._limit:
            self._roll()
            end = self._at + size
        checksum = _crc32(payload, self._seeds[mark])
        # One assignment, the end mark included: a record is in the page cache whole before the next step.
        self._pages[self._at : end + 4] = _pack(size - _FRAME_BYTES, checksum, mark) + payload + END
        self._at = end
        return self.number

    def _find_room(self, size: int, promise: int = 0) -> None:
        if size > RECORD_BYTES_MAX:
            raise JournalRecordTooLarge(f"a hold of {size} bytes exceeds {RECORD_BYTES_MAX}: use fewer or shorter tags")
        self._adopt()
        if size + promise > self._room:
            raise JournalFull(
                f"the journal in {self.directory} has no room: the database takes no rows or the disk is full;"
                " see the log, and raise journal_bytes_max if the disk has more to give"
            )

    def _adopt(self) -> None:
        with suppress(IndexError):
            while True:
                self._ready.append(self._spares.popleft())
                self._room += self._segment_bytes - self._margin

    def _roll(self) -> None:
        # There is a next one: what does not fit here was let in by room, and the room left is all in those behind.
        self._room -= self._limit - RECORD_BYTES_MAX - self._at
        with self._syncing:
            if self._durable:
                # A hold may stand here and its D in the next, which alone will be synced from now on.
                self._sync_or_doubt()
            self._full.append(self._ready.popleft())
            self._begin()

    def _begin(self) -> None:
        segment = self._ready[0]
        self._seeds = seeds(segment.number)
        self._pages, self._at, self.number = segment.pages, len(MAGIC), segment.number

    def _made(self) -> int:
        return len(self._full) + len(self._ready) + len(self._spares)

    def _ahead(self) -> int:
        return len(self._ready) - 1 + len(self._spares)

    def _new(self) -> _Segment:
        self._last_number += 1
        path = self.directory / f"{self._last_number:012d}.tpj"
        try:
            segment = _Segment(self._last_number, path, *_preallocated(path, self._segment_bytes))
        except OSError:
            path.unlink(missing_ok=True)
            # Numbers have no gaps, so that a segment that somebody took away is missed.
            self._last_number -= 1
            raise
        self._sync_names()
        return segment

    def _reuse(self, segment: _Segment) -> None:
        with self._syncing:
            self._doubtful.pop(segment.number, None)  # all of it is posted
        if self._ahead() >= SPARES:
            _close(segment)
            segment.path.unlink()
            return
        # A used segment needs no new blocks: on a full disk this is what keeps paid routes open.
        self._last_number += 1
        path = self.directory / f"{self._last_number:012d}.tpj"
        segment.pages[len(MAGIC) : len(MAGIC) + len(END)] = END
        segment.path.rename(path)
        self._sync_names()
        self._spares.append(segment._replace(number=self._last_number, path=path))

    def _sync_names(self) -> None:
        """A file that a power cut has unnamed is lost, however well its bytes were kept."""
        if self._durable:
            fd = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def segments(directory: Path) -> tuple[Path, ...]:
    """The segments in a directory, oldest first."""
    return tuple(sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name)))


def segment_number(path: Path) -> int:
    return int(path.stem)


def read(left: Iterable[Path]) -> Iterator[Record]:
    """Everything that segments hold, in the order in which it was written; of damaged ones what is whole."""
    for path in left:
        image, number, end = path.read_bytes(), segment_number(path), len(MAGIC)
        for record in records(image, number):
            end += FRAME.size + len(record.payload)
            yield record
        if not image.startswith(END, end):
            # A kill in mid-copy leaves at most one of these, of a record that nobody had acted on.
            _logger.warning("%s: the record at byte %d is not whole", path, end)
        for _, record in beyond(image, number, end):
            yield record


def _exclusively(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise JournalInUse(
            f"{path.parent} belongs to a gateway that is running: stop it, or give this one its own state directory"
        ) from None
    return fd


def _named(path: Path, fresh_name: str) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.write_text(f"{fresh_name}\n")
        return fresh_name


def _touch(pages: mmap.mmap, end: int) -> None:
    """Makes every page up to there one that was changed. No byte before `end` is written by anybody else."""
    for at in range(0, end, mmap.PAGESIZE):
        pages[at : at + 1] = pages[at : at + 1]


def _close(segment: _Segment) -> None:
    segment.pages.close()
    os.close(segment.fd)


def _preallocated(path: Path, size: int) -> tuple[int, mmap.mmap]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
        pages = mmap.mmap(fd, size)
    except BaseException:
        os.close(fd)
        raise
    pages[: len(MAGIC)] = MAGIC
    return fd, pages
