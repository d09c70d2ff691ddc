"""Buckets leave no gap and count nothing twice, whatever was asked; an empty span is asked about once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from billing.store import UsageLine
from gateway.admin.openai_buckets import WIDTHS_S, Lines, buckets, edges, regrouped

TIMES = st.integers(0, 40 * 86400)


@given(TIMES, TIMES, st.sampled_from(sorted(WIDTHS_S.values())), st.integers(1, 50))
def test_pages_cover_the_span_without_a_gap(start_s: int, end_s: int, width_s: int, limit: int) -> None:
    places, following = edges(start_s, end_s, width_s, limit)
    assert places[0] == start_s
    assert len(places) <= limit + 1
    assert all(0 < other - one <= width_s for one, other in pairwise(places))
    assert all(place % width_s == 0 for place in places[1:-1])
    if following is None:
        assert places[-1] == max(end_s, start_s)
    else:
        assert following == places[-1] < end_s
        assert len(places) == limit + 1


@given(st.lists(TIMES, max_size=20), st.integers(0, 86400), st.integers(1, 60))
def test_each_moment_counts_in_its_own_bucket(moments: list[int], start_s: int, limit: int) -> None:
    asked = 0

    def sums(begin_s: int, end_s: int) -> Lines:
        nonlocal asked
        asked += 1
        count = sum(begin_s <= moment < end_s for moment in moments)
        return {(): UsageLine(requests=count)} if count else {}

    places, _ = edges(start_s, 40 * 86400, 3600, limit)
    found = buckets(places, sums)
    assert [(one.start_s, one.end_s) for one in found] == list(pairwise(places))
    for one in found:
        count = sum(one.start_s <= moment < one.end_s for moment in moments)
        assert sum(line.requests for line in one.lines.values()) == count
    if not any(places[0] <= moment < places[-1] for moment in moments):
        assert asked == 1


def test_lines_are_kept_by_what_is_wanted_and_summed_by_what_is_grouped() -> None:
    lines: Lines = {
        ("a", "m"): UsageLine(requests=1),
        ("a", "n"): UsageLine(requests=2),
        ("b", "m"): UsageLine(requests=4),
        (None, "m"): UsageLine(requests=8),
    }
    wanted = {"model": frozenset({"m"})}
    assert regrouped(lines, ("team", "model"), ("team",), wanted) == {
        ("a",): UsageLine(requests=1),
        ("b",): UsageLine(requests=4),
        (None,): UsageLine(requests=8),
    }
    assert regrouped(lines, ("team", "model"), (), {"team": frozenset({"a"})}) == {(): UsageLine(requests=3)}
