"""The counts of limits that the workers of one gateway share: in its state directory, waited for by the real clock."""

import time
from pathlib import Path
from typing import Final

from billing.shared_counters import SharedCounters

FILE: Final = "limits.counters"


def counters_of(state: Path, index: int, workers: int) -> SharedCounters:
    """One worker's hands on them. What an earlier worker of that index had under way is under way no more."""
    return SharedCounters(
        state / FILE,
        index,
        workers,
        monotonic_us=lambda: time.monotonic_ns() // 1000,
        sleep_us=lambda us: time.sleep(us / 1_000_000),
    )
