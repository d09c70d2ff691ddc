"""What an attempt costs and what it can cost at most: sums in pico-USD, exact, and one rounding at the end."""

from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates for a prompt longer than `above_input_tokens`: the whole prompt and its answer take them.

    `None` means: as the base price has it, unless the base does not price that kind apart from plain input or output;
    then it follows the tier's.
    """

    above_input_tokens: int
    input_pico_usd: int
    cached_input_pico_usd: int
    output_pico_usd: int
    cache_write_pico_usd: int | None = None
    reasoning_pico_usd: int | None = None
    audio_input_pico_usd: int | None = None
    audio_output_pico_usd: int | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """A version of a price: a hold pins it, so a change in mid-request cannot change a bill."""

    version: str
    input_pico_usd: int
    output_pico_usd: int
    cached_input_pico_usd: int
    cache_write_pico_usd: int
    reasoning_pico_usd: int
    audio_input_pico_usd: int
    audio_output_pico_usd: int
    request_nano_usd: int = 0
    tiers: tuple[Tier, ...] = ()


FREE: Final = Price("free", 0, 0, 0, 0, 0, 0, 0)
# A call that nobody has priced yet costs nothing today, stands against a suspense account and can be repriced.
UNPRICED: Final = Price("unpriced", 0, 0, 0, 0, 0, 0, 0)


class Usage(NamedTuple):
    """Cached, cache-write and audio tokens are parts of the input, reasoning and audio tokens parts of the output."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0


def cost_nano_usd(usage: Usage, price: Price) -> int:
    """The pico sum, rounded once, half even."""
    fresh, cached, written, plain, reasoning, heard, spoken = usage
    if price.tiers:
        price = at_length(price, fresh)
    pico_usd = price.request_nano_usd * 1000
    # Most answers have neither part: the two branches saved 0.2 us of 0.6 on them.
    if cached or written or heard:
        # A provider that reports more parts than whole is billed for the parts.
        fresh = max(fresh - cached - written - heard, 0)
        pico_usd += (
            cached * price.cached_input_pico_usd
            + written * price.cache_write_pico_usd
            + heard * price.audio_input_pico_usd
        )
    if reasoning or spoken:
        plain = max(plain - reasoning - spoken, 0)
        pico_usd += reasoning * price.reasoning_pico_usd + spoken * price.audio_output_pico_usd
    pico_usd += fresh * price.input_pico_usd + plain * price.output_pico_usd
    nano_usd, rest = divmod(pico_usd, 1000)
    return nano_usd + (rest > 500 or (rest == 500 and nano_usd & 1))


def reservation_nano_usd(input_tokens_max: int, output_tokens_max: int, price: Price) -> int:
    """No usage within the two bounds costs more: the dearest rate that the prompt can reach, rounded up."""
    dearest_in, dearest_out = _dearest_reachable(input_tokens_max, price)
    pico_usd = input_tokens_max * dearest_in + output_tokens_max * dearest_out
    return price.request_nano_usd - (-pico_usd // 1000)


def output_within(amount_nano_usd: int, input_tokens_max: int, price: Price) -> int | None:
    """How many tokens of output a reservation of that amount has room for; None where output costs nothing."""
    dearest_in, dearest_out = _dearest_reachable(input_tokens_max, price)
    if not dearest_out:
        return None
    left_pico_usd = (amount_nano_usd - price.request_nano_usd) * 1000 - input_tokens_max * dearest_in
    return max(left_pico_usd // dearest_out, 0)


def at_length(price: Price, input_tokens: int) -> Price:
    """The rates in force for a prompt of that length, without tiers."""
    reached = [tier for tier in price.tiers if tier.above_input_tokens < input_tokens]
    return _taking(price, max(reached, key=lambda tier: tier.above_input_tokens)) if reached else price


def _taking(price: Price, tier: Tier) -> Price:
    def part(own: int | None, base: int, base_whole: int, whole: int) -> int:
        if own is not None:
            return own
        return whole if base == base_whole else base

    inp, out = price.input_pico_usd, price.output_pico_usd
    tier_in, tier_out = tier.input_pico_usd, tier.output_pico_usd
    return Price(
        price.version,
        tier_in,
        tier_out,
        tier.cached_input_pico_usd,
        part(tier.cache_write_pico_usd, price.cache_write_pico_usd, inp, tier_in),
        part(tier.reasoning_pico_usd, price.reasoning_pico_usd, out, tier_out),
        part(tier.audio_input_pico_usd, price.audio_input_pico_usd, inp, tier_in),
        part(tier.audio_output_pico_usd, price.audio_output_pico_usd, out, tier_out),
        price.request_nano_usd,
    )


def _dearest_reachable(input_tokens_max: int, price: Price) -> tuple[int, int]:
    dearest_in, dearest_out = _dearest(price)
    for tier in price.tiers:
        if tier.above_input_tokens < input_tokens_max:
            tier_in, tier_out = _dearest(_taking(price, tier))
            dearest_in, dearest_out = max(dearest_in, tier_in), max(dearest_out, tier_out)
    return dearest_in, dearest_out


def _dearest(price: Price) -> tuple[int, int]:
    return (
        max(
            price.input_pico_usd,
            price.cached_input_pico_usd,
            price.cache_write_pico_usd,
            price.audio_input_pico_usd,
        ),
        max(price.output_pico_usd, price.reasoning_pico_usd, price.audio_output_pico_usd),
    )
