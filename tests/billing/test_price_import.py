"""Price lists as people have them: taken whole, or refused with what is wrong where."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.price_import import BadPrices, Offered, offered
from billing.price_rows import RATES, fields_of, rates_of
from billing.price_table import UsdRow, UsdTier

CSV = """\
provider,model,input,output,cached_input,above_input_tokens,team_id,effective_at\r
openai,gpt-4o,2.50,10,1.25,,,\r
openai,gpt-4o,5,20,2.5,200000,,\r
openai,gpt-4o,2,8,,,team_a,2027-01-01\r
"""
LITELLM = {
    "sample_spec": {"litellm_provider": "one of …", "mode": "one of: chat, …", "input_cost_per_token": 0.0},
    "gpt-4o": {
        "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-06, "input_cost_per_token_above_200k_tokens": 5e-06,
    },
    "fireworks_ai/accounts/fireworks/models/x": {
        "litellm_provider": "fireworks_ai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
    },
    "up-to-4b": {"litellm_provider": "fireworks_ai", "mode": "chat", "input_cost_per_token": 1e-06},
    "bedrock/amazon.nova": {
        "litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 1,
    },
    "dall-e-3": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_image": 0.04},
    "whisper": {"litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_second": 0.0001},
}  # fmt: skip


def test_a_csv_has_a_line_a_price_and_a_line_a_tier() -> None:
    first, second = offered(CSV)
    assert first == Offered(
        "openai", "gpt-4o", None, None, None,
        UsdRow(Decimal("2.50"), Decimal(10), Decimal("1.25"),
               tiers=(UsdTier(200_000, Decimal(5), Decimal(20), Decimal("2.5")),)),
    )  # fmt: skip
    assert second[:5] == ("openai", "gpt-4o", "team_a", "2027-01-01", None)


def test_a_map_of_litellm_is_read_under_our_names_and_only_what_is_priced_by_token() -> None:
    rows = {(row.provider, row.model): row.rates for row in offered(json.dumps(LITELLM))}
    assert rows.keys() == {
        ("openai", "gpt-4o"), ("fireworks", "accounts/fireworks/models/x"), ("bedrock", "amazon.nova")
    }  # fmt: skip
    found = rows["openai", "gpt-4o"]
    assert (found.input, found.output, found.cached_input) == (Decimal("2.5"), Decimal(10), Decimal("1.25"))
    assert found.tiers == (UsdTier(200_000, Decimal(5)),)
    assert rows["bedrock", "amazon.nova"].output == Decimal(1_000_000)


def test_json_of_ours_may_be_a_listing_or_a_list() -> None:
    row = {
        "id": "price_1",
        "version": "v",
        "provider": "lab",
        "model": "m",
        "input": "1",
        "output": "2.000",
        "source": "s",
    }
    listing = json.dumps({"data": [row], "has_more": False, "next": None})
    assert offered(listing) == offered(json.dumps([row]))
    assert offered(listing)[0].source == "s"
    assert offered('[{"provider": "lab", "model": "m", "input": 0.000001, "output": 1}]')[0].rates.input == Decimal(
        "0.000001"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the first line must name"),
        ("provider,model,input,output\n", "no price is in it"),
        ("provider,model,input,output,price\nx,y,1,1,1\n", "the first line must name"),
        ("provider,model,input,output\nopenai,m,1,1,1\n", "line 2 has more cells"),
        ("provider,model,input,output\nopenai,m,1\n", "line 2: output: is missing"),
        ("provider,model,input,output\n,m,1,1\n", "line 2: names no provider"),
        ('provider,model,input,output\n"x', "no CSV"),
        ("provider,model,input,output\nopenai,m,1,1\nopenai,m,2,2\n", "openai/m comes twice"),
        ("provider,model,input,output,above_input_tokens\nopenai,m,1,1,5\n", "line 2: is a tier of no line above it"),
        ("[1]", "row 1: is no object"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"data": 1}', "must be a list"),
        ('[{"provider": "a\\u0000", "model": "m", "input": "1", "output": "1"}]', "row 1: provider"),
        ('[{"provider": 5, "model": "m", "input": "1", "output": "1"}]', "row 1: provider"),
        (f'[{{"provider": "a", "model": "m", "input": {"9" * 50}, "output": "1"}}]', "no JSON"),
    ],
)
def test_a_file_that_cannot_be_taken_says_where_and_why(text: str, said: str) -> None:
    with pytest.raises(BadPrices, match=said):
        offered(text)


def test_of_many_problems_the_first_are_told_and_the_rest_counted() -> None:
    with pytest.raises(BadPrices, match=r"; and 5 more$"):
        offered("provider,model,input,output\n" + "x,y,a,1\n" * 25)


_names = st.text("abcz-/.:0123 \u00e9'=+@,\"", min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and not text.startswith("'")
)
_rates = st.fixed_dictionaries(
    {"input": st.integers(0, 10**9), "output": st.integers(0, 10**9), "reasoning": st.none() | st.integers(0, 10**9)}
).map(lambda row: rates_of({name: None if pico is None else Decimal(pico).scaleb(-6) for name, pico in row.items()}))
_offers = st.lists(
    st.builds(Offered, _names, _names, st.none() | _names, st.none(), st.none() | _names, _rates),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[:4],
)


@given(_offers)
def test_what_a_spreadsheet_writes_is_read_as_it_was_meant(rows: list[Offered]) -> None:
    out = io.StringIO()
    columns = ("provider", "model", "team_id", "source", *RATES)
    writer: csv.DictWriter[str] = csv.DictWriter(out, columns)
    writer.writeheader()
    for row in rows:
        named = {name: getattr(row, name) for name in columns[:4]}
        writer.writerow({**named, **fields_of(row.rates)})
    assert offered(out.getvalue()) == tuple(rows)
    as_json: list[dict[str, Any]] = [
        {**{name: getattr(row, name) for name in columns[:4]}, **fields_of(row.rates)} for row in rows
    ]
    assert offered(json.dumps(as_json)) == tuple(rows)


@given(st.text(max_size=200))
def test_no_text_is_worse_than_refused(text: str) -> None:
    with contextlib.suppress(BadPrices):
        assert offered(text)
