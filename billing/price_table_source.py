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
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final

from billing.litellm_map import MODES, PROVIDERS, Names, Row, priced_by_token, rates, usd

# What genai-prices calls a provider of ours.
GENAI_NAMES: Final[Mapping[str, str]] = {"gemini": "google", "xai": "x-ai"}
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

Rows = dict[str, Row]


def from_litellm(entry: Mapping[str, Any], source: str) -> Row:
    """One entry of MAP in our words."""
    row: Row = {"source": source, **rates(entry)}
    limits = {"context": entry.get("max_input_tokens"), "max_output": entry.get("max_output_tokens")}
    row.update({name: int(limit) for name, limit in limits.items() if limit})
    can = sorted(ours for theirs, ours in CAPABILITIES.items() if entry.get(theirs))
    if can:
        row["can"] = " ".join(can)
    return row


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
    given = {GENAI_RATES[name]: rate for name, rate in vars(model.get_prices(at)).items() if name in GENAI_RATES}
    given = {name: rate for name, rate in given.items() if rate is not None}
    if "input" not in given:
        return None
    row: Row = {"source": source, "output": "0"}
    row.update({name: usd(getattr(rate, "base", rate)) for name, rate in given.items()})
    starts = sorted({tier.start for rate in given.values() for tier in getattr(rate, "tiers", ())})
    if starts:
        row["tiers"] = [genai_tier(given, start) for start in starts]
    if model.context_window:
        row["context"] = model.context_window
    return row


def genai_tier(given: Mapping[str, Any], start: int) -> Row:
    tier: Row = {"above": start}
    for name, rate in given.items():
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
            rows = {**genai_rows(genai[GENAI_NAMES.get(ours, ours)].models, version, at), **rows}
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
