"""One timer for all deadlines: met to within a sweep, never early."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.wire.clock import NEVER, SWEEP_INTERVAL_S, Sweep
from tests.wire.listening import until

if TYPE_CHECKING:
    from collections.abc import Callable


class Watch:
    """Something with a deadline; it notes when it was told."""

    def __init__(self, expires_at: float, then: Callable[[Watch], None] = lambda _: None) -> None:
        self.expires_at = expires_at
        self.told_at: list[float] = []
        self._then = then

    def expired(self, now: float) -> None:
        self.told_at.append(now)
        self._then(self)


async def test_a_deadline_is_met_within_a_sweep_and_never_early() -> None:
    loop = asyncio.get_running_loop()
    sweep = Sweep(loop)
    sweep.start()
    due_at = loop.time() + 0.15
    watch, never = Watch(due_at), Watch(NEVER)
    sweep.add(watch)
    sweep.add(never)
    try:
        await until(lambda: watch.told_at)
    finally:
        sweep.stop()
    assert due_at <= watch.told_at[0]
    assert never.told_at == []


async def test_told_at_every_sweep_until_it_moves_its_deadline_or_leaves() -> None:
    loop = asyncio.get_running_loop()
    sweep = Sweep(loop)
    sweep.start()
    mover = Watch(0.0, lambda each: setattr(each, "expires_at", NEVER))
    leaver = Watch(0.0, sweep.discard)
    stayer = Watch(0.0)
    for watch in (mover, leaver, stayer):
        sweep.add(watch)
    try:
        await until(lambda: len(stayer.told_at) == 3)
    finally:
        sweep.stop()
    assert len(mover.told_at) == len(leaver.told_at) == 1


async def test_after_its_stop_nothing_expires() -> None:
    sweep = Sweep(asyncio.get_running_loop())
    sweep.stop()  # before it began: nothing to end
    sweep.start()
    watch = Watch(0.0)
    sweep.add(watch)
    sweep.stop()
    await asyncio.sleep(SWEEP_INTERVAL_S * 2)
    assert watch.told_at == []


async def test_what_one_watched_does_may_add_and_remove_others() -> None:
    loop = asyncio.get_running_loop()
    sweep = Sweep(loop)
    sweep.start()
    second = Watch(0.0, sweep.discard)

    def add_second(first: Watch) -> None:
        sweep.add(second)
        sweep.discard(first)

    sweep.add(Watch(0.0, add_second))
    try:
        await until(lambda: second.told_at)
    finally:
        sweep.stop()


async def test_it_knows_how_late_the_loop_is() -> None:
    sweep = Sweep(asyncio.get_running_loop())
    sweep.start()
    time.sleep(SWEEP_INTERVAL_S + 0.05)  # noqa: ASYNC251  # the loop is held up on purpose
    try:
        await until(lambda: sweep.lag_s > 0)
    finally:
        sweep.stop()
    assert sweep.lag_s >= 0.04


async def test_the_date_is_told_by_the_second_and_made_once_for_each() -> None:
    now_us = [784_111_777_900_000]
    sweep = Sweep(asyncio.get_running_loop(), lambda: now_us[0])
    first = sweep.date_line
    assert first == b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    sweep.start()
    try:
        now_us[0] += 99_000
        sweep._look()
        assert sweep.date_line is first
        now_us[0] += 1_000
        await until(lambda: sweep.date_line is not first)
    finally:
        sweep.stop()
    assert sweep.date_line == b"date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"


async def test_without_a_clock_no_date_is_told() -> None:
    assert Sweep(asyncio.get_running_loop()).date_line == b""
