"""Instants as people write them: RFC 3339 in UTC outwards, an instant or a day of some time zone inwards. Pure."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# A `+` in a query string arrives as a blank when it was not escaped.
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)([Zz]|[+ -]\d\d:\d\d)?", re.ASCII)
_MICROSECOND: Final = timedelta(microseconds=1)


def instant_text(at_us: int) -> str:
    """Always with microseconds, so that two of them compare as text."""
    text = (_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def optional_text(at_us: int | None) -> str | None:
    return None if at_us is None else instant_text(at_us)


def at_us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def bound_at_us(text: str, zone: ZoneInfo) -> int:
    """A day begins at its midnight in `zone`; an instant without an offset is meant there, too."""
    if _DAY.fullmatch(text):
        return at_us(datetime.combine(date.fromisoformat(text), datetime.min.time(), zone))
    if not (found := _INSTANT.fullmatch(text)):
        raise ValueError("send a day as `2026-11-25` or an instant as `2026-11-25T08:00:00Z`")
    moment = datetime.fromisoformat(found[1] + (found[2] or "").replace(" ", "+"))
    return at_us(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def midnight_at_us(now_at_us: int) -> int:
    day_us = 24 * 3600 * 1_000_000
    return now_at_us - now_at_us % day_us


def day_text(at: int, zone: ZoneInfo) -> str:
    return (_EPOCH + timedelta(microseconds=at)).astimezone(zone).date().isoformat()
