"""How a budget burns down, against the even pace that would make it last until its reset. Whole numbers, pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from gateway.admin.instant import at_us
from gateway.admin.pages.figures import local
from gateway.admin.pages.plot import BurnDown
from gateway.admin.pages.views import Account, Budget

HOUR_US: Final = 3600 * 1_000_000


class Pace(NamedTuple):
    even_nano_usd: int  # what an even pace would have spent by now
    ahead_nano_usd: int  # spent beyond it; below zero: spared
    lasts_until_us: int | None  # at the present rate; None: beyond the reset, or nothing is spent yet


def pace_of(account: Account, now_us: int) -> Pace | None:
    """None where there is none: without an end, or without a limit."""
    if account.end_us is None or not account.limit_nano_usd:
        return None
    limit, spent = account.limit_nano_usd, account.posted_nano_usd
    length_us = account.end_us - account.start_us
    elapsed_us = min(max(now_us - account.start_us, 0), length_us)
    even = limit * elapsed_us // length_us
    lasts_until_us = account.start_us + elapsed_us * limit // spent if spent else None
    if lasts_until_us is not None and lasts_until_us >= account.end_us:
        lasts_until_us = None
    return Pace(even, spent - even, lasts_until_us)


def picture_of(
    budget: Budget, account: Account, history: Sequence[tuple[int, int]], now_us: int, zone: ZoneInfo
) -> BurnDown:
    """`history` is what was spent since the plot's start, by instants; it ends in what the account says now."""
    limit = account.limit_nano_usd
    assert limit is not None
    start_us = history[0][0] if history else account.start_us
    end_us = account.end_us or max(now_us, start_us + 1)
    points = [(at, limit - spent) for at, spent in history if at <= now_us]
    points.append((min(now_us, end_us), limit - account.posted_nano_usd))
    soft = None if budget.soft_limit_nano_usd is None else limit - budget.soft_limit_nano_usd
    return BurnDown(
        start_us, end_us, now_us, limit, soft, tuple(points), marks(start_us, end_us, zone), account.end_us is not None
    )


def marks(start_us: int, end_us: int, zone: ZoneInfo) -> tuple[tuple[int, str], ...]:
    """Where the axis is labelled: days, or hours within a day."""
    length_us = end_us - start_us
    if length_us > 26 * HOUR_US:
        step, name = timedelta(days=1), "%b %-d"
    else:
        step, name = (timedelta(hours=1) if length_us > 2 * HOUR_US else timedelta(minutes=15)), "%H:%M"
    moment = local(start_us, zone).replace(second=0, microsecond=0)
    found = []
    while (here := at_us(moment)) <= end_us:
        if here >= start_us:
            found.append((here, moment.strftime(name)))
        moment = _later(moment, step)
    return tuple(found)


def _later(moment: datetime, step: timedelta) -> datetime:
    """A day later is the same time on the clock, an hour later an hour later."""
    if step >= timedelta(days=1):
        return moment.replace(fold=0) + step
    zone = moment.tzinfo
    return (moment.astimezone(UTC) + step).astimezone(zone)
