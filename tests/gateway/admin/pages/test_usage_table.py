"""A usage report: table, plot and CSV are made of the same sums, to the last digit."""

import csv
import io
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from billing.store import UsageLine
from gateway.admin.pages.plot import SERIES_MAX
from gateway.admin.pages.usage_table import Group, axis_between, csv_of, header_of, series_of, table_of
from gateway.admin.pages.views import Names

ASKED = ("day", "team", "model")
NAMES = Names(teams={"team_a": "Search", "team_b": "=cmd()"})


def line(cost: int, requests: int = 1) -> UsageLine:
    return UsageLine(requests=requests, input_tokens=10, cost_nano_usd=cost)


LINES: dict[Group, UsageLine] = {
    ("2025-11-01", "team_a", "m1"): line(100),
    ("2025-11-02", "team_a", "m1"): line(50),
    ("2025-11-02", "team_b", "m2"): line(700),
    ("2025-11-03", None, "m1"): line(0, requests=0),
}


def test_days_are_summed_up_and_the_dearest_come_first() -> None:
    table = table_of(LINES, ASKED, ("team", "model"), NAMES)
    assert [(row.names, row.line.cost_nano_usd) for row in table.rows] == [
        (("=cmd()", "m2"), 700),
        (("Search", "m1"), 150),
        (("none", "m1"), 0),
    ]
    assert table.total.cost_nano_usd == 850
    assert table.total.requests == 3


def test_by_day_the_days_stand_in_their_order() -> None:
    table = table_of(LINES, ASKED, ("day", "team"), NAMES)
    assert [row.group[0] for row in table.rows] == ["2025-11-01", "2025-11-02", "2025-11-02", "2025-11-03"]
    assert table.rows[1].line.cost_nano_usd == 700


def test_the_csv_has_the_rows_of_the_table_exactly_and_no_formula() -> None:
    table = table_of(LINES, ASKED, ("team", "model"), NAMES)
    header, *rows = csv.reader(io.StringIO(csv_of(table)))
    assert header == header_of(("team", "model"))
    assert header[:3] == ["Team", "Team id", "Model"]
    assert rows[0][:3] == ["'=cmd()", "team_b", "m2"]
    assert rows[0][header.index("Cost USD")] == "0.000000700"
    assert rows[2][:3] == ["none", "", "m1"]
    assert len(rows) == len(table.rows)


def test_the_plot_has_the_same_sum_as_the_table() -> None:
    axis = axis_between(date(2025, 11, 1), date(2025, 11, 30))
    series = series_of(LINES, ASKED, "team", axis, NAMES)
    assert [one.name for one in series] == ["=cmd()", "Search", "none"]
    assert series[1].amounts[:3] == (100, 50, 0)
    assert sum(sum(one.amounts) for one in series) == 850
    (whole,) = series_of(LINES, ASKED, None, axis, NAMES)
    assert whole.amounts[1] == 750


def test_more_than_the_colours_go_together() -> None:
    lines: dict[Group, UsageLine] = {("2025-11-01", f"team_{number}", "m"): line(number + 1) for number in range(10)}
    axis = axis_between(date(2025, 11, 1), date(2025, 11, 1))
    series = series_of(lines, ASKED, "team", axis, Names())
    assert len(series) == SERIES_MAX + 1
    assert series[-1].name == "4 others"
    assert series[-1].amounts == (1 + 2 + 3 + 4,)


def test_long_spans_are_told_by_weeks_and_months() -> None:
    week = axis_between(date(2025, 9, 3), date(2025, 12, 31))
    assert week.unit == "week"
    assert week.starts[0] == date(2025, 9, 1)  # a Monday
    assert week.periods[week.place(date(2025, 9, 8))].name == "week of 2025-09-08"
    month = axis_between(date(2024, 1, 31), date(2025, 12, 31))
    assert month.unit == "month"
    assert [period.name for period in month.periods][:3] == ["2024-01", "2024-02", "2024-03"]
    assert month.periods[month.place(date(2024, 2, 29))].name == "2024-02"
    assert len(month.periods) == 24


@given(st.dates(date(2000, 1, 1), date(2030, 1, 1)), st.integers(0, 2000), st.integers(0, 2000))
def test_every_day_has_its_place(first: date, length: int, offset: int) -> None:
    last = date.fromordinal(first.toordinal() + length)
    day = date.fromordinal(first.toordinal() + min(offset, length))
    axis = axis_between(first, last)
    place = axis.place(day)
    assert 0 <= place < len(axis.periods)
    assert len(axis.periods) <= 70
