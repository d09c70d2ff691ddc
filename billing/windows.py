"""A budget's windows: which span of time an instant belongs to, in the budget's own time zone. Pure."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo


class Window(StrEnum):
    TOTAL = "total"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@lru_cache(maxsize=1024)
def span(window: Window, timezone: str, at_us: int) -> tuple[int, int | None]:
    if window is Window.TOTAL:
        return 0, None
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(at_us // 1_000_000, zone)
    if window is Window.HOUR:
        start_us = at_us - at_us % 3_600_000_000
        return start_us, start_us + 3_600_000_000
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    if window is Window.DAY:
        end = day + timedelta(days=1)
    elif window is Window.WEEK:
        day -= timedelta(days=day.weekday())
        end = day + timedelta(days=7)
    else:
        day = day.replace(day=1)
        end = (day + timedelta(days=32)).replace(day=1)
    return _us(day, zone), _us(end, zone)


def _us(local: datetime, zone: ZoneInfo) -> int:
    return int(local.replace(tzinfo=zone).astimezone(UTC).timestamp()) * 1_000_000
