"""Cuts a report's span into whole quarter hours, which are summed already, and edges, which are not. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

QUARTER_US: Final = 15 * 60 * 1_000_000
QUARTERS_A_DAY: Final = 96
DAYS_MAX: Final = 3660  # in one report by day

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class SpanTooLong(ValueError):
    """A report by day over more days than anybody reads."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Quarters from `first` to before `end`, and the spans left and right of them, each possibly empty."""

    first_quarter: int
    end_quarter: int
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """Days of UTC from `first` to before `end`, and the quarters that are to be added to them and taken from them."""

    first: int
    end: int
    more: tuple[tuple[int, int], ...]
    less: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar day of some time zone as a span of instants; 23 to 25 hours, most of them 24."""

    name: str
    from_at_us: int
    to_at_us: int


def cut(from_at_us: int, to_at_us: int) -> Cut:
    """`from` inclusive, `to` exclusive, at any microsecond."""
    first, end = -(-from_at_us // QUARTER_US), to_at_us // QUARTER_US
    if first >= end:
        return Cut(first, first, ((from_at_us, to_at_us),) if from_at_us < to_at_us else ())
    edges = ((from_at_us, first * QUARTER_US), (end * QUARTER_US, to_at_us))
    return Cut(first, end, tuple(edge for edge in edges if edge[0] < edge[1]))


def whole_days(first_quarter: int, end_quarter: int) -> Whole:
    """The days of UTC that come nearest to a span of quarters; where a day's larger part is in it, the whole of it."""
    first, cut_left = divmod(first_quarter, QUARTERS_A_DAY)
    end, cut_right = divmod(end_quarter, QUARTERS_A_DAY)
    more: list[tuple[int, int]] = []
    less: list[tuple[int, int]] = []
    if cut_left > QUARTERS_A_DAY // 2:
        first += 1
        more.append((first_quarter, first * QUARTERS_A_DAY))
    elif cut_left:
        less.append((first * QUARTERS_A_DAY, first_quarter))
    if cut_right > QUARTERS_A_DAY // 2:
        end += 1
        less.append((end_quarter, end * QUARTERS_A_DAY))
    elif cut_right:
        more.append((end * QUARTERS_A_DAY, end_quarter))
    if first >= end:
        return Whole(first, first, ((first_quarter, end_quarter),) if first_quarter < end_quarter else (), ())
    return Whole(first, end, tuple(more), tuple(less))


def days(from_at_us: int, to_at_us: int, zone: ZoneInfo) -> Iterator[Day]:
    """The days that the span touches, each cut to it."""
    day = _day_of(from_at_us, zone)
    if (_day_of(max(to_at_us - 1, from_at_us), zone) - day).days >= DAYS_MAX:
        raise SpanTooLong(f"more than {DAYS_MAX} days: give `from` and `to`, or leave `day` out of the columns")
    while (starts := _starts(day, zone)) < to_at_us:
        following = day + timedelta(days=1)
        ends = _starts(following, zone)
        if max(starts, from_at_us) < min(ends, to_at_us):
            yield Day(day.isoformat(), max(starts, from_at_us), min(ends, to_at_us))
        day = following


def day_span(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """A calendar day as instants: from, and to before."""
    return _starts(day, zone), _starts(day + timedelta(days=1), zone)


def _day_of(at_us: int, zone: ZoneInfo) -> date:
    return (_EPOCH + at_us * _MICROSECOND).astimezone(zone).date()


def _starts(day: date, zone: ZoneInfo) -> int:
    # Where clocks jump over midnight the day begins at the jump: `fold=0` of a time that never was is before it, and
    # the instant is the same.
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (midnight.astimezone(UTC) - _EPOCH) // _MICROSECOND
