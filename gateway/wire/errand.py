"""Drives one request's coroutine without a task: it runs where it is woken, in the callback that brought the news.

A task and a future per request cost two trips through the event loop (about 4 µs); an errand costs none. It may await
`Waiter`s, set by protocol callbacks, and asyncio futures and tasks; it has no current task, so `asyncio.timeout` and
locks
do not belong in it. Deadlines come from the sweep, as exceptions thrown in at the place where it waits.
"""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Waiter(Generic[T]):
    """A value that comes once. Awaited by one errand."""

    # Defaults stand on the class, without slots: making one costs nothing but itself.
    ready = False
    _value: T | None = None
    _error: BaseException | None = None
    _errand: "Errand | None" = None

    def set(self, value: T) -> None:
        """Gives the value and runs the errand that waits for it, now. Later values are ignored."""
        if not self.ready:
            self.ready = True
            self._value = value
            errand = self._errand
            if errand is not None:
                self._errand = None
                errand.resume()

    def fail(self, error: BaseException) -> None:
        """Lets the errand that waits see `error`, now."""
        if not self.ready:
            self.ready = True
            self._error = error
            errand = self._errand
            if errand is not None:
                self._errand = None
                errand.resume()

    def __await__(self) -> Generator[Any, None, T]:
        if not self.ready:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set() gave a T


class Errand:
    """One coroutine on its way: subclasses know what it is for."""

    _coroutine: Coroutine[Any, None, None]
    _parked: Waiter[Any] | asyncio.Future[Any] | None = None
    _pending: BaseException | None = None
    _running = False
    done = False

    def failed(self, error: BaseException) -> None:
        """Gets what the coroutine did not handle itself; must not raise."""
        raise NotImplementedError

    def start(self, coroutine: Coroutine[Any, None, None]) -> None:
        """Runs to the first wait."""
        self._coroutine = coroutine
        self._step(None)

    def resume(self) -> None:
        """What it waited for is there."""
        if self._running or self.done:
            return
        self._parked = None
        self._step(None)

    def throw(self, error: BaseException) -> None:
        """Raises `error` inside, at the place where it waits; if it is running just now, at its next wait."""
        if self.done:
            return
        if self._running:
            self._pending = error
            return
        self._unpark()
        self._step(error)

    def _unpark(self) -> None:
        parked, self._parked = self._parked, None
        if isinstance(parked, Waiter):
            parked._errand = None  # noqa: SLF001  # the two classes are one mechanism
        elif parked is not None:
            parked.remove_done_callback(self._future_done)

    def _future_done(self, _: asyncio.Future[Any]) -> None:
        self.resume()

    def _step(self, error: BaseException | None) -> None:
        coroutine = self._coroutine
        self._running = True
        try:
            while True:
                parked = coroutine.send(None) if error is None else coroutine.throw(error)
                error = self._pending
                if error is not None:
                    self._pending = None
                    continue
                if isinstance(parked, Waiter):
                    if parked.ready:  # set while this errand was still running
                        continue
                    parked._errand = self  # noqa: SLF001
                elif asyncio.isfuture(parked):
                    parked._asyncio_future_blocking = False  # noqa: SLF001  # the protocol of Future.__await__
                    parked.add_done_callback(self._future_done)
                else:
                    error = RuntimeError(f"an errand awaits waiters and futures only, not {parked!r}")
                    continue
                self._parked = parked
                return
        except StopIteration:
            self.done = True
        except BaseException as failure:  # noqa: BLE001  # handed on; nothing may escape into a protocol callback
            self.done = True
            self.failed(failure)
        finally:
            self._running = False
