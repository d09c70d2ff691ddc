"""Which price counts: the newest in force, a team's before everybody's, the list before all else."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from timeit import repeat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.price_book import ALWAYS_US, NEVER_US, PriceBook, Quote, Schedule
from billing.price_rows import ListedPrice, utc_text
from billing.price_table import PriceTable, UsdRow

if TYPE_CHECKING:
    from billing.price import Price

DAY_US = 86_400_000_000
NOW = 1_764_028_800_000_000  # 2025-11-25
TABLE = PriceTable()


def listed(number: int, effective_at_us: int, team_id: str | None = None, **other: object) -> ListedPrice:
    rates = UsdRow(Decimal(number), Decimal(number))
    row = ListedPrice(
        f"price_{number}", "openai", "gpt-4o", team_id, rates, effective_at_us, "contract", NOW - DAY_US + number
    )
    return replace(row, **other)  # type: ignore[arg-type]


def paid(found: Price | None) -> int | None:
    """The number of the row that a price came from."""
    return None if found is None else found.input_pico_usd // 1_000_000


def test_a_price_counts_from_its_instant_on_and_not_a_microsecond_before() -> None:
    schedule = Schedule([listed(1, NOW), listed(2, NOW + DAY_US)])
    assert [paid(schedule.price(None, at)) for at in (NOW - 1, NOW, NOW + DAY_US - 1, NOW + DAY_US)] == [None, 1, 1, 2]
    assert paid(schedule.price(None, NOW)) == 1, "an attempt that began before is asked about later"


def test_an_answer_says_between_which_instants_it_holds() -> None:
    schedule = Schedule([listed(1, NOW), listed(2, NOW + DAY_US), listed(3, NOW + 5, "team_a")])
    assert schedule.quote(None, NOW - 1) == Quote(ALWAYS_US, NOW, None)
    first = schedule.quote("team_a", NOW + 4)
    assert (first[:2], paid(first.price)) == ((NOW, NOW + 5), 1), "until the team's own comes"
    own = schedule.quote("team_a", NOW + DAY_US)
    assert (own[:2], paid(own.price)) == ((NOW + 5, NEVER_US), 3), "whatever becomes of everybody's"


def test_a_teams_row_goes_before_everybodys_even_a_newer_one() -> None:
    schedule = Schedule([listed(1, NOW, "team_a"), listed(2, NOW + 10)])
    assert paid(schedule.price("team_a", NOW + 20)) == 1
    assert paid(schedule.price("team_b", NOW + 20)) == 2


def test_of_two_rows_for_one_instant_the_one_given_last_counts() -> None:
    assert paid(Schedule([listed(2, NOW), listed(1, NOW)]).price(None, NOW)) == 2


def test_the_list_goes_before_the_configuration_and_that_before_the_table() -> None:
    configured = {("openai", "gpt-4o"): listed(7, 0).price()}
    book = PriceBook(TABLE, [listed(1, NOW)], configured)
    assert paid(book.find("openai", "gpt-4o", None, NOW)) == 1
    assert paid(book.find("openai", "gpt-4o", None, NOW - 1)) == 7
    shipped = PriceBook(TABLE).find("openai", "gpt-4o", None, NOW)
    assert shipped is not None
    assert shipped.version.endswith("/openai/gpt-4o")
    assert PriceBook(TABLE).find("openai", "nobody-knows-it", None, NOW) is None


def test_a_retired_row_prices_nothing() -> None:
    assert PriceBook(TABLE, [listed(1, NOW, deleted_at_us=NOW)]).schedule("openai", "gpt-4o") is None


def test_a_dated_name_takes_its_familys_row_unless_the_table_has_one_of_its_own() -> None:
    book = PriceBook(TABLE, [listed(1, NOW)])
    assert TABLE.lists("openai", "gpt-4o-2024-05-13")
    assert book.schedule("openai", "gpt-4o-2024-05-13") is None
    assert not TABLE.lists("openai", "gpt-4o-2031-05-13")
    assert book.schedule("openai", "gpt-4o-2031-05-13") is book.schedule("openai", "gpt-4o")
    assert book.schedule("openai", "gpt-4o-mini") is None


def test_a_version_names_source_date_and_row() -> None:
    price = listed(1, NOW).price()
    assert price.version == "contract/openai/gpt-4o@2025-11-25#price_1"
    assert utc_text(NOW + 1) == "2025-11-25T00:00:00.000001Z"


_rows = st.lists(
    st.builds(listed, st.integers(1, 40), st.integers(0, 30), st.sampled_from([None, "a", "b"])),
    max_size=12,
    unique_by=lambda row: row.id,
)


@given(_rows, st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.integers(-2, 32)), max_size=30))
def test_kept_answers_are_those_that_a_search_of_all_rows_gives(
    rows: list[ListedPrice], questions: list[tuple[str | None, int]]
) -> None:
    schedule = Schedule(rows)
    for team, at in questions:
        own = [row for row in rows if row.team_id == team and row.effective_at_us <= at]
        common = [row for row in rows if row.team_id is None and row.effective_at_us <= at]
        best = max(own or common, key=lambda row: (row.effective_at_us, row.created_at_us), default=None)
        assert paid(schedule.price(team, at)) == (None if best is None else int(best.rates.input))
        quote = schedule.quote(team, at)
        assert quote.valid_from_us <= at < quote.valid_until_us
        for edge in (quote.valid_from_us, quote.valid_until_us - 1):
            assert schedule.quote(team, edge).price == quote.price


def test_a_look_up_on_the_hot_path_costs_at_most_what_was_promised() -> None:
    """0.3 us on a quiet machine; the bound here leaves room for a busy one."""
    schedule = Schedule([listed(1, NOW), listed(2, NOW + DAY_US), listed(3, NOW, "team_a")])
    schedule.price("team_a", NOW + 1)
    best = min(repeat(lambda: schedule.price("team_a", NOW + 1), number=10_000, repeat=7)) / 10_000
    assert best < 1.5e-6


@pytest.mark.parametrize("team", [None, "stranger"])
def test_teams_without_rows_of_their_own_share_one_kept_answer(team: str | None) -> None:
    schedule = Schedule([listed(1, NOW)])
    assert paid(schedule.price(team, NOW)) == 1
    assert list(schedule._kept) == [None]
