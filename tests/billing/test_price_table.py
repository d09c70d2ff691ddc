"""List prices: exact from their text, unknown rather than guessed, the shipped file sound in every row."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import price_table_source as source
from billing.litellm_map import PROVIDERS, usd
from billing.price import FREE, Tier
from billing.price_table import FOUND_MAX, PriceTable, UsdRow, UsdTier, price_from_row

SHIPPED = json.loads(files("billing").joinpath("price_table.json").read_text())
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
# What the finest price in dollars per million can be: a pico-dollar per token.
RATES = st.decimals(0, 1000, places=6)


@pytest.fixture(scope="module")
def table() -> PriceTable:
    return PriceTable()


def test_a_listed_model_has_its_price_in_pico_dollars(table: PriceTable) -> None:
    listing = table.find("openai", "gpt-4o")
    assert listing is not None
    assert listing.price.input_pico_usd == 2_500_000
    assert listing.price.cached_input_pico_usd == 1_250_000
    assert listing.price.output_pico_usd == 10_000_000
    assert (listing.context_length, listing.max_output_tokens) == (128_000, 16_384)
    assert {"tools", "vision", "json_schema"} <= set(listing.capabilities)


def test_a_price_names_the_row_and_the_source_that_it_comes_from(table: PriceTable) -> None:
    listing = table.find("openai", "gpt-4o-2024-08-06")
    assert listing is not None
    litellm = SHIPPED["sources"]["litellm"]["version"]
    assert listing.price.version == f"litellm-{litellm}/openai/gpt-4o-2024-08-06"
    assert table.source().startswith("2026-11-25: litellm ")


def test_a_cache_write_and_a_long_prompt_have_their_own_prices(table: PriceTable) -> None:
    claude, gemini = table.find("anthropic", "claude-sonnet-4-5"), table.find("gemini", "gemini-2.5-pro")
    assert claude is not None
    assert claude.price.cache_write_pico_usd == 3_750_000
    assert gemini is not None
    assert gemini.price.tiers == (Tier(200_000, 2_500_000, 250_000, 15_000_000),)


@pytest.mark.parametrize(
    ("provider", "model", "family"),
    [
        ("openai", "gpt-4o-2031-01-31", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5-20310131", "claude-sonnet-4-5"),
        ("gemini", "models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("openai", "ft:gpt-4o-2024-08-06:acme:support:9x2", "ft:gpt-4o-2024-08-06"),
    ],
)
def test_a_snapshot_costs_what_its_family_costs(table: PriceTable, provider: str, model: str, family: str) -> None:
    own, kin = table.find(provider, model), table.find(provider, family)
    assert own is not None
    assert own == kin


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-9999"),
        ("openai", "gpt-4o-mini-x"),
        ("openai", ""),
        ("mistral", "mistral-large-1999"),
        ("lab", "gpt-4o"),
        ("openai", "claude-sonnet-4-5"),
    ],
)
def test_what_is_not_listed_has_no_price(table: PriceTable, provider: str, model: str) -> None:
    assert table.find(provider, model) is None


@pytest.mark.parametrize("provider", ["local", "ollama"])
def test_a_model_on_ones_own_machine_is_free(table: PriceTable, provider: str) -> None:
    listing = table.find(provider, "anything")
    assert listing is not None
    assert listing.price == FREE


def test_nothing_is_read_before_the_first_question() -> None:
    fresh = PriceTable()
    assert fresh._file is None
    assert fresh.find("local", "x") is not None
    assert fresh._file is None
    fresh.find("anthropic", "x")
    assert set(fresh._rows) == {"anthropic"}


def test_invented_names_do_not_fill_the_memory() -> None:
    fresh = PriceTable()
    for n in range(FOUND_MAX + 10):
        fresh.find("openai", f"invented-{n}")
    assert len(fresh._found) <= FOUND_MAX


@pytest.mark.parametrize("provider", sorted(SHIPPED["providers"]))
def test_every_shipped_row_is_sound(table: PriceTable, provider: str) -> None:
    rows = SHIPPED["providers"][provider]
    assert rows
    assert set(table.models(provider)) == set(rows)
    for name, row in rows.items():
        assert isinstance(row if isinstance(row, dict) else rows[row], dict), f"{name}: an alias of an alias"
        listing = table.find(provider, name)
        assert listing is not None
        price = listing.price
        assert price.version.endswith(f"/{provider}/{name}")
        assert min(price.input_pico_usd, price.output_pico_usd, price.cached_input_pico_usd) >= 0
        assert list(price.tiers) == sorted(price.tiers, key=lambda tier: tier.above_input_tokens)


def test_the_shipped_table_covers_every_hosted_provider_of_ours() -> None:
    from gateway.providers.registry import ROWS

    assert set(SHIPPED["providers"]) == {name for name, row in ROWS.items() if row.key_env is not None}


def test_every_figure_in_the_file_is_decimal_text() -> None:
    def figures(value: Any) -> None:
        if isinstance(value, dict):
            for each in value.values():
                figures(each)
        elif isinstance(value, list):
            for each in value:
                figures(each)
        else:
            assert isinstance(value, str | int)

    figures(SHIPPED)


@given(RATES, RATES)
def test_what_is_not_given_costs_what_it_is_a_part_of(rate_in: Decimal, rate_out: Decimal) -> None:
    price = price_from_row("mine", UsdRow(input=rate_in, output=rate_out))
    inputs = {price.input_pico_usd, price.cached_input_pico_usd, price.cache_write_pico_usd}
    assert inputs | {price.audio_input_pico_usd} == {int(rate_in * 10**6)}
    assert {price.output_pico_usd, price.reasoning_pico_usd, price.audio_output_pico_usd} == {int(rate_out * 10**6)}
    assert (price.request_nano_usd, price.tiers, price.version) == (0, (), "mine")


def test_what_is_given_is_kept_exactly() -> None:
    row = UsdRow(
        input=Decimal("0.60"),
        output=Decimal("0.90"),
        cached_input=Decimal("0.15"),
        cache_write=Decimal("0.75"),
        reasoning=Decimal("1.20"),
        audio_input=Decimal(40),
        audio_output=Decimal(80),
        request=Decimal("0.0025"),
        tiers=(
            UsdTier(200_000, input=Decimal("1.2"), reasoning=Decimal(2)),
            UsdTier(100_000, output=Decimal("0.000001")),
        ),
    )
    price = price_from_row("mine", row)
    assert price.cached_input_pico_usd == 150_000
    assert price.cache_write_pico_usd == 750_000
    assert price.reasoning_pico_usd == 1_200_000
    assert (price.audio_input_pico_usd, price.audio_output_pico_usd) == (40_000_000, 80_000_000)
    assert price.request_nano_usd == 2_500_000
    # A tier that names no cached rate gives no discount that nobody promised.
    assert price.tiers == (
        Tier(100_000, 600_000, 600_000, 1),
        Tier(200_000, 1_200_000, 1_200_000, 900_000, reasoning_pico_usd=2_000_000),
    )


@pytest.mark.parametrize("rate", ["0.0000001", "-1", "NaN", "Infinity"])
def test_a_price_that_cannot_be_kept_exactly_is_refused(rate: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        price_from_row("mine", UsdRow(input=Decimal(rate), output=Decimal(0)))


@given(RATES)
def test_dollars_are_written_as_plain_text_and_read_back_the_same(rate: Decimal) -> None:
    text = usd(rate)
    assert Decimal(text) == rate
    assert "E" not in text.upper()


def test_what_is_finer_than_a_pico_dollar_is_rounded_up() -> None:
    assert usd(Decimal("0.08333333333333334")) == "0.083334"


ENTRY = {
    "litellm_provider": "gemini",
    "mode": "chat",
    "input_cost_per_token": Decimal("1.25e-06"),
    "output_cost_per_token": Decimal("1e-05"),
    "output_cost_per_reasoning_token": Decimal("2e-05"),
    "cache_read_input_token_cost": Decimal("1.25e-07"),
    "cache_creation_input_token_cost": Decimal("0.0"),
    "input_cost_per_token_above_200k_tokens": Decimal("2.5e-06"),
    "output_cost_per_token_above_200k_tokens": Decimal("1.5e-05"),
    "output_cost_per_reasoning_token_above_200k_tokens": Decimal("3e-05"),
    "input_cost_per_token_above_200k_tokens_priority": Decimal(9),
    "input_cost_per_request": Decimal("5e-03"),
    "max_input_tokens": Decimal(1048576),
    "max_output_tokens": Decimal(65536),
    "supports_vision": True,
    "supports_reasoning": False,
}
FREE_ENTRY = {
    "litellm_provider": "gemini",
    "mode": "chat",
    "input_cost_per_token": Decimal(0),
    "output_cost_per_token": Decimal(0),
}


def test_an_entry_of_the_map_becomes_a_row_of_ours() -> None:
    assert source.from_litellm(ENTRY, "s") == {
        "source": "s",
        "input": "1.25",
        "output": "10",
        "reasoning": "20",
        "cached_input": "0.125",
        "request": "0.005",
        "tiers": [{"above": 200_000, "input": "2.5", "output": "15", "reasoning": "30"}],
        "context": 1_048_576,
        "max_output": 65_536,
        "can": "vision",
    }


def test_only_a_providers_own_token_priced_models_are_taken() -> None:
    prices = {
        "gemini/a": ENTRY,
        "a-size-class": ENTRY,
        "gemini/image": {**ENTRY, "mode": "image_generation"},
        "gemini/by-second": {**ENTRY, "input_cost_per_token": None},
        "openai-a": {**ENTRY, "litellm_provider": "openai"},
        "gemini/song": {**FREE_ENTRY, "output_cost_per_second": Decimal("0.04")},
        "gemini/free": FREE_ENTRY,
        "alias": {"alias_of": "gemini/a"},
    }
    assert set(source.litellm_rows(prices, PROVIDERS["gemini"], "s")) == {"a", "free"}


@dataclass
class Rates:
    """As genai-prices has them: an attribute per rate."""

    input_mtok: Any = None
    output_mtok: Any = None
    cache_read_mtok: Any = None
    web_searches_kcount: Any = None


@dataclass
class Tiered:
    base: Decimal
    tiers: list[Any]


@dataclass
class Step:
    start: int
    price: Decimal


@dataclass
class Equals:
    equals: str


@dataclass
class StartsWith:
    starts_with: str


@dataclass
class AnyOf:
    or_: list[Any]


@dataclass
class Hours:
    start_time: str


@dataclass
class Conditional:
    constraint: Any


@dataclass
class Model:
    match: Any
    rates: Rates
    context_window: int | None = None
    prices: Any = None

    def get_prices(self, at: datetime) -> Rates:
        assert at == NOON
        return self.rates


def test_a_model_of_the_other_source_becomes_a_row_under_each_name_that_it_spells_out() -> None:
    rates = Rates(
        input_mtok=Tiered(Decimal("1.25"), [Step(200_000, Decimal("2.5"))]),
        output_mtok=Tiered(Decimal(10), [Step(200_000, Decimal(15)), Step(500_000, Decimal(20))]),
        cache_read_mtok=Decimal("0.125"),
        web_searches_kcount=Decimal(10),
    )
    models = [
        Model(AnyOf([Equals("a"), StartsWith("a-"), Equals("b")]), rates, 1000),
        Model(Equals("image"), Rates(output_mtok=Decimal(1))),
        Model(Equals("by-the-hour"), rates, prices=[Conditional(None), Conditional(Hours("16:30"))]),
    ]
    row = {
        "source": "s",
        "input": "1.25",
        "output": "10",
        "cached_input": "0.125",
        "tiers": [
            {"above": 200_000, "input": "2.5", "output": "15"},
            {"above": 500_000, "input": "2.5", "output": "20"},
        ],
        "context": 1000,
    }
    assert source.genai_rows(models, "s", NOON) == {"a": row, "b": row}


def test_equal_rows_are_written_once() -> None:
    rows: dict[str, dict[str, Any]] = {"long-name": {"input": "1"}, "name": {"input": "1"}, "other": {"input": "2"}}
    assert source.without_repetition(rows) == {"long-name": "name", "name": {"input": "1"}, "other": {"input": "2"}}


def test_the_written_file_is_json_with_one_line_a_model() -> None:
    whole = source.table({"gemini/a": ENTRY, "gemini/b": {**ENTRY, "max_output_tokens": None}}, "1.0", None, NOON)
    text = source.written(whole)
    assert json.loads(text) == whole
    assert sum(line.startswith(('"a":', '"b":')) for line in text.splitlines()) == 2
    assert whole["taken_on"] == "2026-11-25"


def test_the_command_reads_a_map_and_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = tmp_path / "map.json"
    prices.write_text(
        '{"gemini/a": {"litellm_provider": "gemini", "mode": "chat", "max_input_tokens": 1e3,'
        ' "input_cost_per_token": 1.25e-06, "output_cost_per_token": 0.00001}}'
    )
    source.main([str(prices), "--version", "1.2.3", "--date", "2026-11-25"])
    written = json.loads(capsys.readouterr().out)
    row = {"source": "litellm-1.2.3", "input": "1.25", "output": "10", "context": 1000}
    assert written["providers"]["gemini"] == {"a": row}
    assert written["sources"] == {"litellm": {"version": "1.2.3", "license": "MIT"}}
