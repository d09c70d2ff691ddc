"""A hold is taken from every account at once or from none, and one hold leaves room for others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from billing.admission import Room, Short, Wish, admit, slice_of

amounts = st.integers(0, 10**12)


def room(free: int, *, limit: int | None = None, posted: int = 0, holds: int = 0) -> Room:
    return Room(limit if limit is not None else free + posted, posted, free, holds, contended=False, others=False)


def test_four_dollars_serve_two_hundred_requests_that_want_one_dollar_each() -> None:
    """Taking what fits would serve four."""
    left = room(4_000_000_000)
    taken = [admit([left], Wish(1_000_000_000, 2_560_000)) for _ in range(200)]
    assert all(isinstance(amount, int) and amount >= 2_560_000 for amount in taken)
    assert left.free_nano_usd >= 0


def test_a_lone_request_may_take_half_of_what_is_left() -> None:
    assert admit([room(1000)], Wish(10_000, 10)) == 500


def test_a_refusal_says_whether_the_budget_is_spent_or_only_held() -> None:
    assert admit([room(0, limit=100, posted=95)], Wish(10, 10)) == Short(0, spent=True)
    assert admit([room(5, limit=100, posted=10)], Wish(10, 10)) == Short(0, spent=False)


def test_the_smallest_room_decides_and_none_is_touched_when_one_is_short() -> None:
    rooms = [room(10**9), room(50), room(10**9)]
    assert admit(rooms, Wish(80, 60)) == Short(1, spent=False) or admit(rooms, Wish(80, 60)) == Short(1, spent=True)
    assert [each.free_nano_usd for each in rooms] == [10**9, 50, 10**9]
    assert [each.holds for each in rooms] == [0, 0, 0]


@given(free=st.lists(amounts, min_size=1, max_size=5), most=amounts, least=amounts, holds=st.integers(0, 1000))
def test_nothing_is_taken_beyond_what_is_free_nor_refused_while_the_least_fits(
    free: list[int], most: int, least: int, holds: int
) -> None:
    least = min(most, least)
    rooms = [room(each, holds=holds) for each in free]
    answer = admit(rooms, Wish(most, least))
    if isinstance(answer, Short):
        assert least > free[answer.place]
        assert [each.free_nano_usd for each in rooms] == free
    else:
        assert least <= answer <= most
        assert all(before - each.free_nano_usd == answer for before, each in zip(free, rooms, strict=True))
        assert all(each.free_nano_usd >= 0 for each in rooms)


@given(free=amounts, workers=st.integers(1, 64))
def test_slices_of_all_workers_together_leave_half(free: int, workers: int) -> None:
    assert workers * slice_of(room(free), workers) <= free // 2
    contended = Room(free, 0, free, 0, contended=True, others=True)
    assert slice_of(contended, workers) == 0
