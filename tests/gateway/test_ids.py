"""Request ids sort by time, never repeat, and cost no system call each."""

from __future__ import annotations

import itertools
import re

from gateway.ids import RequestIds


def counting() -> tuple[list[int], RequestIds]:
    drawn: list[int] = []
    numbers = itertools.count()

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return b"".join(next(numbers).to_bytes(10, "big") for _ in range(size // 10))

    return drawn, RequestIds(lambda: 1_700_000_000_123_456, entropy)


def test_an_id_is_time_first_and_the_rest_is_chance() -> None:
    _, mint = counting()
    first, second = mint(), mint()
    assert re.fullmatch(r"req_[0-9a-f]{32}", first)
    assert int(first[4:16], 16) == 1_700_000_000_123
    assert first[4:16] == second[4:16]
    assert first != second


def test_ids_of_later_instants_sort_later() -> None:
    _, mint = counting()
    ids = [mint.at(at_us) for at_us in (1_000, 2_000, 1_700_000_000_000_000, 1_700_000_000_001_000)]
    assert ids == sorted(ids)
    assert mint.at(1_000)[:16] == ids[0][:16]


def test_chance_is_drawn_for_many_at_once_and_none_is_used_twice() -> None:
    drawn, mint = counting()
    ids = {mint() for _ in range(1000)}
    assert len(ids) == 1000
    assert len(drawn) == 4
