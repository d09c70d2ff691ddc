"""One vLLM and its whole life. One task owns it; everybody else reads its state or asks it to start or stop.

The promise: an address is given out only while the replica has proved that it answers, and a replica is not started
again, nor called stopped, before every process of its last life is gone.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from local_backend.flags import SHUTDOWN_S, Device, LocalModel, serve_command, serve_environment
from local_backend.launch import CannotRunError, Child, free_port, launch
from local_backend.logs import Ring
from local_backend.readiness import Address, Load, NoAnswerError, RefusedError, load, unanswered, unhealthy
from local_backend.state import Event, Failures, ReplicaState, State, after, backoff_s


@dataclass(frozen=True, slots=True)
class Limits:
    # A start may take as long as it likes while vLLM has something to tell; big weights take many minutes.
    start_silence_s_max: float = 300
    start_probe_pause_s: float = 0.1
    first_answer_s_max: float = 120
    probe_pause_s: float = 1
    probe_s_max: float = 5
    probe_misses_max: int = 3
    # Without progress for that long a replica has to complete a request. It waits its turn behind long prompts,
    # so a miss alone proves nothing.
    canary_pause_s: float = 15
    canary_s_max: float = 30
    canary_misses_max: int = 2
    drain_s_max: float = 30
    stop_s_max: float = SHUTDOWN_S + 10
    kill_s_max: float = 10
    # After that long in good health earlier failures are forgotten.
    steady_s_min: float = 300


@dataclass(frozen=True, slots=True)
class Setting:
    """What all replicas of a supervisor share."""

    command: tuple[str, ...]
    directory: Path
    device: Device
    environ: Mapping[str, str]
    clock: Callable[[], int]
    draw: Callable[[], float]
    limits: Limits
    # One start at a time: two engines that measure free memory together both measure wrongly.
    starting: asyncio.Lock


@dataclass(frozen=True, slots=True)
class Death:
    cause: str
    final: bool = False


DRAIN_PAUSE_S: Final = 0.2


class Replica:
    def __init__(self, model: LocalModel, index: int, setting: Setting, changed: Callable[["Replica"], None]) -> None:
        self.model = model
        self.index = index
        self.state = State.STOPPED
        self.address: Address | None = None
        self.ring = Ring()
        self.failures = Failures()
        self.retry_at_s: float | None = None
        self.was_ready = False
        self._setting = setting
        self._limits = setting.limits
        self._changed = changed
        self._since_at_us = setting.clock()
        self._restarts = 0
        self._cause: str | None = None
        self._child: Child | None = None
        self._owner: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    def view(self) -> ReplicaState:
        progress = self.ring.progress
        starting = self.state in {State.STARTING, State.WARMING}
        return ReplicaState(
            model=self.model.name,
            index=self.index,
            state=self.state,
            since_at_us=self._since_at_us,
            phase=progress.phase if starting else self.state.value.replace("_", " "),
            percent=progress.percent if starting else None,
            address=str(self.address) if self.address else None,
            pid=self._child.pid if self._child else None,
            restarts=self._restarts,
            cause=self._cause,
        )

    @property
    def cause(self) -> str:
        return self._cause or "it has not been started"

    def start(self) -> None:
        """Begin to live, if it does not: a second call while it starts changes nothing."""
        if self.state not in {State.STOPPED, State.FAILED}:
            return
        self.failures = Failures()
        self.was_ready = False
        self._owner = asyncio.get_running_loop().create_task(self._live())
        self._step(Event.START)

    async def stop(self) -> None:
        """Take it out of use, let it finish what it works on, end it. Whoever asks twice waits for the same end."""
        if self._stopping is None:
            address = self.address
            # Out of use at once: from here on nobody is sent to it.
            self._step(Event.STOP)
            self._stopping = asyncio.get_running_loop().create_task(self._stop(address))
        await asyncio.shield(self._stopping)

    def _step(self, event: Event) -> None:
        state = after(self.state, event)
        if state is self.state:
            return
        self.state = state
        self._since_at_us = self._setting.clock()
        if state is not State.READY:
            self.address = None
        self._changed(self)

    async def _live(self) -> None:
        while True:
            began_s = _now_s()
            death = await self._life()
            steady = self.state is State.READY and _now_s() - began_s >= self._limits.steady_s_min
            self.was_ready = self.state is State.READY
            self._cause = death.cause
            self.failures = (Failures() if steady else self.failures).with_cause(death.cause)
            self._step(Event.DIED)
            while not await self._buried():
                pass
            pause_s = backoff_s(self.failures.count, self._setting.draw())
            # One that has answered before is tried for ever: what it ran into may pass.
            if death.final or (self.failures.hopeless and not self.was_ready):
                self._step(Event.GIVE_UP)
                return
            self.retry_at_s = _now_s() + pause_s
            self._step(Event.GONE)
            await asyncio.sleep(pause_s)
            self._restarts += 1
            self._step(Event.RETRY)

    async def _life(self) -> Death:
        async with self._setting.starting:
            address = Address("127.0.0.1", free_port())
            try:
                child = await self._launch(address)
            except (CannotRunError, OSError) as error:
                return Death(str(error), final=isinstance(error, CannotRunError))
            death = await self._while_alive(child, self._come_up(address))
        if death is not None:
            return death
        self.address = address
        self._cause = None
        self._step(Event.ANSWERED)
        return await self._while_alive(child, self._watch(address)) or Death("it was not watched any longer")

    async def _launch(self, address: Address) -> Child:
        setting, model = self._setting, self.model
        command = serve_command(setting.command, model, address.port, setting.device)
        is_local = await asyncio.to_thread(Path(model.model).exists)
        if not is_local and model.model.startswith(("/", "./", "../", "~")):
            # vLLM would take it for a name on the hub and complain of its spelling.
            raise CannotRunError(f"local.models.{model.name}.model: there is no folder {model.model}")
        environment = serve_environment(setting.environ, setting.command, setting.device, model_is_local=is_local)
        # No slash may come from a name, and no two supervisors on one directory may share a file.
        record = setting.directory / f"{quote(model.name, safe='')}-{self.index}-{address.port}.json"
        launching = asyncio.ensure_future(launch(command, environment, record, self.ring))
        try:
            self._child = await asyncio.shield(launching)
        except asyncio.CancelledError:
            # Whoever stops us now must find the child that is being born.
            self._child = await launching
            raise
        return self._child

    async def _while_alive(self, child: Child, work: Coroutine[Any, Any, Death | None]) -> Death | None:
        doing, ending = asyncio.ensure_future(work), asyncio.ensure_future(child.ended())
        try:
            await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                return doing.result()
            # Its exit status says nothing: vLLM leaves with 0 when its engine was killed.
            said = self.ring.cause()
            return Death(
                said or f"vLLM ended (exit status {ending.result()}); see `turnpike local logs {self.model.name}`"
            )
        finally:
            doing.cancel()
            ending.cancel()
            await asyncio.wait({doing, ending})

    async def _come_up(self, address: Address) -> Death | None:
        written, heard_at_s = self.ring.written, _now_s()
        while True:
            if self.ring.written != written:
                written, heard_at_s = self.ring.written, _now_s()
            elif _now_s() - heard_at_s > self._limits.start_silence_s_max:
                phase = self.ring.progress.phase
                return Death(f"no progress for {self._limits.start_silence_s_max:g} s while {phase}")
            try:
                if await unhealthy(address, self._limits.probe_s_max) is None:
                    break
            except NoAnswerError:
                # The port stays closed until the model is loaded.
                pass
            await asyncio.sleep(self._limits.start_probe_pause_s)
        self._step(Event.HEALTHY)
        wrong = await unanswered(address, self.model, self._limits.first_answer_s_max)
        return Death(f"it came up but completed no request: {wrong}") if wrong else None

    async def _watch(self, address: Address) -> Death | None:
        limits = self._limits
        misses, silent, before = 0, 0, Load(0, 0)
        canary_at_s = _now_s() + limits.canary_pause_s
        while True:
            await asyncio.sleep(limits.probe_pause_s)
            try:
                if wrong := await unhealthy(address, limits.probe_s_max):
                    return Death(f"its engine died: {wrong}")
                misses = 0
            except RefusedError as error:
                return Death(f"its API server is gone: {error}")
            except NoAnswerError as error:
                misses += 1
                if misses >= limits.probe_misses_max:
                    return Death(f"it is frozen: {error}, {misses} times")
            if _now_s() < canary_at_s or misses:
                continue
            before, wrong = await self._progress(address, before)
            silent = silent + 1 if wrong else 0
            if silent >= limits.canary_misses_max:
                return Death(f"its engine is frozen: {wrong}, {silent} times, and it made no token meanwhile")
            canary_at_s = _now_s() + (0 if wrong else limits.canary_pause_s)

    async def _progress(self, address: Address, before: Load) -> tuple[Load, str | None]:
        """What it has done by now, and why that is not enough: /health says 200 for a frozen engine."""
        try:
            seen = await load(address, self._limits.probe_s_max)
            if seen.tokens != before.tokens:
                return seen, None
            wrong = await unanswered(address, self.model, self._limits.canary_s_max)
            after_canary = await load(address, self._limits.probe_s_max)
            # A canary that waits in a long queue is no sign of illness while others are being served.
            return after_canary, wrong if after_canary.tokens == seen.tokens else None
        except NoAnswerError as error:
            return before, str(error)

    async def _stop(self, address: Address | None) -> None:
        try:
            if self._owner:
                self._owner.cancel()
                await asyncio.wait({self._owner})
                self._owner = None
            if self._child and address:
                await self._let_finish(self._child, address)
            # One that outlives SIGKILL sits in the kernel; waiting for it would keep the gateway from ending.
            if await self._buried():
                self._step(Event.GONE)
        finally:
            self._stopping = None

    async def _let_finish(self, child: Child, address: Address) -> None:
        """While vLLM ends it answers new requests with 500, so the gateway's last ones must be through before."""
        until_s = _now_s() + self._limits.drain_s_max
        try:
            for _ in itertools.takewhile(lambda _: _now_s() < until_s, itertools.count()):
                if not (await load(address, self._limits.probe_s_max)).requests:
                    break
                await asyncio.sleep(DRAIN_PAUSE_S)
        except NoAnswerError:
            return
        child.ask_to_end()
        waiting = asyncio.ensure_future(child.ended())
        await asyncio.wait({waiting}, timeout=self._limits.stop_s_max)
        waiting.cancel()
        await asyncio.wait({waiting})

    async def _buried(self) -> bool:
        if self._child and not await self._child.end(self._limits.kill_s_max):
            self._cause = f"processes of its last life do not end: see {self._child.record_path}"
            return False
        self._child = None
        return True


def _now_s() -> float:
    return asyncio.get_running_loop().time()
