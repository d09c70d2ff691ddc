"""Keys that do not exist, sent over and over: beyond a bound, an address is told to wait.

Counts failures alone, so a good key pays nothing for it and is never refused by it. In memory and bounded, one minute
at a time, by worker.
"""

from collections import OrderedDict
from typing import Final

from gateway.errors import RateLimited

ADDRESSES_MAX: Final = 10_000
_MINUTE_US: Final = 60_000_000


class FailedKeys:
    def __init__(self, failures_per_minute_max: int) -> None:
        self._failures_max = failures_per_minute_max
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._minute = 0

    def note(self, address: str, now_at_us: int) -> None:
        """One more from there. Raises `RateLimited` beyond the bound."""
        minute = now_at_us // _MINUTE_US
        if minute != self._minute:
            self._counts.clear()
            self._minute = minute
        count = self._counts.pop(address, 0) + 1
        self._counts[address] = count
        if len(self._counts) > ADDRESSES_MAX:
            self._counts.popitem(last=False)
        if count > self._failures_max:
            raise RateLimited(
                f"more than {self._failures_max} requests a minute came from your address with keys that are"
                " unknown, expired or revoked: send one that works, or wait",
                (),
                retry_after_s=((minute + 1) * _MINUTE_US - now_at_us) / 1_000_000,
            )
