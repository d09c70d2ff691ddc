"""A price as people write it, kept to the pico-dollar or refused by the name of its field."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.price_rows import RATES, BadPrice, decimal_text, document_of, fields_of, rates_in, rates_of
from billing.price_table import price_from_row

_rate = st.integers(0, 10**12).map(lambda pico: Decimal(pico).scaleb(-6))
_maybe = st.none() | _rate
_optional = {name: _maybe for name in RATES if name not in ("input", "output")}
_tier: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"above_input_tokens": st.integers(1, 10**6), **dict.fromkeys(RATES, _maybe)}
)
_fields = st.fixed_dictionaries(
    {
        "input": _rate,
        "output": _rate,
        **_optional,
        "request": st.none() | st.integers(0, 10**12).map(lambda nano: Decimal(nano).scaleb(-9)),
        "tiers": st.lists(_tier, max_size=3, unique_by=lambda tier: tier["above_input_tokens"]).map(
            lambda tiers: sorted(tiers, key=lambda tier: tier["above_input_tokens"])
        ),
    }
)


@given(_fields)
def test_a_price_survives_the_database_and_its_own_listing(fields: dict[str, Any]) -> None:
    rates = rates_of(fields)
    assert rates_in(document_of(rates)) == rates
    assert rates_of(fields_of(rates)) == rates
    assert price_from_row("v", rates).input_pico_usd == fields["input"] * 10**6


@given(st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=6))
def test_an_amount_as_text_is_the_amount(value: Decimal) -> None:
    text = decimal_text(value)
    assert Decimal(text) == value
    assert "E" not in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": "1"}, "output: is missing"),
        ({"input": "1", "output": "-2"}, "output: "),
        ({"input": "0.0000001", "output": "1"}, "input: .* finer than a pico-USD"),
        ({"input": 0.1, "output": "1"}, "input: write the amount as decimal text"),
        ({"input": True, "output": "1"}, "input: write"),
        ({"input": "NaN", "output": "1"}, "input: 'NaN' is no amount"),
        ({"input": "1e400", "output": "1"}, "input: "),
        ({"input": "one", "output": "1"}, "input: 'one' is no amount"),
        ({"input": "1", "output": "1", "request": "-1"}, "request: "),
        ({"input": "1", "output": "1", "request": "0.0000000001"}, "request: "),
        ({"input": "1", "output": "1", "batch": "1"}, "batch: is no part of a price"),
        ({"input": "1", "output": "1", "tiers": "long"}, "tiers: give a list"),
        ({"input": "1", "output": "1", "tiers": [1]}, "tiers: each is an object"),
        ({"input": "1", "output": "1", "tiers": [{"above_input_tokens": 0}]}, "tiers: above_input_tokens"),
        ({"input": "1", "output": "1", "tiers": [{"above_input_tokens": 9}, {"above_input_tokens": 9}]}, "tiers: sort"),
        ({"input": "1", "output": "1", "tiers": [{"above_input_tokens": 9, "x": 1}]}, "x: is no part"),
    ],
)
def test_what_is_no_price_is_refused_by_the_name_of_its_field(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadPrice, match=said):
        rates_of(fields)
