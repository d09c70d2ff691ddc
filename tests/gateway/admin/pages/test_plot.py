"""Plots: well-formed SVG that holds every figure, carries no style of its own, and stays inside its frame."""

import itertools
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.pages.plot import (
    HEIGHT,
    NARROW,
    WIDE,
    BurnDown,
    Period,
    Series,
    axis_usd,
    burn_down,
    share_bar,
    stacked_bars,
    step_of,
)

USD = 10**9
MONTH = tuple(Period(f"2025-11-{day:02d}", f"Nov {day}") for day in range(1, 31))
amounts = st.lists(st.integers(0, 10**16), min_size=30, max_size=30).map(tuple)


def parsed(svg: str) -> ET.Element:
    assert "style=" not in svg
    assert "http" not in svg
    return ET.fromstring(svg)


def inside(root: ET.Element, width: int) -> None:
    for one in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert -1 <= float(one.get(name, 0)) <= width + 1
        for name in ("y", "y1", "y2", "cy"):
            assert -1 <= float(one.get(name, 0)) <= HEIGHT + 1
        assert float(one.get("y", 0)) + float(one.get("height", 0)) <= HEIGHT + 1


@given(st.lists(amounts, min_size=1, max_size=7), st.sampled_from([WIDE, NARROW]))
def test_each_amount_has_a_bar_that_says_it(found: list[tuple[int, ...]], width: int) -> None:
    series = tuple(Series(f"<b>{number}", one) for number, one in enumerate(found))
    root = parsed(stacked_bars(MONTH, series, width, "Cost & more"))
    inside(root, width)
    bars = list(root.iter("rect"))
    assert len(bars) == sum(amount > 0 for one in found for amount in one)
    assert root.get("aria-label") == "Cost & more"
    titles = [one.findtext("title") for one in bars]
    assert all(title is not None and "$" in title for title in titles)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_labels_of_the_axis_do_not_run_into_one_another(width: int) -> None:
    root = parsed(stacked_bars(MONTH, (Series("a", (USD,) * 30),), width, "Cost"))
    places = [float(one.get("x", 0)) for one in root.iter("text") if (one.text or "").startswith("Nov")]
    assert len(places) >= 3
    assert min(right - left for left, right in itertools.pairwise(places)) >= 45


def test_nothing_spent_is_an_empty_plot_with_an_axis() -> None:
    root = parsed(stacked_bars(MONTH, (Series("a", (0,) * 30),), WIDE, "Cost"))
    assert not list(root.iter("rect"))
    assert any(one.text == "$0" for one in root.iter("text"))


@pytest.mark.parametrize(("highest", "step"), [(1, 1), (4, 1), (7, 1), (10, 2), (100, 50), (61 * USD, 20 * USD)])
def test_the_lines_are_in_steps_that_people_count_in(highest: int, step: int) -> None:
    assert step_of(highest) == step


@given(st.integers(1, 10**18))
def test_there_are_a_handful_of_lines(highest: int) -> None:
    assert 1 <= -(-highest // step_of(highest)) <= 8


@pytest.mark.parametrize(
    ("nano_usd", "text"), [(0, "$0"), (20 * USD, "$20"), (USD // 2, "$0.50"), (200_000, "$0.0002"), (1, "$0.000000001")]
)
def test_an_axis_says_amounts_shortly(nano_usd: int, text: str) -> None:
    assert axis_usd(nano_usd) == text


def picture(*points: tuple[int, int], paced: bool = True, soft: int | None = 20 * USD) -> BurnDown:
    return BurnDown(0, 1000, 500, 100 * USD, soft, points, ((0, "Nov 1"), (500, "Nov 15")), paced)


def test_what_is_left_falls_in_steps_beside_the_even_pace() -> None:
    root = parsed(burn_down(picture((0, 100 * USD), (250, 80 * USD), (500, 30 * USD)), WIDE, "Left"))
    inside(root, WIDE)
    (pace,) = (one for one in root.iter("line") if one.get("class") == "pace")
    assert float(pace.get("y1", 0)) < float(pace.get("y2", 0))
    (left,) = (one for one in root.iter("path") if one.get("class") == "left")
    assert " H" in left.get("d", "")  # in steps: nothing is spent between two postings
    assert any(one.get("class") == "soft-limit" for one in root.iter("line"))


def test_without_an_end_there_is_no_pace_and_without_a_soft_limit_no_line() -> None:
    svg = burn_down(picture((0, 100 * USD), (500, 30 * USD), paced=False, soft=None), NARROW, "Left")
    assert 'class="pace"' not in svg
    assert 'class="soft-limit"' not in svg


def test_an_overdrawn_budget_stays_at_the_bottom() -> None:
    inside(parsed(burn_down(picture((0, 100 * USD), (500, -40 * USD)), WIDE, "Left")), WIDE)


@pytest.mark.parametrize(
    ("used", "held", "widths"), [(500, 250, (500, 250)), (900, 400, (900, 100)), (1500, 10, (1000, 0))]
)
def test_a_share_is_never_wider_than_its_track(used: int, held: int, widths: tuple[int, int]) -> None:
    bars = list(parsed(share_bar(used, held, "warn")).iter("rect"))
    assert (int(bars[1].get("width", 0)), int(bars[2].get("width", 0))) == widths
