"""Costs are exact, rounded once; a reservation is never exceeded."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.price import FREE, Price, Tier, Usage, at_length, cost_nano_usd, reservation_nano_usd
from tests.billing.makers import PRICE, any_usages, prices, usages

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject


def by_hand(usage: Usage, price: Price) -> int:
    """The same in decimals, as one would on paper."""
    rates = at_length(price, usage.input_tokens)
    with localcontext(prec=60):
        fresh = max(
            usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens - usage.audio_input_tokens, 0
        )
        plain = max(usage.output_tokens - usage.reasoning_tokens - usage.audio_output_tokens, 0)
        if not (usage.cached_input_tokens or usage.cache_write_tokens or usage.audio_input_tokens):
            fresh = usage.input_tokens
        pico = (
            Decimal(fresh) * rates.input_pico_usd
            + Decimal(usage.cached_input_tokens) * rates.cached_input_pico_usd
            + Decimal(usage.cache_write_tokens) * rates.cache_write_pico_usd
            + Decimal(usage.audio_input_tokens) * rates.audio_input_pico_usd
            + Decimal(plain) * rates.output_pico_usd
            + Decimal(usage.reasoning_tokens) * rates.reasoning_pico_usd
            + Decimal(usage.audio_output_tokens) * rates.audio_output_pico_usd
            + Decimal(price.request_nano_usd) * 1000
        )
        return int((pico / 1000).quantize(Decimal(1), ROUND_HALF_EVEN))


@given(any_usages, prices)
def test_a_cost_is_the_exact_sum_rounded_once(usage: Usage, price: Price) -> None:
    assert cost_nano_usd(usage, price) == by_hand(usage, price)


@pytest.mark.parametrize(("tokens", "nano_usd"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_a_half_goes_to_the_even_neighbour(tokens: int, nano_usd: int) -> None:
    half = replace(FREE, input_pico_usd=500)
    assert cost_nano_usd(Usage(input_tokens=tokens), half) == nano_usd


@given(prices, st.data())
def test_no_usage_within_its_bounds_costs_more_than_was_reserved(price: Price, data: DataObject) -> None:
    input_max, output_max = data.draw(st.integers(0, 10**6)), data.draw(st.integers(0, 10**6))
    usage = data.draw(usages(input_max, output_max))
    assert cost_nano_usd(usage, price) <= reservation_nano_usd(input_max, output_max, price)


def test_a_reservation_rounds_up() -> None:
    one_pico = replace(FREE, input_pico_usd=1, request_nano_usd=5)
    assert reservation_nano_usd(1, 0, one_pico) == 6
    expected = (Decimal(1201) * 312_500 + Decimal(301) * 2_000_000) / 1000
    assert reservation_nano_usd(1201, 301, PRICE) == int(expected.quantize(Decimal(1), ROUND_CEILING))


@given(usages(), prices.map(lambda price: replace(price, tiers=(), request_nano_usd=0)))
def test_splitting_a_request_makes_it_cheaper_by_a_nano_dollar_a_part_at_most(usage: Usage, price: Price) -> None:
    one = Usage(*(tokens // 2 for tokens in usage))
    # The halves' parts stay parts: what is odd goes to the second half whole.
    two = Usage(*(tokens - half for tokens, half in zip(usage, one, strict=True)))
    fresh = one.input_tokens - one.cached_input_tokens - one.cache_write_tokens - one.audio_input_tokens
    fresh_too = two.input_tokens - two.cached_input_tokens - two.cache_write_tokens - two.audio_input_tokens
    plain = one.output_tokens - one.reasoning_tokens - one.audio_output_tokens
    plain_too = two.output_tokens - two.reasoning_tokens - two.audio_output_tokens
    if min(fresh, fresh_too, plain, plain_too) >= 0:
        parts = cost_nano_usd(one, price) + cost_nano_usd(two, price)
        assert abs(parts - cost_nano_usd(usage, price)) <= 2


def test_a_prompt_above_a_tiers_mark_takes_the_tier_whole() -> None:
    tiered = replace(PRICE, tiers=(Tier(1000, 500_000, 50_000, 3_000_000), Tier(5000, 600_000, 60_000, 4_000_000)))
    assert cost_nano_usd(Usage(1000, output_tokens=10), tiered) == 1000 * 250 + 10 * 2000
    assert cost_nano_usd(Usage(1001, output_tokens=10), tiered) == 1001 * 500 + 10 * 3000
    assert cost_nano_usd(Usage(5001, cached_input_tokens=1, output_tokens=10), tiered) == 5000 * 600 + 60 + 10 * 4000


def test_a_kind_without_a_price_of_its_own_follows_the_tier() -> None:
    tiered = replace(PRICE, tiers=(Tier(0, 500_000, 50_000, 3_000_000),))
    rates = at_length(tiered, 1)
    assert (rates.reasoning_pico_usd, rates.audio_input_pico_usd) == (3_000_000, 500_000)
    assert rates.cache_write_pico_usd == PRICE.cache_write_pico_usd, "priced apart in the base, so it stays"


def test_a_tier_may_price_every_kind_itself() -> None:
    rates = at_length(replace(PRICE, tiers=(Tier(0, 1, 2, 3, 4, 5, 6, 7),)), 1)
    assert (rates.cache_write_pico_usd, rates.reasoning_pico_usd) == (4, 5)
    assert (rates.audio_input_pico_usd, rates.audio_output_pico_usd) == (6, 7)


def test_parts_that_exceed_their_whole_are_billed_as_parts() -> None:
    usage = Usage(input_tokens=10, cached_input_tokens=40, output_tokens=5, reasoning_tokens=9)
    assert cost_nano_usd(usage, PRICE) == 40 * 25 + 9 * 2000


def test_what_is_free_costs_nothing() -> None:
    assert cost_nano_usd(Usage(10**9, output_tokens=10**9), FREE) == 0
    assert reservation_nano_usd(10**9, 10**9, FREE) == 0
