"""Tells a journal that was harmed from one that merely ends where its process was killed.

A kill breaks the last record at the most, one that nobody had acted on. Where a broken record has whole ones behind
it, or another segment, or where a segment is missing, money may have been spent that the journal no longer tells of:
its leases stay as they are until a person closes them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from billing.journal import segment_number
from billing.journal_records import END, FRAME, MAGIC, beyond, records


@dataclass(frozen=True, slots=True)
class Damage:
    """A place from which on a journal cannot be relied upon."""

    path: Path
    at: int
    sentence: str


@dataclass(frozen=True, slots=True)
class _Seen:
    path: Path
    end: int  # of its whole records
    begun: bool
    broken: bool  # what stands there is no clean end
    whole_at: int | None  # where a whole record follows nevertheless


def damage(left: Sequence[Path]) -> tuple[Damage, ...]:
    """Of segments in their order. None: every attempt that was dispatched is told of."""
    seen = [_look(path) for path in left]
    last = max((place for place, segment in enumerate(seen) if segment.begun), default=0)
    found = [harm for place, segment in enumerate(seen) for harm in _harm(segment, followed=place < last)]
    for before, after in pairwise(left):
        if segment_number(after) != segment_number(before) + 1:
            missing = before.with_name(f"{segment_number(before) + 1:012d}.tpj")
            found.append(Damage(missing, 0, "this segment is missing between two others"))
    return tuple(found)


def set_aside(left: Sequence[Path]) -> Path:
    """Moves a damaged journal's segments out of the way, for whoever can make more of them."""
    aside = left[0].parent / f"unreadable-{left[0].stem}"
    aside.mkdir(mode=0o700, exist_ok=True)
    for path in left:
        path.rename(aside / path.name)
    return aside


def _look(path: Path) -> _Seen:
    image, end, number = path.read_bytes(), len(MAGIC), segment_number(path)
    for record in records(image, number):
        end += FRAME.size + len(record.payload)
    if not image.startswith(MAGIC):
        # A segment of zeros was never begun: its maker was killed before it was.
        harmed = bool(image.strip(b"\0"))
        return _Seen(path, 0, harmed, harmed, None)
    whole_at = next((place for place, _ in beyond(image, number, end)), None)
    return _Seen(path, end, end > len(MAGIC) or whole_at is not None, not image.startswith(END, end), whole_at)


def _harm(segment: _Seen, *, followed: bool) -> Iterator[Damage]:
    if segment.broken and not segment.end:
        yield Damage(segment.path, 0, "its first bytes are not a journal's")
    elif segment.whole_at is not None:
        told = f"the record at byte {segment.end} is broken, and whole ones follow from byte {segment.whole_at} on"
        yield Damage(segment.path, segment.end, told)
    elif followed and segment.broken:
        yield Damage(segment.path, segment.end, f"the record at byte {segment.end} is broken, and a segment follows")
    elif followed and not segment.begun:
        yield Damage(segment.path, segment.end, "it is empty, and a segment with records follows")
