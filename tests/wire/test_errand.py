"""An errand runs where it is woken, in the callback that brings the news, and hears of what goes wrong at its wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.wire.errand import Errand, Waiter
from tests.wire.listening import until

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

# An interpreted class cannot inherit from a compiled one; compiled, errands are tested as the rides that they are.
pytestmark = pytest.mark.source


# A compiled class lets no other derive from it here; tests/gateway/test_attempt.py runs compiled errands.
pytestmark = pytest.mark.source


class Told(Errand):
    """Keeps what its coroutine did not handle."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def failed(self, error: BaseException) -> None:
        self.errors.append(error)


def sent(coroutine: Coroutine[Any, Any, None]) -> Told:
    errand = Told()
    errand.start(coroutine)
    return errand


class Late(Exception):
    pass


def test_it_runs_to_the_first_wait_and_on_within_set() -> None:
    said: list[object] = []
    waiter: Waiter[int] = Waiter()

    async def go() -> None:
        said.append("began")
        said.append(await waiter)

    errand = sent(go())
    assert said == ["began"]
    assert not errand.done
    waiter.set(7)
    assert said == ["began", 7]
    assert errand.done
    waiter.set(8)
    waiter.fail(Late())
    assert said == ["began", 7]


def test_what_is_there_already_is_not_waited_for() -> None:
    ready: Waiter[str] = Waiter()
    ready.set("here")
    said: list[str] = []

    async def go() -> None:
        said.append(await ready)
        said.append(await ready)

    assert sent(go()).done
    assert said == ["here", "here"]


def test_a_value_set_while_the_errand_runs_is_taken_at_its_wait() -> None:
    waiter: Waiter[int] = Waiter()

    class SetsItself:
        def __await__(self) -> Any:
            # Set between being yielded and being parked, as a callback inside a send can do.
            yield _Set(waiter)
            return waiter._value

    class _Set(Waiter[int]):
        def __init__(self, other: Waiter[int]) -> None:
            other.set(3)
            self.ready = True

    said: list[int | None] = []

    async def go() -> None:
        said.append(await SetsItself())

    assert sent(go()).done
    assert said == [3]


def test_a_failure_comes_out_at_the_wait_and_may_be_handled() -> None:
    waiter: Waiter[int] = Waiter()
    said: list[str] = []

    async def go() -> None:
        try:
            await waiter
        except Late:
            said.append("late")

    errand = sent(go())
    waiter.fail(Late())
    assert said == ["late"]
    assert errand.errors == []


def test_what_is_not_handled_is_handed_to_failed_and_escapes_nowhere() -> None:
    waiter: Waiter[int] = Waiter()

    async def go() -> None:
        await waiter

    errand = sent(go())
    waiter.fail(error := Late())
    assert errand.done
    assert errand.errors == [error]
    failed = sent(_raising())
    assert failed.done
    assert isinstance(failed.errors[0], KeyError)


async def _raising() -> None:
    raise KeyError


def test_thrown_in_where_it_waits_and_no_longer_woken_by_what_it_waited_for() -> None:
    first: Waiter[int] = Waiter()
    second: Waiter[int] = Waiter()
    said: list[object] = []

    async def go() -> None:
        try:
            await first
        except Late:
            said.append("late")
        said.append(await second)

    errand = sent(go())
    errand.throw(Late())
    first.set(1)
    assert said == ["late"]
    assert not errand.done
    second.set(2)
    assert said == ["late", 2]
    assert errand.done
    errand.throw(Late())  # the end is the end
    errand.resume()
    assert errand.errors == []


def test_thrown_while_running_it_comes_at_the_next_wait() -> None:
    waiter: Waiter[int] = Waiter()
    said: list[str] = []

    async def go() -> None:
        errand.throw(Late())
        errand.resume()
        said.append("still here")
        try:
            await waiter
        except Late:
            said.append("late")

    errand = Told()
    errand.start(go())
    assert said == ["still here", "late"]
    assert errand.done


async def test_a_future_and_a_task_may_be_awaited() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()
    said: list[str] = []

    async def work() -> str:
        await asyncio.sleep(0)
        return "worked"

    async def go() -> None:
        said.append(await future)
        said.append(await loop.create_task(work()))

    errand = sent(go())
    future.set_result("set")
    assert said == []  # a future's news come with the loop's next turn
    await until(lambda: errand.done)
    assert said == ["set", "worked"]


async def test_thrown_out_of_a_future_it_leaves_the_future_alone() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def go() -> None:
        await future

    errand = sent(go())
    errand.throw(error := Late())
    assert errand.errors == [error]
    future.set_result("late")
    await asyncio.sleep(0)
    assert future.result() == "late"


async def test_a_future_that_fails_fails_the_wait() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def go() -> None:
        await future

    errand = sent(go())
    future.set_exception(error := Late())
    await asyncio.sleep(0)
    assert errand.errors == [error]


async def test_what_an_errand_cannot_await_is_told_at_the_place() -> None:
    errand = sent(asyncio.sleep(0))
    assert errand.done
    [error] = errand.errors
    assert "waiters and futures only" in str(error)


def test_an_errand_must_say_what_becomes_of_its_failure() -> None:
    errand = Errand()
    with pytest.raises(NotImplementedError):
        errand.start(_raising())
