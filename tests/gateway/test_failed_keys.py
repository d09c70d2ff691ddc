"""Keys that do not exist are counted by address and minute, within bounds."""

from __future__ import annotations

import pytest

from gateway.errors import RateLimited, render
from gateway.failed_keys import ADDRESSES_MAX, FailedKeys

MINUTE_US = 60_000_000
FAILURES_MAX = 60
NOON_US = 1_764_072_000_000_000


def spent(failed: FailedKeys, address: str, now_us: int = NOON_US) -> None:
    for _ in range(FAILURES_MAX):
        failed.note(address, now_us)


def test_beyond_the_bound_it_waits_until_the_minute_is_over() -> None:
    failed = FailedKeys(FAILURES_MAX)
    spent(failed, "a")
    with pytest.raises(RateLimited, match="send one that works, or wait") as refused:
        failed.note("a", NOON_US + MINUTE_US - 2_500_000)
    assert dict(render(refused.value, "req").headers)["retry-after"] == "3"
    failed.note("b", NOON_US)
    failed.note("a", NOON_US + MINUTE_US)


def test_what_is_counted_is_bounded_and_the_busiest_stay() -> None:
    failed = FailedKeys(FAILURES_MAX)
    spent(failed, "busy")
    for number in range(3 * ADDRESSES_MAX):
        failed.note(str(number), NOON_US)
        if number % 1000 == 0:
            with pytest.raises(RateLimited):
                failed.note("busy", NOON_US)
    assert len(failed._counts) == ADDRESSES_MAX
