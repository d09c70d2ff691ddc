"""Guessing the admin key in the sign-in form is slow: a few failures an address, and a bound over all addresses.

Kept in memory and bounded; a restart forgets it, which costs a guesser of a 256-bit key nothing he could use.
"""

from collections import OrderedDict
from typing import Final

FAILURES_MAX: Final = 5
FAILURES_OF_ALL_MAX: Final = 100
WINDOW_US: Final = 60 * 1_000_000
ADDRESSES_MAX: Final = 1000

_ALL: Final = "*"


class SignInLimit:
    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def wait_s(self, address: str, now_at_us: int) -> int:
        """Seconds until this address may try again; 0 when it may now."""
        return max(
            self._wait_s(address, FAILURES_MAX, now_at_us),
            self._wait_s(_ALL, FAILURES_OF_ALL_MAX, now_at_us),
        )

    def failed(self, address: str, now_at_us: int) -> None:
        for who in (address, _ALL):
            began_at_us, count = self._failures.pop(who, (now_at_us, 0))
            if now_at_us - began_at_us >= WINDOW_US:
                began_at_us, count = now_at_us, 0
            self._failures[who] = (began_at_us, count + 1)
        while len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        self._failures.pop(address, None)

    def _wait_s(self, who: str, failures_max: int, now_at_us: int) -> int:
        began_at_us, count = self._failures.get(who, (now_at_us, 0))
        left_us = began_at_us + WINDOW_US - now_at_us
        return -(-left_us // 1_000_000) if count >= failures_max and left_us > 0 else 0
