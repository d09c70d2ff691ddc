"""Times outwards are RFC 3339 in UTC; inwards a day begins at its midnight in the zone that was asked for."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.instant import bound_at_us, day_text, instant_text, midnight_at_us

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
HOUR_US = 3600 * 1_000_000


def test_an_instant_ends_in_z() -> None:
    assert instant_text(0) == "1970-01-01T00:00:00.000000Z"
    assert instant_text(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001Z"


@given(st.integers(0, 4_000_000_000_000_000))
def test_what_is_written_reads_back_as_the_same_instant(at: int) -> None:
    assert bound_at_us(instant_text(at), BERLIN) == at


def test_a_day_begins_at_midnight_of_its_zone() -> None:
    assert bound_at_us("2026-11-25", UTC) - bound_at_us("2026-11-25", BERLIN) == HOUR_US


def test_the_day_that_daylight_saving_ends_has_25_hours() -> None:
    assert bound_at_us("2026-10-26", BERLIN) - bound_at_us("2026-10-25", BERLIN) == 25 * HOUR_US


@pytest.mark.parametrize("text", ["2026-11-25T10:00:00+02:00", "2026-11-25T10:00:00 02:00"])
def test_a_plus_that_the_query_string_made_a_blank_is_understood(text: str) -> None:
    assert bound_at_us(text, UTC) == bound_at_us("2026-11-25T08:00:00Z", UTC)


def test_an_instant_without_offset_is_meant_in_the_zone() -> None:
    assert bound_at_us("2026-11-25T01:00:00", BERLIN) == bound_at_us("2026-11-25T00:00:00", UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "2026-11-25T", "20261125xx"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        bound_at_us(text, UTC)


@given(st.integers(0, 4_000_000_000_000_000))
def test_midnight_is_the_last_one_before(now: int) -> None:
    midnight = midnight_at_us(now)
    assert 0 <= now - midnight < 24 * HOUR_US
    assert instant_text(midnight).endswith("T00:00:00.000000Z")
    assert day_text(midnight, UTC) == day_text(now, UTC)
