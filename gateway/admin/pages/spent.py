"""What was spent since the month began, in the zone that the reader has chosen: for lists and single pages."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from billing.store import UsageLine
from gateway.admin.instant import at_us
from gateway.admin.pages.figures import local
from gateway.admin.pages.loader import Loader
from gateway.admin.usage_report import Span


def this_month(now_at_us: int, zone: ZoneInfo) -> Span:
    today = local(now_at_us, zone).date()
    return Span(at_us(datetime(today.year, today.month, 1, tzinfo=zone)), None)


def month_by(loader: Loader, column: str, zone: ZoneInfo) -> Mapping[str, UsageLine]:
    """By id."""
    found = loader.usage((column,), this_month(loader.rooms.clock(), zone), zone, {})
    return {group[0]: line for group, line in found.items() if group[0] is not None}


def spent_in(loader: Loader, filters: Mapping[str, str], zone: ZoneInfo) -> UsageLine:
    found = loader.usage((), this_month(loader.rooms.clock(), zone), zone, filters)
    return found.get((), UsageLine())
