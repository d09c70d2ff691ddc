"""A budget's windows: which span of time an instant belongs to, in the budget's own time zone. Pure.

A day begins with its first instant: where clocks jump over midnight at the jump, where midnight comes twice at the
first. Weeks begin on Mondays. An hour is one of the local clock; where clocks shift by a part of an hour, it is cut.
"""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from billing.usage_span import QUARTER_US

HOUR_US: Final = 3_600_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HOUR: Final = timedelta(hours=1)


class Window(StrEnum):
    TOTAL = "total"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def known_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def span(window: Window, timezone: str, at_us: int) -> tuple[int, int | None]:
    """From its first instant to before its last; None: it never ends."""
    if window is Window.TOTAL:
        return 0, None
    # Every boundary of a time zone's calendar today is a whole quarter hour of UTC: within one, all instants are alike.
    return _span(window, timezone, at_us // QUARTER_US)


@lru_cache(maxsize=4096)
def _span(window: Window, timezone: str, quarter: int) -> tuple[int, int]:
    zone = ZoneInfo(timezone)
    at_us = quarter * QUARTER_US
    if window is Window.HOUR:
        return _hour(at_us, zone)
    day = _local(at_us, zone).date()
    if window is Window.DAY:
        end = day + timedelta(days=1)
    elif window is Window.WEEK:
        day -= timedelta(days=day.weekday())
        end = day + timedelta(days=7)
    else:
        day = day.replace(day=1)
        end = (day + timedelta(days=31)).replace(day=1)
    return _starts(day, zone), _starts(end, zone)


def _hour(at_us: int, zone: ZoneInfo) -> tuple[int, int]:
    offset = _local(at_us, zone).utcoffset()
    assert offset is not None
    start_us = at_us - (at_us + offset // _MICROSECOND) % HOUR_US
    end_us = start_us + HOUR_US
    alike = [one for one in range(start_us, end_us, QUARTER_US) if not (_offset_at(one, zone) - offset) % _HOUR]
    return alike[0], alike[-1] + QUARTER_US


def _offset_at(at_us: int, zone: ZoneInfo) -> timedelta:
    return _local(at_us, zone).utcoffset() or timedelta()


def _local(at_us: int, zone: ZoneInfo) -> datetime:
    return (_EPOCH + at_us * _MICROSECOND).astimezone(zone)


def _starts(day: date, zone: ZoneInfo) -> int:
    # `fold=0` of a midnight that never was is the offset before the jump, and so the jump itself.
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (midnight.astimezone(UTC) - _EPOCH) // _MICROSECOND
