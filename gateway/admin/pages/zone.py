"""The time zone that a person reads times in: chosen once, kept in a cookie, UTC until then. Pure."""

from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

COOKIE: Final = "turnpike_zone"
COOKIE_S_MAX: Final = 400 * 24 * 3600  # browsers keep none for longer
UTC: Final = ZoneInfo("UTC")
# Files of the system that are no place's zone, and names that stand for offsets alone.
_NO_PLACES: Final = ("Etc/", "SystemV/", "posix", "right", "localtime", "Factory")


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(maxsize=1)
def known_zones() -> tuple[str, ...]:
    places = sorted(name for name in available_timezones() if "/" in name and not name.startswith(_NO_PLACES))
    return ("UTC", *places)
