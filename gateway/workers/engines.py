"""One machine's local models, for all its workers: the parent runs them, each worker knows which addresses answer.

A request looks an address up in memory, as it does where there is one worker; what changes is told to every worker.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import msgspec

from gateway.workers.bus import PARENT, Bus, SiblingGone
from local_backend.supervisor import Address, LocalModelFailed, ReplicaState, State, Supervisor

STATES: Final = "local.states"
ENSURE: Final = "local.ensure"
START: Final = "local.start"
STOP: Final = "local.stop"
LOGS: Final = "local.logs"
LOGS_S_MAX: Final = 5.0
TOLD_S_MAX: Final = 1.0
# How far a start has come changes without a new state.
PROGRESS_S: Final = 0.5


class EngineRoom:
    """The parent's side: answers for the supervisor, and tells the workers of each new state."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._supervisor: Supervisor | None = None
        self._changed = asyncio.Event()
        self._teller: asyncio.Task[None] | None = None

    def serve(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._bus.handle(STATES, lambda _: _told(supervisor))
        self._bus.handle(ENSURE, self._ensure)
        self._bus.handle(START, lambda name: _tried(supervisor.start_model(name)))
        self._bus.handle(STOP, lambda name: _tried(supervisor.stop_model(name)))
        self._bus.handle(LOGS, lambda asked: list(supervisor.logs(asked[0], asked[1])))
        self._teller = asyncio.get_running_loop().create_task(self._tell())

    def tell(self, _: ReplicaState) -> None:
        """For the supervisor: a replica is in another state."""
        self._changed.set()

    async def close(self) -> None:
        if self._teller is not None:
            self._teller.cancel()
        if self._supervisor is not None:
            await self._supervisor.close()

    async def _ensure(self, name: str) -> Mapping[str, Any]:
        assert self._supervisor is not None
        return await _tried(self._supervisor.ensure_ready(name))

    async def _tell(self) -> None:
        """One telling at a time, each of what is then: what changes meanwhile is the next one's."""
        assert self._supervisor is not None
        while True:
            starting = any(each.state in {State.STARTING, State.WARMING} for each in self._supervisor.states())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROGRESS_S if starting else None):
                    await self._changed.wait()
            self._changed.clear()
            await self._bus.tell_all(STATES, _told(self._supervisor), TOLD_S_MAX)


class FarEngines:
    """A worker's side."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._states: tuple[ReplicaState, ...] = ()
        self._ready: dict[str, tuple[Address, ...]] = {}
        self._turn = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        bus.handle(STATES, self._learn)

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._learn(await self._bus.ask(PARENT, STATES, wait_s=None))

    async def close(self) -> None:
        """The models are the parent's to stop."""

    def ready_address(self, name: str) -> Address | None:
        ready = self._ready.get(name)
        if not ready:
            return None
        self._turn += 1
        return ready[self._turn % len(ready)]

    async def ensure_ready(self, name: str) -> Address:
        address = self.ready_address(name)
        if address is not None:
            return address
        answer = await self._asked(ENSURE, name)
        return Address(answer["host"], answer["port"])

    def states(self) -> tuple[ReplicaState, ...]:
        return self._states

    async def start_model(self, name: str) -> None:
        await self._asked(START, name)

    async def stop_model(self, name: str) -> None:
        await self._asked(STOP, name)

    def logs(self, name: str, lines_max: int) -> tuple[str, ...]:
        """From any thread but the event loop's."""
        assert self._loop is not None, "opened before it is used"
        asking = self._bus.ask(PARENT, LOGS, (name, lines_max), LOGS_S_MAX)
        return tuple(asyncio.run_coroutine_threadsafe(asking, self._loop).result())

    async def _asked(self, what: str, name: str) -> Mapping[str, Any]:
        try:
            # However long it takes: a start outlives many a caller, and who gives up stops nothing.
            answer: Mapping[str, Any] = await self._bus.ask(PARENT, what, name, wait_s=None)
        except SiblingGone as error:
            raise LocalModelFailed(name, "the gateway is shutting down") from error
        if "cause" in answer:
            raise LocalModelFailed(answer["model"], answer["cause"], answer["retry_after_s"])
        return answer

    def _learn(self, told: Any) -> None:
        self._states = msgspec.convert(told["states"], tuple[ReplicaState, ...])
        self._ready = {name: tuple(Address(*each) for each in ready) for name, ready in told["ready"].items()}


def _told(supervisor: Supervisor) -> Mapping[str, Any]:
    states = supervisor.states()
    ready: dict[str, list[tuple[str, int]]] = {}
    for each in states:
        if each.state is State.READY and each.address is not None:
            host, _, port = each.address.rpartition(":")
            ready.setdefault(each.model, []).append((host, int(port)))
    return {"states": states, "ready": ready}


async def _tried(doing: Awaitable[Address | None]) -> Mapping[str, Any]:
    try:
        done = await doing
    except LocalModelFailed as failure:
        return {"model": failure.model, "cause": failure.cause, "retry_after_s": failure.retry_after_s}
    return {"host": done.host, "port": done.port} if isinstance(done, Address) else {}
