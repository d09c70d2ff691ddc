"""Where a budget's windows begin and end: an independently made table, and what is true of every time zone."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Final
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.usage_span import QUARTER_US
from billing.windows import HOUR_US, Window, known_timezone, span

TABLE: Final[dict[str, dict[str, list[list[int]]]]] = json.loads(
    Path(__file__).with_name("window_table.json").read_text()
)
DAY_US: Final = 24 * HOUR_US
LONGEST_US: Final = {
    Window.HOUR: HOUR_US,
    Window.DAY: 26 * HOUR_US,  # some time zones shift by two hours
    Window.WEEK: 7 * DAY_US + 2 * HOUR_US,
    Window.MONTH: 31 * DAY_US + 2 * HOUR_US,
}
FROM_US: Final = 1_577_836_800_000_000  # 2020
TO_US: Final = 2_524_608_000_000_000  # 2050

zones = st.sampled_from(sorted(available_timezones()))
instants = st.integers(FROM_US, TO_US)
closing_windows = st.sampled_from([window for window in Window if window is not Window.TOTAL])


def test_the_table_has_what_it_is_for() -> None:
    assert len(TABLE) >= 40
    assert sum(len(zone["day"]) > 1 for zone in TABLE.values()) >= 20, "zones whose clocks shift"
    assert all(len(zone["month"][0]) >= 36 for zone in TABLE.values())


@pytest.mark.parametrize("zone", TABLE)
def test_windows_are_those_of_the_table(zone: str) -> None:
    for name, runs in TABLE[zone].items():
        for run in runs:
            assert len(run) > 1
            for start, end in pairwise(run):
                window = (start * QUARTER_US, end * QUARTER_US)
                inside = {window[0], window[1] - 1, (window[0] + window[1]) // 2}
                assert {span(Window(name), zone, at_us) for at_us in inside} == {window}, (name, start, end)


@given(closing_windows, zones, instants)
def test_windows_follow_on_one_another_and_hold_their_instants(window: Window, zone: str, at_us: int) -> None:
    start_us, end_us = span(window, zone, at_us)
    assert end_us is not None
    assert start_us <= at_us < end_us
    assert (start_us % QUARTER_US, end_us % QUARTER_US) == (0, 0), "usage is summed by quarter hours"
    assert end_us - start_us <= LONGEST_US[window]
    assert span(window, zone, end_us)[0] == end_us
    assert span(window, zone, start_us - 1)[1] == start_us
    assert span(window, zone, start_us) == span(window, zone, end_us - 1) == (start_us, end_us)


@given(zones, instants)
def test_a_total_never_ends(zone: str, at_us: int) -> None:
    assert span(Window.TOTAL, zone, at_us) == (0, None)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "Europe", "../etc/passwd", "Europe/Berlin\x00", "/etc/localtime"])
def test_an_unknown_time_zone_is_known_as_such(name: str) -> None:
    assert not known_timezone(name)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Asia/Kathmandu"])
def test_a_time_zone_is_known(name: str) -> None:
    assert known_timezone(name)
