"""Reports add up, to the nano-dollar, by any columns, over any span, in any time zone."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.books import EntryKind, Hold
from billing.store import Store, UsageLine
from billing.usage_span import DAYS_MAX, QUARTER_US, SpanTooLong, cut, days, whole_days
from tests.billing.makers import USAGE, hold, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.billing.conftest import Opened

MINUTE_US = 60_000_000
DAY_US = 24 * 3600 * 1_000_000
MIDNIGHT_US = int(datetime(2026, 11, 25, tzinfo=UTC).timestamp()) * 1_000_000
ZONES = ("UTC", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia")


def at(minute: int, number: int, **other: Any) -> Hold:
    return hold(number, opened_at_us=MIDNIGHT_US + minute * MINUTE_US, **other)


HOLDS = [
    at(0, 1),
    at(10, 2, key_id="key_2", tags=("feature=chat", "env=prod")),
    at(20, 3, team_id=None, tags=()),
    at(200, 4, model="gpt-5", provider="lab"),
    at(24 * 60 - 1, 5, user_id="user_1", end_user="somebody"),
    at(24 * 60, 6, tags=("feature=search", "feature=second")),
]


@pytest.fixture
def store(url: str, opened: Opened) -> Store:
    with opened(url) as books:
        for number, held in enumerate(HOLDS):
            books.reserve_and_dispatch(held)
            books.settle(held, USAGE, 10**number, EntryKind.ESTIMATED if number == 3 else EntryKind.ACTUAL)
            books.flush()
    return Store(url)


@pytest.fixture
def cost(store: Store) -> Iterator[Callable[..., dict[object, int]]]:
    def ask(*columns: str, begin: int | None = None, end: int | None = None, **other: object) -> dict[object, int]:
        found = store.usage(columns, begin, end, **other)  # type: ignore[arg-type]
        return {group if len(group) != 1 else group[0]: line.cost_nano_usd for group, line in found.items()}

    with closing(store):
        yield ask


def test_sums_by_every_column(cost: Callable[..., dict[object, int]]) -> None:
    assert cost() == {(): 111_111}
    assert cost("team") == {"team_1": 111_011, None: 100}
    assert cost("key") == {"key_1": 111_101, "key_2": 10}
    assert cost("user") == {None: 101_111, "user_1": 10_000}
    assert cost("model", "provider") == {("gpt-5-mini", "openai"): 110_111, ("gpt-5", "lab"): 1000}
    assert cost("day") == {"2026-11-25": 11_111, "2026-11-26": 100_000}
    assert cost("tag:feature") == {"search": 111_001, "chat": 10, None: 100}
    assert cost("tag:env", "day", "tag:feature") == {
        ("prod", "2026-11-25", "chat"): 10,
        (None, "2026-11-25", "search"): 11_001,
        (None, "2026-11-25", None): 100,
        (None, "2026-11-26", "search"): 100_000,
    }


def test_a_day_is_the_time_zones(cost: Callable[..., dict[object, int]]) -> None:
    assert cost("day", timezone="America/New_York") == {"2026-11-24": 1111, "2026-11-25": 110_000}
    assert cost("day", timezone="Asia/Kathmandu") == {"2026-11-25": 1111, "2026-11-26": 110_000}


def test_from_is_inclusive_and_to_exclusive_to_the_microsecond(cost: Callable[..., dict[object, int]]) -> None:
    ten, twenty = MIDNIGHT_US + 10 * MINUTE_US, MIDNIGHT_US + 20 * MINUTE_US
    assert cost(begin=ten) == {(): 111_110}
    assert cost(begin=ten + 1) == {(): 111_100}
    assert cost(end=twenty) == {(): 11}
    assert cost(end=twenty + 1) == {(): 111}
    assert cost(begin=ten, end=ten + 1) == {(): 10}
    assert cost(begin=ten, end=ten) == {}
    assert cost(begin=twenty, end=ten) == {}
    assert cost("key", begin=1, end=twenty + 1) == {"key_1": 101, "key_2": 10}


def test_filters_choose_rows(cost: Callable[..., dict[object, int]]) -> None:
    assert cost("key", filters={"team_id": "team_1", "key_id": "key_2"}) == {"key_2": 10}
    assert cost(filters={"team_id": "nobody"}) == {}
    assert cost(begin=MIDNIGHT_US + 1, end=MIDNIGHT_US + 15 * MINUTE_US, filters={"key_id": "key_2"}) == {(): 10}


def test_a_line_says_all_that_was_used(store: Store) -> None:
    with closing(store):
        (line,) = store.usage((), None, None).values()
        assert line == UsageLine(6, 7200, 1200, 1800, 300, 111_111, 1000, 0, 0)
        edge = store.usage((), MIDNIGHT_US + 200 * MINUTE_US, MIDNIGHT_US + 200 * MINUTE_US + 1)[()]
        assert edge == UsageLine(1, 1200, 200, 300, 50, 1000, 1000, 0, 0)


def test_a_saving_counts_at_an_edge_as_in_a_quarter(url: str, opened: Opened) -> None:
    with opened(url) as books:
        books.saving(at(5, 1), USAGE, 77)
    with closing(Store(url)) as store:
        whole = store.usage((), None, None)
        assert whole == store.usage((), MIDNIGHT_US + 5 * MINUTE_US, MIDNIGHT_US + 5 * MINUTE_US + 1)
        assert whole == {(): UsageLine(requests=1, saved_nano_usd=77)}


def test_nothing_used_is_no_line(sqlite_url: str) -> None:
    with closing(Store(sqlite_url)) as store:
        assert store.usage(("team", "day"), None, None) == {}


def test_the_last_requests_come_first(url: str, opened: Opened) -> None:
    with opened(url) as books:
        for number in range(5):
            books.request(row(hold(number)))
    with closing(Store(url)) as store:
        first = store.requests(2)
        assert [found.request_id for found in first.data] == [hold(4).request_id, hold(3).request_id]
        last = store.requests(9, first.next)
        assert [found.request_id for found in last.data] == [hold(number).request_id for number in (2, 1, 0)]
        assert (first.has_more, last.has_more, last.next) == (True, False, None)


@given(st.integers(0, 10**16), st.integers(0, 10**10))
def test_a_cut_span_is_covered_once(begin: int, length: int) -> None:
    pieces = cut(begin, begin + length)
    spans = [*pieces.edges, (pieces.first_quarter * QUARTER_US, pieces.end_quarter * QUARTER_US)]
    spans = sorted(span for span in spans if span[0] < span[1])
    assert sum(end - start for start, end in spans) == length
    assert all(one[1] == two[0] for one, two in pairwise(spans))
    assert all(end - start < 2 * QUARTER_US for start, end in pieces.edges)


@given(st.sampled_from(ZONES), st.integers(0, 2 * 10**15), st.integers(1, 20 * DAY_US))
def test_days_cover_a_span_once_and_each_instant_on_its_own_date(zone_name: str, begin: int, length: int) -> None:
    zone = ZoneInfo(zone_name)
    found = list(days(begin, begin + length, zone))
    assert found[0].from_at_us == begin
    assert found[-1].to_at_us == begin + length
    assert all(one.to_at_us == two.from_at_us for one, two in pairwise(found))
    assert len({day.name for day in found}) == len(found)
    for day in found:
        for instant in (day.from_at_us, day.to_at_us - 1):
            assert datetime.fromtimestamp(instant // 1_000_000, zone).date().isoformat() == day.name


def test_a_date_that_a_zone_skipped_is_no_day() -> None:
    zone = ZoneInfo("Pacific/Apia")  # went from the 29th to the 31st, over the date line
    begin = int(datetime(2011, 12, 29, tzinfo=zone).timestamp()) * 1_000_000
    found = [day.name for day in days(begin, begin + 2 * DAY_US, zone)]
    assert found == ["2011-12-29", "2011-12-31"]


def test_a_report_over_too_many_days_is_refused() -> None:
    with pytest.raises(SpanTooLong):
        list(days(0, (DAYS_MAX + 2) * DAY_US, ZoneInfo("UTC")))


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_whole_days_and_the_quarters_beside_them_are_the_span(first: int, end: int) -> None:
    whole = whole_days(first, end)
    counted = Counter(range(whole.first * 96, whole.end * 96))
    for more in whole.more:
        counted.update(range(*more))
    for less in whole.less:
        counted.subtract(range(*less))
    assert +counted == Counter(range(first, end))
    assert min(counted.values(), default=0) >= 0
    assert sum(stretch[1] - stretch[0] for stretch in (*whole.more, *whole.less)) <= 96
