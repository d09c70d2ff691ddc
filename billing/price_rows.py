"""A price that people gave, with the instant from which it counts: as a row, as a document, and in integers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final

import msgspec

from billing.money import AMOUNT_NANO_USD_MAX, parse_usd, pico_usd_per_token
from billing.price import Price
from billing.price_table import UsdRow, UsdTier, price_from_row

# Dollars per million tokens, each a part of `input` or of `output`.
RATES: Final = ("input", "output", "cached_input", "cache_write", "reasoning", "audio_input", "audio_output")
TIERS_MAX: Final = 32
TOKENS_MAX: Final = 2**53
NAME_CHARACTERS_MAX: Final = 256
AMOUNT_DIGITS_MAX: Final = 18
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(UsdRow).decode


class BadPrice(ValueError):
    """A price that cannot be kept as it was written; the message names the field."""


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """One row of the list. `team_id` None: everybody's. A retired one (`deleted_at_us`) prices nothing any more."""

    id: str
    provider: str
    model: str
    team_id: str | None
    rates: UsdRow
    effective_at_us: int
    source: str
    created_at_us: int
    deleted_at_us: int | None = None

    @property
    def version(self) -> str:
        """What a ledger row says of its price: where it came from, since when it counts, which row it is."""
        return f"{self.source}/{self.provider}/{self.model}@{utc_text(self.effective_at_us)}#{self.id}"

    def price(self) -> Price:
        return price_from_row(self.version, self.rates)


def utc_text(at_us: int) -> str:
    """As short as it can be exactly: `2026-12-01`, `2026-12-01T08:30:00Z`."""
    text = (_EPOCH + timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")
    return text.removesuffix("T00:00:00Z")


def rates_of(fields: Mapping[str, object]) -> UsdRow:
    """Rates out of text or decimals, complete and exact, or `BadPrice`. What is no rate is refused by name."""
    _only(fields, {*RATES, "request", "tiers"})
    tiers = fields.get("tiers") or ()
    if not isinstance(tiers, Sequence) or isinstance(tiers, str) or len(tiers) > TIERS_MAX:
        raise BadPrice(f"tiers: give a list of at most {TIERS_MAX}")
    rates = {name: _rate(name, fields.get(name)) for name in RATES}
    for name in ("input", "output"):
        if rates[name] is None:
            raise BadPrice(f"{name}: is missing; give USD per million tokens, 0 where there are none")
    row = UsdRow(
        **rates,  # type: ignore[arg-type]  # the two that must not be None are not
        request=_request(fields.get("request")),
        tiers=tuple(_tier(tier) for tier in tiers),
    )
    if any(low.above_input_tokens >= high.above_input_tokens for low, high in pairwise(row.tiers)):
        raise BadPrice("tiers: sort them by above_input_tokens, each once")
    return row


def fields_of(rates: UsdRow) -> dict[str, Any]:
    """As people write it: decimal text, and nothing of what was not given."""
    fields: dict[str, Any] = _given(rates)
    if rates.request is not None:
        fields["request"] = decimal_text(rates.request)
    if rates.tiers:
        fields["tiers"] = [{"above_input_tokens": tier.above_input_tokens, **_given(tier)} for tier in rates.tiers]
    return fields


def document_of(rates: UsdRow) -> str:
    """What the database keeps."""
    return _encode(fields_of(rates)).decode()


def rates_in(document: str) -> UsdRow:
    return _decode(document)


def decimal_text(value: Decimal) -> str:
    """Without exponent and without zeros that say nothing."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def _given(row: UsdRow | UsdTier) -> dict[str, Any]:
    return {name: decimal_text(value) for name in RATES if (value := getattr(row, name)) is not None}


def _only(fields: Mapping[str, object], known: set[str]) -> None:
    for name in fields:
        if name not in known:
            raise BadPrice(f"{name}: is no part of a price; known are {', '.join(sorted(known))}")


def _tier(fields: object) -> UsdTier:
    if not isinstance(fields, Mapping):
        raise BadPrice("tiers: each is an object with above_input_tokens and rates")
    _only(fields, {*RATES, "above_input_tokens"})
    above = fields.get("above_input_tokens")
    if isinstance(above, str) and above.isascii() and above.isdecimal():
        above = int(above)
    if not isinstance(above, int) or isinstance(above, bool) or not 0 < above <= TOKENS_MAX:
        raise BadPrice("tiers: above_input_tokens is a whole number of tokens, 1 or more")
    return UsdTier(above, **{name: _rate(f"tiers: {name}", fields.get(name)) for name in RATES})


def _rate(name: str, value: object) -> Decimal | None:
    found = _decimal(name, value)
    if found is not None:
        try:
            pico_usd_per_token(found)
        except ValueError as error:
            raise BadPrice(f"{name}: {error}") from None
    return found


def _request(value: object) -> Decimal | None:
    found = _decimal("request", value)
    if found is not None:
        try:
            nano_usd = parse_usd(format(found, "f"))
        except ValueError as error:
            raise BadPrice(f"request: {error}") from None
        if not 0 <= nano_usd <= AMOUNT_NANO_USD_MAX:
            raise BadPrice("request: a fee is zero or more USD")
    return found


def _decimal(name: str, value: object) -> Decimal | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise BadPrice(f'{name}: write the amount as decimal text, as in "2.50"')
    try:
        found = Decimal(value)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or abs(found.adjusted()) > AMOUNT_DIGITS_MAX:
        raise BadPrice(f"{name}: {str(value)[:40]!r} is no amount in USD; write it as in 2.50")
    return found


def pico_as_usd(pico_usd: int) -> Decimal:
    """Dollars per million tokens of a rate in pico-USD per token."""
    return Decimal(pico_usd).scaleb(-6)
