"""The models of this machine: starts them when they are asked for, knows which address answers, ends them all.

The gateway asks `ready_address` on its hot path, `ensure_ready` when that says None, and speaks OpenAI to the address.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from local_backend.flags import Device, LocalModel, refusal
from local_backend.processes import clear_leftovers
from local_backend.readiness import Address
from local_backend.replica import Limits, Replica, Setting
from local_backend.state import ReplicaState, State

__all__ = ["Address", "Limits", "LocalModel", "LocalModelFailed", "ReplicaState", "State", "Supervisor"]


class LocalModelFailed(Exception):
    """The model cannot answer now; `cause` is vLLM's own reason, `retry_after_s` when it is tried again, if it is."""

    def __init__(self, model: str, cause: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"local model {model}: {cause}")
        self.model = model
        self.cause = cause
        self.retry_after_s = retry_after_s


class Crew:
    """The replicas of one model and whoever waits for the first of them."""

    def __init__(self, model: LocalModel, setting: Setting, tell: Callable[[ReplicaState], None]) -> None:
        self.model = model
        self.replicas = tuple(Replica(model, index, setting, self._changed) for index in range(model.replicas))
        self._tell = tell
        self._ready: tuple[Address, ...] = ()
        self._turn = 0
        self._waiting: set[asyncio.Future[Address]] = set()

    def next_address(self) -> Address | None:
        ready = self._ready
        if not ready:
            return None
        self._turn += 1
        return ready[self._turn % len(ready)]

    def start(self) -> None:
        for replica in self.replicas:
            replica.start()

    async def ensure_ready(self) -> Address:
        if address := self.next_address():
            return address
        if failure := self._hopeless():
            raise failure
        future: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            self._wake_stopped()
            return await future
        finally:
            self._waiting.discard(future)

    async def stop(self) -> None:
        self._refuse(LocalModelFailed(self.model.name, "it was stopped"))
        await asyncio.gather(*(replica.stop() for replica in self.replicas))

    def _wake_stopped(self) -> None:
        for replica in self.replicas:
            if replica.state is State.STOPPED:
                replica.start()

    def _changed(self, replica: Replica) -> None:
        self._ready = tuple(each.address for each in self.replicas if each.address and each.state is State.READY)
        self._tell(replica.view())
        if not self._waiting:
            return
        if self._ready:
            for future in self._waiting:
                if not future.done():
                    future.set_result(self.next_address() or self._ready[0])
        elif failure := self._hopeless():
            self._refuse(failure)
        else:
            # Asked for while it was being stopped: those who wait are newer than the wish to stop.
            self._wake_stopped()

    def _refuse(self, failure: LocalModelFailed) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(failure)

    def _hopeless(self) -> LocalModelFailed | None:
        """Why waiting is no use, if no replica is about to answer: a fallback serves the caller better than a pause."""
        retries: list[float] = []
        for replica in self.replicas:
            if replica.state is State.BACKING_OFF and not replica.was_ready and replica.retry_at_s is not None:
                retries.append(max(replica.retry_at_s - asyncio.get_running_loop().time(), 0))
            elif replica.state is not State.FAILED:
                return None
        cause = self.replicas[0].cause
        if retries:
            return LocalModelFailed(self.model.name, cause, min(retries))
        return LocalModelFailed(self.model.name, f"{cause} (mend it, then `turnpike local start {self.model.name}`)")


def _nobody(_: ReplicaState) -> None:
    """Tell nobody."""


class Supervisor:
    def __init__(
        self,
        models: Iterable[LocalModel],
        command: tuple[str, ...],
        directory: Path,
        *,
        device: Device,
        environ: Mapping[str, str],
        clock: Callable[[], int],
        draw: Callable[[], float],
        limits: Limits | None = None,
        tell: Callable[[ReplicaState], None] = _nobody,
    ) -> None:
        """`clock` gives microseconds since the epoch, `draw` a number from [0, 1); `tell` hears of each new state."""
        setting = Setting(
            command, directory / "replicas", device, environ, clock, draw, limits or Limits(), asyncio.Lock()
        )
        chosen = tuple(models)
        for model in chosen:
            if wrong := refusal(model):
                raise ValueError(wrong)
        self._setting = setting
        self._crews = {model.name: Crew(model, setting, tell) for model in chosen}
        self._closed = False

    async def open(self) -> None:
        """End what an earlier gateway left here, then start what is wanted from the first moment."""
        stuck = await clear_leftovers(self._setting.directory, self._setting.limits.kill_s_max)
        if stuck:
            raise RuntimeError(
                f"processes of an earlier gateway do not end: {'; '.join(stuck)}; end them, then start again"
            )
        for crew in self._crews.values():
            if crew.model.start == "eager":
                crew.start()

    def ready_address(self, name: str) -> Address | None:
        crew = self._crews.get(name)
        return crew.next_address() if crew else None

    async def ensure_ready(self, name: str) -> Address:
        """An address that answers, started if need be. However many ask, it starts once; who gives up stops nothing."""
        return await self._crew(name).ensure_ready()

    def states(self) -> tuple[ReplicaState, ...]:
        return tuple(replica.view() for crew in self._crews.values() for replica in crew.replicas)

    async def start_model(self, name: str) -> None:
        """Begin to start every replica, those that were given up included; does not wait for them."""
        self._crew(name).start()

    async def stop_model(self, name: str) -> None:
        """Until every process is gone. The next `ensure_ready` starts it again."""
        await self._crew(name).stop()

    def logs(self, name: str, lines_max: int) -> tuple[str, ...]:
        replicas = self._crew(name).replicas
        if len(replicas) == 1:
            return replicas[0].ring.last(lines_max)
        return tuple(
            f"[{replica.index}] {line}"
            for replica in replicas
            for line in replica.ring.last(lines_max // len(replicas))
        )

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*(crew.stop() for crew in self._crews.values()))

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _crew(self, name: str) -> Crew:
        if self._closed:
            raise LocalModelFailed(name, "the gateway is shutting down")
        crew = self._crews.get(name)
        if crew is None:
            raise LocalModelFailed(
                name, f"there is none of that name; local.models has {', '.join(self._crews) or 'none'}"
            )
        return crew
