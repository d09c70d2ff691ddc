"""What a hosted provider charges, by its own price list and arithmetic: a second opinion on the gateway's books."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

PICO_PER_NANO: Final = 1000
# A dollar per million tokens is a millionth of a dollar per token, and a dollar has 10**12 pico.
PICO_PER_USD_PER_MILLION: Final = 10**6


@dataclass(frozen=True, slots=True)
class Tariff:
    """Dollars per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal
    reasoning: Decimal

    def as_configured(self) -> dict[str, Decimal]:
        """The same prices, in the words of `models: {name: [{price: …}]}`."""
        return {
            "input": self.input,
            "output": self.output,
            "cached_input": self.cached_input,
            "reasoning": self.reasoning,
        }


def tariff(
    input_usd: str, output_usd: str, cached_input_usd: str | None = None, reasoning_usd: str | None = None
) -> Tariff:
    """What is not named is charged like the whole that it is a part of."""
    return Tariff(
        Decimal(input_usd),
        Decimal(output_usd),
        Decimal(cached_input_usd or input_usd),
        Decimal(reasoning_usd or output_usd),
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """Cached ones are part of the input, reasoning ones part of the output."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0

    def document(self) -> dict[str, object]:
        """The `usage` object of a chat completion."""
        return {
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of the bill."""

    model: str
    tokens: Tokens
    cost_nano_usd: int


def cost_nano_usd(tokens: Tokens, prices: Tariff) -> int:
    """The attempt's cost, summed exactly and rounded once, half to even."""
    usd_per_million = (
        prices.input * (tokens.input - tokens.cached)
        + prices.cached_input * tokens.cached
        + prices.output * (tokens.output - tokens.reasoning)
        + prices.reasoning * tokens.reasoning
    )
    nano = usd_per_million * PICO_PER_USD_PER_MILLION / PICO_PER_NANO
    return int(nano.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def usd_text(nano_usd: int) -> str:
    """Nine decimals, no exponent."""
    return f"{Decimal(nano_usd).scaleb(-9):.9f}"
