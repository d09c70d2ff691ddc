"""Money as text and back, exactly: amounts are integers of nano-USD, prices integers of pico-USD per token."""

import re
from decimal import Decimal
from typing import Final

NANO_PER_USD: Final = 1_000_000_000
AMOUNT_NANO_USD_MAX: Final = 2**63 - 1  # what a database column holds: nine billion dollars
PRICE_DIGITS_MAX: Final = 9  # above a billion dollars per million tokens a price is a typing error

_USD: Final = re.compile(r"(-?)([0-9]{1,10})(?:\.([0-9]{1,9}))?", re.ASCII)


def usd_text(nano_usd: int) -> str:
    """Nine decimals and no exponent, so that a program may compare the text and a person may read it."""
    whole, part = divmod(abs(nano_usd), NANO_PER_USD)
    return f"{'-' if nano_usd < 0 else ''}{whole}.{part:09d}"


def parse_usd(text: str) -> int:
    match = _USD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount in USD: write digits with at most nine decimals, as in 12.50")
    sign, whole, part = match.groups(default="")
    nano_usd = int(whole) * NANO_PER_USD + int(part.ljust(9, "0"))
    if nano_usd > AMOUNT_NANO_USD_MAX:
        raise ValueError(f"{text} USD is more than the ledger can hold: stay below {usd_text(AMOUNT_NANO_USD_MAX)}")
    return -nano_usd if sign else nano_usd


def pico_usd_per_token(usd_per_million: Decimal) -> int:
    """Dollars per million tokens times 10**6; a price that is no whole pico-USD would have to be rounded: refused."""
    if not usd_per_million.is_finite() or usd_per_million < 0:
        raise ValueError(f"a price of {usd_per_million} USD per million tokens means nothing: give zero or more")
    if usd_per_million.adjusted() > PRICE_DIGITS_MAX:
        raise ValueError(f"{usd_per_million} USD per million tokens is no price: check the unit")
    # A quotient of integers, not Decimal arithmetic: that would round at the context's 28 digits, silently.
    numerator, denominator = usd_per_million.as_integer_ratio()
    pico_usd, rest = divmod(numerator * 1_000_000, denominator)
    if rest:
        raise ValueError(
            f"{usd_per_million} USD per million tokens is finer than a pico-USD: give at most six decimals"
        )
    return pico_usd
