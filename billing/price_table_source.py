"""Makes the shipped price table out of public ones; docs/prices.md has the command and the reasons.

    python -m billing.price_table_source MAP --version V --date DAY --genai-prices > billing/price_table.json

MAP is `model_prices_and_context_window_backup.json` out of an unpacked `litellm` wheel. `--genai-prices` adds, from an
installed `genai-prices`, the models that MAP lacks. A maintainer's tool: neither is a dependency of ours, neither is
imported by anything that runs. Numbers are read as decimals from their text.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final

MILLION: Final = Decimal(1_000_000)
# A whole pico-dollar per token: the finest price that billing can keep.
FINEST: Final = Decimal("0.000001")
MODES: Final = frozenset({"chat", "completion", "embedding", "responses"})
TIERS_INPUT: Final = "input_cost_per_token_above_"


@dataclass(frozen=True, slots=True)
class Names:
    """What a provider of ours is called elsewhere."""

    litellm: str
    litellm_prefix: str
    genai_prices: str


PROVIDERS: Final[Mapping[str, Names]] = {
    "anthropic": Names("anthropic", "", "anthropic"),
    "cerebras": Names("cerebras", "cerebras/", "cerebras"),
    "deepseek": Names("deepseek", "deepseek/", "deepseek"),
    "fireworks": Names("fireworks_ai", "fireworks_ai/", "fireworks"),
    "gemini": Names("gemini", "gemini/", "google"),
    "groq": Names("groq", "groq/", "groq"),
    "mistral": Names("mistral", "mistral/", "mistral"),
    "openai": Names("openai", "", "openai"),
    "openrouter": Names("openrouter", "openrouter/", "openrouter"),
    "together": Names("together_ai", "together_ai/", "together"),
    "xai": Names("xai", "xai/", "x-ai"),
}

# MAP's field -> ours.
RATES: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
}
GENAI_RATES: Final[Mapping[str, str]] = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
}
CAPABILITIES: Final[Mapping[str, str]] = {
    "supports_audio_input": "audio_input",
    "supports_audio_output": "audio_output",
    "supports_function_calling": "tools",
    "supports_parallel_function_calling": "parallel_tools",
    "supports_pdf_input": "pdf",
    "supports_prompt_caching": "prompt_caching",
    "supports_reasoning": "reasoning",
    "supports_response_schema": "json_schema",
    "supports_vision": "vision",
    "supports_web_search": "web_search",
}

Row = dict[str, Any]
Rows = dict[str, Row]


def usd(per_million: Decimal) -> str:
    """Dollars per million as plain text; what is finer than billing can keep is rounded up, against us never."""
    kept = per_million.quantize(FINEST, ROUND_CEILING) if per_million % FINEST else per_million
    text = format(kept, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def from_litellm(entry: Mapping[str, Any], source: str) -> Row:
    """One entry of MAP in our words."""
    row: Row = {"source": source, "input": "0", "output": "0"}
    row.update({ours: usd(entry[theirs] * MILLION) for theirs, ours in RATES.items() if entry.get(theirs) is not None})
    if row.get("cache_write") == "0" and row["input"] != "0":
        # "No surcharge" is written as 0 there; a token written to a cache is still an input token.
        del row["cache_write"]
    if entry.get("input_cost_per_request"):
        row["request"] = format(Decimal(entry["input_cost_per_request"]), "f")
    tiers = [litellm_tier(entry, name) for name in entry if name.startswith(TIERS_INPUT) and name.endswith("k_tokens")]
    if tiers:
        row["tiers"] = sorted(tiers, key=lambda tier: tier["above"])
    limits = {"context": entry.get("max_input_tokens"), "max_output": entry.get("max_output_tokens")}
    row.update({name: int(limit) for name, limit in limits.items() if limit})
    can = sorted(ours for theirs, ours in CAPABILITIES.items() if entry.get(theirs))
    if can:
        row["can"] = " ".join(can)
    return row


def priced_by_token(entry: Mapping[str, Any]) -> bool:
    """Whether tokens are what is paid for. Free tokens beside a price per song or second are no free model."""
    if entry.get("input_cost_per_token") is None:
        return False
    costs = {name: cost for name, cost in entry.items() if "cost" in name and isinstance(cost, Decimal)}
    by_token = any(costs.get(name) for name in RATES)
    return by_token or not any(costs.values())


def litellm_tier(entry: Mapping[str, Any], field: str) -> Row:
    suffix = field.removeprefix("input_cost_per_token")
    thousands = suffix.removeprefix("_above_").removesuffix("k_tokens")
    tier: Row = {"above": int(thousands) * 1000}
    for theirs, ours in RATES.items():
        if entry.get(theirs + suffix) is not None:
            tier[ours] = usd(entry[theirs + suffix] * MILLION)
    return tier


def litellm_rows(prices: Mapping[str, Any], names: Names, source: str) -> Rows:
    """All token-priced models of one provider."""
    rows: Rows = {}
    for key, entry in prices.items():
        listed = entry.get("litellm_provider") == names.litellm and entry.get("mode") in MODES
        # What stands there without its provider's prefix is a size class or a second copy.
        if listed and key.startswith(names.litellm_prefix) and priced_by_token(entry):
            rows[key.removeprefix(names.litellm_prefix)] = from_litellm(entry, source)
    return rows


def genai_rows(models: Iterable[Any], source: str, at: datetime) -> Rows:
    """The models of one provider, each under every name that is spelled out for it."""
    rows: Rows = {}
    for model in models:
        row = from_genai(model, source, at)
        if row is not None:
            rows.update(dict.fromkeys(spelled_out(model.match), row))
    return rows


def from_genai(model: Any, source: str, at: datetime) -> Row | None:
    """A model whose price depends on the hour has no row: one rate would be wrong for half of the day."""
    conditional = model.prices if isinstance(model.prices, list) else []
    if any(hasattr(each.constraint, "start_time") for each in conditional):
        return None
    rates = {GENAI_RATES[name]: rate for name, rate in vars(model.get_prices(at)).items() if name in GENAI_RATES}
    rates = {name: rate for name, rate in rates.items() if rate is not None}
    if "input" not in rates:
        return None
    row: Row = {"source": source, "output": "0"}
    row.update({name: usd(getattr(rate, "base", rate)) for name, rate in rates.items()})
    starts = sorted({tier.start for rate in rates.values() for tier in getattr(rate, "tiers", ())})
    if starts:
        row["tiers"] = [genai_tier(rates, start) for start in starts]
    if model.context_window:
        row["context"] = model.context_window
    return row


def genai_tier(rates: Mapping[str, Any], start: int) -> Row:
    tier: Row = {"above": start}
    for name, rate in rates.items():
        reached = [each.price for each in getattr(rate, "tiers", ()) if each.start <= start]
        if reached:
            tier[name] = usd(reached[-1])
    return tier


def spelled_out(match: Any) -> Iterable[str]:
    """The names that a rule lists; its patterns are left alone, for a pattern also matches what nobody has seen yet."""
    if hasattr(match, "or_"):
        for each in match.or_:
            yield from spelled_out(each)
    elif hasattr(match, "equals"):
        yield match.equals


def without_repetition(rows: Rows) -> dict[str, Row | str]:
    """A row that equals an earlier one is replaced by that one's name."""
    first: dict[str, str] = {}
    kept: dict[str, Row | str] = {}
    for name in sorted(rows, key=lambda name: (len(name), name)):
        text = json.dumps(rows[name], sort_keys=True)
        kept[name] = first[text] if text in first else rows[name]
        first.setdefault(text, name)
    return dict(sorted(kept.items()))


def table(prices: Mapping[str, Any], litellm_version: str, genai: Mapping[str, Any] | None, at: datetime) -> Row:
    """The whole file. Of one model all figures come from one source."""
    sources = {"litellm": {"version": litellm_version, "license": "MIT"}}
    if genai is not None:
        sources["genai-prices"] = {"version": metadata.version("genai-prices"), "license": "MIT"}
    providers = {}
    for ours, names in PROVIDERS.items():
        rows = litellm_rows(prices, names, f"litellm-{litellm_version}")
        if genai is not None:
            version = f"genai-prices-{metadata.version('genai-prices')}"
            rows = {**genai_rows(genai[names.genai_prices].models, version, at), **rows}
        providers[ours] = without_repetition(rows)
    return {
        "taken_on": at.date().isoformat(),
        "note": "US dollars per million tokens. Made by `python -m billing.price_table_source`; do not edit.",
        "sources": sources,
        "providers": providers,
    }


def written(whole: Row) -> str:
    """One line per model, so that a change of prices can be read as a difference."""
    lines = ["{"]
    lines += [f"{json.dumps(name)}: {json.dumps(whole[name])}," for name in ("taken_on", "note", "sources")]
    lines.append('"providers": {')
    blocks = []
    for provider, rows in whole["providers"].items():
        each = ",\n".join(f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}" for name, row in rows.items())
        blocks.append(f"{json.dumps(provider)}: {{\n{each}\n}}")
    return "\n".join([*lines, ",\n".join(blocks), "}", "}", ""])


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m billing.price_table_source", description=__doc__)
    parser.add_argument("map", type=Path, help="litellm's model_prices_and_context_window_backup.json")
    parser.add_argument("--version", required=True, help="the version of litellm that MAP came with")
    parser.add_argument("--date", required=True, help="the day on which the sources were taken, YYYY-MM-DD")
    parser.add_argument("--genai-prices", action="store_true", help="add what MAP lacks from an installed genai-prices")
    asked = parser.parse_args(arguments)
    prices = json.loads(asked.map.read_text(), parse_float=Decimal, parse_int=Decimal)
    genai = None
    if asked.genai_prices:
        snapshot = import_module("genai_prices.data_snapshot").get_snapshot()
        genai = {provider.id: provider for provider in snapshot.providers}
    at = datetime.strptime(asked.date, "%Y-%m-%d").replace(tzinfo=UTC)
    sys.stdout.write(written(table(prices, asked.version, genai, at)))


if __name__ == "__main__":
    main(sys.argv[1:])
