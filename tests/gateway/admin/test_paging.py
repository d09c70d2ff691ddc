"""A page of what may be seen is full wherever enough may be seen, and the next begins where it ended."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from billing.pages import Page, paged
from gateway.admin.paging import everything, seen


@dataclass(frozen=True)
class Rows:
    shown: list[bool]

    def page(self, limit: int, after: str | None) -> Page[int]:
        start = 0 if after is None else int(after) + 1
        return paged(list(range(len(self.shown)))[start : start + limit + 1], limit, str)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 7))
def test_page_by_page_everything_is_seen_once_and_nothing_else(shown: list[bool], limit: int) -> None:
    rows, found, after = Rows(shown), [], None
    while True:
        page, rest = seen(rows.page, lambda row: shown[row], str, limit, after)
        found += page
        assert rest.has_more is (rest.next is not None)
        if not rest.has_more:
            break
        assert len(page) == limit
        after = rest.next
    assert found == [row for row, may in enumerate(shown) if may]


@given(st.integers(0, 2500))
def test_everything_is_everything(count: int) -> None:
    assert list(everything(Rows([True] * count).page)) == list(range(count))
