"""Times one small call: nanoseconds per call, the least of several repeats, because noise only ever adds."""

import gc
import time
from collections.abc import Callable, Mapping

REPEATS = 7
REPEAT_NS = 50_000_000


def _repeat(call: Callable[[], object], loops: int) -> int:
    steps = range(loops)
    began = time.perf_counter_ns()
    for _ in steps:
        call()
    return time.perf_counter_ns() - began


def _nothing() -> None:
    """What the loop itself and a call cost."""


def ns_per_call(call: Callable[[], object], repeats: int = REPEATS, repeat_ns: int = REPEAT_NS) -> float:
    """Loops are doubled until one repeat is long enough for the clock; the loop's own cost is taken off."""
    loops = 1
    while (taken := _repeat(call, loops)) < repeat_ns / 10:
        loops *= 2
    loops = max(1, loops * repeat_ns // max(taken, 1))
    was_on = gc.isenabled()
    gc.disable()
    try:
        whole = min(_repeat(call, loops) for _ in range(repeats))
        empty = min(_repeat(_nothing, loops) for _ in range(repeats))
    finally:
        if was_on:
            gc.enable()
    return max(0.0, (whole - empty) / loops)


def show(calls: Mapping[str, Callable[[], object]]) -> None:
    """A table, fastest first, with the ratio to the fastest."""
    timed = sorted((ns_per_call(call), name) for name, call in calls.items())
    fastest = max(timed[0][0], 0.1)
    width = max(map(len, calls))
    for ns, name in timed:
        print(f"{name:{width}}  {ns:10,.0f} ns  {ns / fastest:6.2f} x")
