"""List prices of hosted models, read from a table that ships with us, and the prices that a configuration states.

Decimals from text to integers, nothing else in between. A model that is not listed has no price rather than a
guessed one; only a date at the end of a name leads to its family's row. Where the table comes from: docs/prices.md.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Final

import msgspec

from billing.money import parse_usd, pico_usd_per_token
from billing.price import FREE, Price, Tier

# What runs on our own machines costs nothing per token unless a configuration says so.
FREE_PROVIDERS: Final = frozenset({"local", "ollama"})
TABLE_FILE: Final = "price_table.json"
FOUND_MAX: Final = 4096
# A dated snapshot: `-2024-08-06` or `-20250929`. Shorter numbers are versions, with prices of their own.
_DATE: Final = re.compile(r"-(?:20\d\d-\d\d-\d\d|20\d{6})$")
_PATHS: Final = ("models/", "accounts/fireworks/models/")


@dataclass(frozen=True, slots=True)
class Listing:
    """What is publicly known of a model at a provider."""

    price: Price
    context_length: int | None
    max_output_tokens: int | None
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UsdTier:
    """Dollars per million tokens once a prompt is longer than `above_input_tokens`; what is None stays as below it."""

    above_input_tokens: int
    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None


@dataclass(frozen=True, slots=True)
class UsdRow:
    """A price as people write it: dollars per million tokens, `request` in dollars each. None means "as text"."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    request: Decimal | None = None
    tiers: tuple[UsdTier, ...] = ()


def price_from_row(version: str, row: UsdRow) -> Price:
    """The price in integers. What is not given costs what it is a part of: a cached token an input token, and so on."""
    return Price(
        version=version,
        input_pico_usd=pico_usd_per_token(row.input),
        output_pico_usd=pico_usd_per_token(row.output),
        cached_input_pico_usd=pico_usd_per_token(_given(row.cached_input, row.input)),
        cache_write_pico_usd=pico_usd_per_token(_given(row.cache_write, row.input)),
        reasoning_pico_usd=pico_usd_per_token(_given(row.reasoning, row.output)),
        audio_input_pico_usd=pico_usd_per_token(_given(row.audio_input, row.input)),
        audio_output_pico_usd=pico_usd_per_token(_given(row.audio_output, row.output)),
        request_nano_usd=0 if row.request is None else parse_usd(format(row.request, "f")),
        tiers=tuple(_tier(tier, row) for tier in sorted(row.tiers, key=_above)),
    )


class _Source(msgspec.Struct, frozen=True):
    version: str
    license: str


class _Tier(msgspec.Struct, frozen=True):
    above: int
    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None


class _Row(msgspec.Struct, frozen=True):
    """As it stands in the file. A row that equals another of the same provider is that one's name instead."""

    source: str
    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    request: Decimal | None = None
    tiers: tuple[_Tier, ...] = ()
    context: int | None = None
    max_output: int | None = None
    can: str = ""


class _File(msgspec.Struct, frozen=True):
    taken_on: str
    note: str
    sources: dict[str, _Source]
    providers: dict[str, msgspec.Raw]


class PriceTable:
    """The shipped table. Nothing is read before the first question, and of the file only the provider asked about."""

    def __init__(self) -> None:
        self._file: _File | None = None
        self._rows: dict[str, dict[str, _Row | str]] = {}
        self._found: dict[tuple[str, str], Listing | None] = {}

    def find(self, provider: str, model: str) -> Listing | None:
        """What is listed under exactly this name, else under its family's; None is "unknown", not "free"."""
        if provider in FREE_PROVIDERS:
            return _FREE_LISTING
        key = provider, model
        if key not in self._found:
            if len(self._found) >= FOUND_MAX:
                # Names come from requests: whoever invents them must not fill the memory.
                self._found.clear()
            self._found[key] = self._look_up(provider, model)
        return self._found[key]

    def lists(self, provider: str, name: str) -> bool:
        """Whether there is a row under exactly this name."""
        return name in self._provider(provider)

    def models(self, provider: str) -> tuple[str, ...]:
        """The names listed for a provider."""
        return tuple(self._provider(provider))

    def source(self) -> str:
        """Where and when the prices were taken, for people."""
        file = self._opened()
        return f"{file.taken_on}: " + ", ".join(f"{name} {each.version}" for name, each in file.sources.items())

    def _look_up(self, provider: str, model: str) -> Listing | None:
        rows = self._provider(provider)
        for name in names_of(model):
            row = rows.get(name)
            if isinstance(row, str):
                row = rows.get(row)
            if isinstance(row, _Row):
                return _listing(f"{row.source}/{provider}/{name}", row)
        return None

    def _provider(self, provider: str) -> dict[str, _Row | str]:
        if provider not in self._rows:
            raw = self._opened().providers.get(provider)
            if raw is None:
                return {}
            self._rows[provider] = msgspec.json.decode(raw, type=dict[str, _Row | str])
        return self._rows[provider]

    def _opened(self) -> _File:
        if self._file is None:
            self._file = msgspec.json.decode(files("billing").joinpath(TABLE_FILE).read_bytes(), type=_File)
        return self._file


_FREE_LISTING: Final = Listing(FREE, None, None, ())


def _listing(version: str, row: _Row) -> Listing:
    usd = UsdRow(
        input=row.input,
        output=row.output,
        cached_input=row.cached_input,
        cache_write=row.cache_write,
        reasoning=row.reasoning,
        audio_input=row.audio_input,
        audio_output=row.audio_output,
        request=row.request,
        tiers=tuple(_usd_tier(tier) for tier in row.tiers),
    )
    return Listing(price_from_row(version, usd), row.context, row.max_output, tuple(row.can.split()))


def names_of(model: str) -> list[str]:
    """The names under which a model may be listed, the exact one first."""
    names = [model, *(model.removeprefix(path) for path in _PATHS if model.startswith(path))]
    if model.startswith("ft:"):
        # ft:BASE:ORGANISATION:NAME:ID costs what fine-tunes of its base cost.
        names.append(":".join(model.split(":")[:2]))
    return names + [undated for name in names if (undated := _DATE.sub("", name)) != name]


def _usd_tier(tier: _Tier) -> UsdTier:
    return UsdTier(
        above_input_tokens=tier.above,
        input=tier.input,
        output=tier.output,
        cached_input=tier.cached_input,
        cache_write=tier.cache_write,
        reasoning=tier.reasoning,
        audio_input=tier.audio_input,
        audio_output=tier.audio_output,
    )


def _tier(tier: UsdTier, row: UsdRow) -> Tier:
    tier_input = _given(tier.input, row.input)
    return Tier(
        above_input_tokens=tier.above_input_tokens,
        input_pico_usd=pico_usd_per_token(tier_input),
        cached_input_pico_usd=pico_usd_per_token(_given(tier.cached_input, tier_input)),
        output_pico_usd=pico_usd_per_token(_given(tier.output, row.output)),
        cache_write_pico_usd=_pico_or_none(tier.cache_write),
        reasoning_pico_usd=_pico_or_none(tier.reasoning),
        audio_input_pico_usd=_pico_or_none(tier.audio_input),
        audio_output_pico_usd=_pico_or_none(tier.audio_output),
    )


def _given(value: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if value is None else value


def _pico_or_none(usd_per_million: Decimal | None) -> int | None:
    return None if usd_per_million is None else pico_usd_per_token(usd_per_million)


def _above(tier: UsdTier) -> int:
    return tier.above_input_tokens
