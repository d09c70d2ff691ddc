"""How a page writes money, shares and instants: short for the eye, exact within reach, rounded once. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from billing.money import NANO_PER_USD, parse_usd, usd_text
from gateway.admin.instant import instant_text

EXACT_PLACES: Final = 9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# From this amount on, what lies behind the cents is noise to a reader.
_CENTS_SUFFICE_NANO_USD: Final = 100 * NANO_PER_USD
_CENT_NANO_USD: Final = NANO_PER_USD // 100


def nano(amount: int | str) -> int:
    """An amount as the books have it, or as the API writes it."""
    return parse_usd(amount) if isinstance(amount, str) else amount


def exact(amount: int | str) -> str:
    return usd_text(nano(amount))


def usd(amount: int | str, places: int | None = None) -> str:
    """Half even, as the books round; cents, and below a dollar four decimals. Something never reads as nothing."""
    nano_usd = nano(amount)
    if places is None:
        places = 4 if 0 < abs(nano_usd) < NANO_PER_USD else 2
    sign = "-" if nano_usd < 0 else ""
    unit = 10 ** (EXACT_PLACES - places)
    units = _half_even(abs(nano_usd), unit)
    if nano_usd and not units:
        return f"{sign}<$0.{'1'.rjust(places, '0')}"
    whole, part = divmod(units, 10**places)
    return f"{sign}${whole:,}.{part:0{places}d}"


def places_of(amounts: Iterable[int]) -> int:
    """Two decimals or four, the same for a whole column, so that its points stand under one another."""
    known = [abs(amount) for amount in amounts]
    if max(known, default=0) >= _CENTS_SUFFICE_NANO_USD or all(amount % _CENT_NANO_USD == 0 for amount in known):
        return 2
    return 4


def share_permille(part: int, whole: int) -> int:
    """Rounded down: a budget that is not used up never shows as 100 %."""
    return 1000 if whole <= 0 else max(0, part) * 1000 // whole


def percent_text(permille: int) -> str:
    return f"{permille // 10}.{permille % 10} %"


def local(at_us: int, zone: ZoneInfo) -> datetime:
    return (_EPOCH + timedelta(microseconds=at_us)).astimezone(zone)


def when(at_us: int, zone: ZoneInfo) -> str:
    return local(at_us, zone).strftime("%Y-%m-%d %H:%M")


def when_s(at_us: int, zone: ZoneInfo) -> str:
    return local(at_us, zone).strftime("%Y-%m-%d %H:%M:%S")


def at_us_of(instant: str) -> int:
    """Back from the API's own text."""
    return (datetime.fromisoformat(instant) - _EPOCH) // timedelta(microseconds=1)


def rfc3339(at_us: int) -> str:
    return instant_text(at_us)


def _half_even(amount: int, unit: int) -> int:
    units, rest = divmod(amount, unit)
    twice = 2 * rest
    return units + (twice > unit or (twice == unit and units % 2 == 1))
