"""Amounts survive their way through text; what cannot be said exactly is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import AMOUNT_NANO_USD_MAX, parse_usd, pico_usd_per_token, usd_text


@given(st.integers(-AMOUNT_NANO_USD_MAX, AMOUNT_NANO_USD_MAX))
def test_an_amount_survives_its_text(nano_usd: int) -> None:
    text = usd_text(nano_usd)
    assert parse_usd(text) == nano_usd
    assert "e" not in text.lower()
    assert len(text.split(".")[1]) == 9
    assert Decimal(text) * 10**9 == nano_usd


@pytest.mark.parametrize(
    ("text", "nano_usd"),
    [("0", 0), ("12.5", 12_500_000_000), ("-0.000000001", -1), ("0.001234500", 1_234_500), ("100.00", 100 * 10**9)],
)
def test_people_write_dollars_as_they_like(text: str, nano_usd: int) -> None:
    assert parse_usd(text) == nano_usd


@pytest.mark.parametrize(
    "text", ["", "1e3", " 1", "1.0000000001", "1.", ".5", "+1", "1,5", "NaN", "٣", "99999999999", "9999999999"]
)
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="USD"):
        parse_usd(text)


@pytest.mark.parametrize(
    ("usd_per_million", "pico_usd"), [("0.0025", 2500), ("2.5", 2_500_000), ("0", 0), ("1E+2", 10**8), ("0.000001", 1)]
)
def test_a_price_per_million_becomes_whole_pico_dollars(usd_per_million: str, pico_usd: int) -> None:
    assert pico_usd_per_token(Decimal(usd_per_million)) == pico_usd


@given(st.integers(0, 10**15))
def test_every_whole_pico_price_can_be_written(pico_usd: int) -> None:
    assert pico_usd_per_token(Decimal(pico_usd).scaleb(-6)) == pico_usd


@pytest.mark.parametrize(
    "text", ["0.0000001", "-1", "NaN", "Infinity", "1e999999", "1.00000000000000000000000000000001"]
)
def test_a_price_that_would_be_rounded_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="USD"):
        pico_usd_per_token(Decimal(text))
