"""Figures on a page: exact within reach, rounded once, and never a lie."""

from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import AMOUNT_NANO_USD_MAX
from gateway.admin.pages.figures import at_us_of, exact, percent_text, places_of, rfc3339, share_permille, usd, when

USD = 10**9


@pytest.mark.parametrize(
    ("nano_usd", "places", "text"),
    [
        (0, 2, "$0.00"),
        (1, 2, "<$0.01"),
        (-1, 4, "-<$0.0001"),
        (5_000_000, 2, "<$0.01"),  # half a cent goes to the even side, which would be nothing
        (15_000_000, 2, "$0.02"),
        (25_000_000, 2, "$0.02"),
        (999_999_999, 2, "$1.00"),
        (1_234_567 * USD + 890_000_000, 2, "$1,234,567.89"),
        (-3 * USD - USD // 2, 2, "-$3.50"),
        (123_456_789, None, "$0.1235"),
        (12 * USD + 345_678_900, None, "$12.35"),
        (1, 9, "$0.000000001"),
    ],
)
def test_an_amount_is_rounded_half_even_and_never_to_nothing(nano_usd: int, places: int | None, text: str) -> None:
    assert usd(nano_usd, places) == text


@given(st.integers(-AMOUNT_NANO_USD_MAX, AMOUNT_NANO_USD_MAX), st.integers(2, 9))
def test_it_is_what_decimal_arithmetic_says(nano_usd: int, places: int) -> None:
    rounded = Decimal(nano_usd).scaleb(-9).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    shown = usd(nano_usd, places)
    if rounded == 0 != nano_usd:
        assert "<" in shown
    else:
        assert Decimal(shown.replace("$", "").replace(",", "")) == rounded


def test_the_api_s_text_is_read_as_exactly() -> None:
    assert usd("0.123456789", 9) == "$0.123456789"
    assert exact("12.500000000") == "12.500000000"


def test_a_column_shows_as_many_decimals_as_its_amounts_need() -> None:
    assert places_of([12 * USD, 50 * 10**7]) == 2  # all of them whole cents
    assert places_of([123_456, 12 * USD]) == 4
    assert places_of([123_456, 200 * USD]) == 2
    assert places_of([]) == 2


def test_a_budget_that_is_not_used_up_never_shows_as_whole() -> None:
    assert share_permille(999_999_999, USD) == 999
    assert percent_text(share_permille(USD, USD)) == "100.0 %"
    assert percent_text(share_permille(3 * USD, USD)) == "300.0 %"
    assert share_permille(-5, USD) == 0
    assert share_permille(0, 0) == 1000


def test_an_instant_is_shown_in_the_chosen_zone() -> None:
    at_us = at_us_of("2025-11-30T23:00:00.000000Z")
    assert when(at_us, ZoneInfo("Europe/Berlin")) == "2025-12-01 00:00"
    assert rfc3339(at_us) == "2025-11-30T23:00:00.000000Z"
