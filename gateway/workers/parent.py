"""Supervises the workers of one machine: starts them, starts again what dies, hands signals on, ends when they have.

It serves no request itself. It keeps what there is one of: the port, the first greeting, the local models, and what
the workers that are gone had counted.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.config.schema import Settings
from gateway.greeting import GREETING, AdminKey, announced, greet
from gateway.local_models import supervisor_of
from gateway.workers.bus import PARENT, Bus, SiblingGone
from gateway.workers.counts import counters_of
from gateway.workers.engines import EngineRoom
from gateway.workers.handover import CANNOT, UP, Handover, packed
from gateway.workers.place import NoPlace, clear, place
from gateway.workers.port import reserved
from gateway.workers.refusal import CannotServe
from gateway.workers.sums import Sums
from gateway.workers.worker import Worker

LOCK: Final = "workers.lock"
# A worker that lived so long is started again at once, which costs less than that; one that dies younger waits longer
# each time.
STEADY_S: Final = 2.0
BACKOFF_S_MIN: Final = 0.25
BACKOFF_S_MAX: Final = 30.0
# Beyond the drain: the books of a worker close, its models' streams end.
CLOSE_S_MAX: Final = 30.0
PROGRAM: Final = Path(__file__).with_name("start.py")

log = logging.getLogger("turnpike")


@dataclass(slots=True)
class _Place:
    """One index, and whoever holds it at present."""

    index: int
    process: asyncio.subprocess.Process | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)
    boot_id: str = ""
    deaths: int = 0


async def supervise(settings: Settings, environ: Mapping[str, str], key: AdminKey) -> int:
    """Serves until SIGTERM or SIGINT. Gives the exit status; raises `CannotServe`."""
    state = settings.state.directory
    with _alone(state):
        try:
            directory = place(state)
        except NoPlace as error:
            raise CannotServe(str(error)) from error
        bus = Bus(directory, PARENT)
        try:
            return await Parent(settings, environ, key, bus, directory).run()
        finally:
            await bus.close()
            clear(state, directory)


class Parent:
    def __init__(
        self, settings: Settings, environ: Mapping[str, str], key: AdminKey, bus: Bus, directory: Path
    ) -> None:
        self._settings, self._environ, self._key = settings, environ, key
        self._bus, self._directory = bus, directory
        self._places = tuple(_Place(index) for index in range(settings.server.workers))
        self._engines = EngineRoom(bus)
        self._sums = Sums(bus)
        self._told: signal.Signals | None = None
        self._stopping = asyncio.Event()
        self._refusal: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._port = 0
        self._all_up = False

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._hand_on, signal.SIGHUP)
        self._bus.handle(UP, self._up)
        self._bus.handle(CANNOT, self._cannot)
        # Held, and never listened on: so the port stays this gateway's while workers come and go.
        with reserved(self._settings.server.host, self._settings.server.port) as self._port:
            await self._bus.open()
            await self._open_engines()
            self._bus.begin()
            tending = [loop.create_task(self._tend(each)) for each in self._places]
            for task in tending:
                task.add_done_callback(self._fell)
            try:
                await self._serve()
            finally:
                self._stop(self._told or signal.SIGINT)
                statuses = await self._ended(tending)
                await self._engines.close()
        if self._refusal.done():
            raise CannotServe(self._refusal.result())
        return 0 if all(statuses) else 1

    async def _serve(self) -> None:
        """Greets once every worker is up, and waits to be told to stop, or that one cannot start at all."""
        ups = asyncio.get_running_loop().create_task(self._ups())
        if await self._first_of(ups):
            self._all_up = True
            told = await self._greeting()
            with announced(self._settings, self._port):
                greet(self._settings.server.host, self._port, self._key, told)
                await self._stopping.wait()
        else:
            ups.cancel()

    async def _ups(self) -> None:
        for each in self._places:
            await each.up.wait()

    async def _first_of(self, ups: "asyncio.Task[None]") -> bool:
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((ups, self._refusal, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return ups.done() and not self._stopping.is_set()

    async def _greeting(self) -> Mapping[str, Any]:
        for each in self._places:
            # One that has just died is not the one to ask.
            with contextlib.suppress(SiblingGone, TimeoutError):
                answer: Mapping[str, Any] = await self._bus.ask(each.boot_id, GREETING, wait_s=CLOSE_S_MAX)
                return answer
        return {"first_key": None, "model": ""}

    async def _open_engines(self) -> None:
        supervisor = supervisor_of(
            self._settings,
            self._environ,
            clock=lambda: time.time_ns() // 1000,  # noqa: TID251  # the parent builds no app, whose clock it could take
            draw=random.random,  # noqa: TID251  # likewise
            tell=self._engines.tell,
        )
        try:
            await supervisor.open()
        except RuntimeError as error:
            raise CannotServe(str(error)) from error
        self._engines.serve(supervisor)

    async def _tend(self, one: _Place) -> bool:
        """Keeps one index served. Whether its last worker ended as it should."""
        while True:
            began_s = asyncio.get_running_loop().time()
            status = await self._live(one)
            if self._told is not None:
                # Told before it could listen to it: the signal's own way to end a process is as good.
                return status == 0 or (not one.up.is_set() and -status in (signal.SIGTERM, signal.SIGINT))
            lived_s = asyncio.get_running_loop().time() - began_s
            if not one.up.is_set() and not self._all_up:
                self._refuse(f"worker {one.index} {_ending(status)} while it started: the log says why")
                return False
            one.deaths = 1 if lived_s >= STEADY_S else one.deaths + 1
            pause_s = 0.0 if one.deaths == 1 else min(BACKOFF_S_MIN * 2.0 ** (one.deaths - 2), BACKOFF_S_MAX)
            log.error("worker %d %s: it is started again in %g s", one.index, _ending(status), pause_s)
            one.up.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
                    return True

    async def _live(self, one: _Place) -> int:
        """One worker's life; its exit status."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", str(PROGRAM), str(one.index), stdin=asyncio.subprocess.PIPE
            )
        except OSError:
            log.exception("worker %d cannot be started: this machine gives no process or no memory", one.index)
            return 1
        one.process = process
        one.boot_id = f"{one.index}-{os.urandom(8).hex()}"
        worker = Worker(one.boot_id, one.index, len(self._places), self._directory, self._port)
        handover = Handover(self._settings, dict(self._environ), self._key.secret, worker, os.getpid())
        assert process.stdin is not None
        # uvloop's complaint where the process has died meanwhile, which `wait` will tell.
        with contextlib.suppress(RuntimeError):
            process.stdin.write(json.dumps(sys.path).encode() + b"\n" + packed(handover))
        if self._told is not None:
            process.send_signal(self._told)
        status = await process.wait()
        one.process = None
        self._bus.forget(one.boot_id)
        self._sums.gone(one.boot_id)
        counters_of(self._settings.state.directory, one.index, len(self._places)).close()
        return status

    async def _ended(self, tending: "list[asyncio.Task[bool]]") -> list[bool]:
        """Every worker has gone; one that does not go in time is killed."""
        server = self._settings.server
        _, late = await asyncio.wait(tending, timeout=server.drain_delay_s + server.drain_seconds_max + CLOSE_S_MAX)
        if late:
            log.error("%d workers do not end: they are killed; the next start books what they leave", len(late))
            self._hand_on(signal.SIGKILL)
        return await asyncio.gather(*tending)

    def _stop(self, number: signal.Signals) -> None:
        self._told = self._told or number
        self._stopping.set()
        self._hand_on(number)

    def _fell(self, tending: "asyncio.Task[bool]") -> None:
        """A worker that nobody tends: rather none than fewer than were asked for, unseen."""
        if not tending.cancelled() and tending.exception() is not None:
            self._stop(signal.SIGTERM)

    def _hand_on(self, number: signal.Signals) -> None:
        for each in self._places:
            if each.process is not None and each.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    each.process.send_signal(number)

    def _up(self, told: Any) -> None:
        index, boot_id = told
        one = self._places[index]
        if one.boot_id == boot_id:
            one.up.set()

    def _cannot(self, told: Any) -> None:
        index, reason = told
        if self._all_up:
            log.error("worker %d cannot serve: %s", index, reason)
        else:
            self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        if not self._refusal.done():
            self._refusal.set_result(reason)


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One gateway with workers on a state directory: the sockets in there are its own."""
    lock = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CannotServe(
            f"{state} belongs to a gateway that is running: stop it, or give this one its own state directory"
        ) from None
    finally:
        os.close(lock)


def _ending(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
