"""How LiteLLM's map of prices (`model_prices_and_context_window.json`) is read. Pure; decimals from text, rounded
nowhere but where they are finer than billing can keep.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

MILLION: Final = Decimal(1_000_000)
# A whole pico-dollar per token: the finest price that billing can keep.
FINEST: Final = Decimal("0.000001")
MODES: Final = frozenset({"chat", "completion", "embedding", "responses"})
TIERS_INPUT: Final = "input_cost_per_token_above_"


@dataclass(frozen=True, slots=True)
class Names:
    """What a provider of ours is called there."""

    litellm: str
    litellm_prefix: str


PROVIDERS: Final[Mapping[str, Names]] = {
    "anthropic": Names("anthropic", ""),
    "cerebras": Names("cerebras", "cerebras/"),
    "deepseek": Names("deepseek", "deepseek/"),
    "fireworks": Names("fireworks_ai", "fireworks_ai/"),
    "gemini": Names("gemini", "gemini/"),
    "groq": Names("groq", "groq/"),
    "mistral": Names("mistral", "mistral/"),
    "openai": Names("openai", ""),
    "openrouter": Names("openrouter", "openrouter/"),
    "together": Names("together_ai", "together_ai/"),
    "xai": Names("xai", "xai/"),
}
OURS: Final = {names.litellm: ours for ours, names in PROVIDERS.items()}

# The map's field -> ours.
RATES: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
}

Row = dict[str, Any]


def usd(per_million: Decimal) -> str:
    """Dollars per million as plain text; what is finer than billing can keep is rounded up, against us never."""
    kept = per_million.quantize(FINEST, ROUND_CEILING) if per_million % FINEST else per_million
    text = format(kept, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def rates(entry: Mapping[str, Any]) -> Row:
    """What an entry says of prices, in our words; a tier's threshold is its `above`."""
    row: Row = {"input": "0", "output": "0"}
    row.update({ours: usd(entry[theirs] * MILLION) for theirs, ours in RATES.items() if entry.get(theirs) is not None})
    if row.get("cache_write") == "0" and row["input"] != "0":
        # "No surcharge" is written as 0 there; a token written to a cache is still an input token.
        del row["cache_write"]
    if entry.get("input_cost_per_request"):
        row["request"] = format(Decimal(entry["input_cost_per_request"]), "f")
    tiers = [_tier(entry, name) for name in entry if name.startswith(TIERS_INPUT) and name.endswith("k_tokens")]
    if tiers:
        row["tiers"] = sorted(tiers, key=lambda tier: tier["above"])
    return row


def priced_by_token(entry: Mapping[str, Any]) -> bool:
    """Whether tokens are what is paid for. Free tokens beside a price per song or second are no free model."""
    if entry.get("input_cost_per_token") is None:
        return False
    costs = {name: cost for name, cost in entry.items() if "cost" in name and isinstance(cost, Decimal)}
    by_token = any(costs.get(name) for name in RATES)
    return by_token or not any(costs.values())


def _tier(entry: Mapping[str, Any], field: str) -> Row:
    suffix = field.removeprefix("input_cost_per_token")
    thousands = suffix.removeprefix("_above_").removesuffix("k_tokens")
    tier: Row = {"above": int(thousands) * 1000}
    for theirs, ours in RATES.items():
        if entry.get(theirs + suffix) is not None:
            tier[ours] = usd(entry[theirs + suffix] * MILLION)
    return tier
