"""One worker's duty, alone or among others: open the books and the door, serve until told, drain in order."""

import asyncio
import logging
import signal
from collections.abc import Mapping
from typing import Any, Final, cast

from billing.audit import Actor
from billing.books import JournalInUse
from gateway.app import App, build, new_key
from gateway.config.schema import Settings
from gateway.wire.server import ServerConnection
from gateway.workers.bus import Bus
from gateway.workers.refusal import CannotServe, cannot_listen
from gateway.workers.worker import Worker

log = logging.getLogger("turnpike")

BACKLOG: Final = 4096
DRAIN_LOOK_S: Final = 0.05
FIRST_KEY_NAME: Final = "first key"


class OnDuty:
    """A worker that listens, to signals too."""

    def __init__(self, app: App, server: asyncio.Server, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.port: int = server.sockets[0].getsockname()[1]
        self._server = server
        self._told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._tell, number)
        loop.add_signal_handler(
            signal.SIGHUP, log.warning, "SIGHUP: reloading is not supported yet; restart to apply changes"
        )

    def greeting(self) -> Mapping[str, Any]:
        """For whoever greets: on a first start a key to try it with, and a model."""
        return {"first_key": _first_key(self.app), "model": _model_to_try(self.app)}

    async def until_told(self) -> None:
        """Serves until SIGTERM or SIGINT, and drains."""
        await self._told.wait()
        app = self.app
        await _drain(app, self._server, delay_s=app.settings.server.drain_delay_s if app.services.gate.patient else 0.0)

    def _tell(self, number: signal.Signals) -> None:
        """The first signal begins to drain; SIGINT, from a keyboard, does not wait for load balancers."""
        gate = self.app.services.gate
        gate.draining = True
        gate.patient = number is signal.SIGTERM
        self._told.set()


async def begin(settings: Settings, environ: Mapping[str, str], admin_secret: str, worker: Worker, bus: Bus) -> OnDuty:
    """Builds everything and listens. Raises `CannotServe`."""
    loop = asyncio.get_running_loop()
    # Before anything is read that a sibling may change.
    await bus.open()
    app = build(settings, environ, admin_secret, worker, bus)
    await _open(app)
    bus.begin()
    host, port = settings.server.host, settings.server.port if worker.port is None else worker.port
    try:
        server = await loop.create_server(
            lambda: cast("asyncio.Protocol", ServerConnection(app.door, app.services.sweep, loop)),
            host,
            port,
            backlog=BACKLOG,
            reuse_port=not worker.alone,
        )
    except OSError as error:
        await app.close()
        raise cannot_listen(host, port, error) from error
    return OnDuty(app, server, loop)


async def _open(app: App) -> None:
    """Raises `CannotServe` where what an earlier gateway left, or another one that runs, is in the way."""
    directory = app.settings.state.directory
    try:
        app.open()
    except JournalInUse as error:
        raise CannotServe(str(error)) from error
    except OSError as error:
        reason = f"the journal in {directory} cannot be opened: {error.strerror}"
        raise CannotServe(f"{reason}; make room there, or set state.directory") from error
    try:
        await app.engines.open()
    except RuntimeError as error:
        await app.close()
        raise CannotServe(str(error)) from error


async def _drain(app: App, server: asyncio.AbstractServer, *, delay_s: float) -> None:
    """Not ready, still accepting; then no more; then what is in flight ends; then the books close."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(delay_s)
    app.door.closing = True
    server.close()
    deadline = loop.time() + app.settings.server.drain_seconds_max
    while loop.time() < deadline:
        for connection in [each for each in app.door.connections if each.idle]:
            connection.close()
        if not app.services.gate.in_flight and not app.door.connections:
            break
        await asyncio.sleep(DRAIN_LOOK_S)
    for connection in list(app.door.connections):
        connection.abort()
    await asyncio.sleep(0)
    await app.close()


def _first_key(app: App) -> str | None:
    """On a first start, a key to try it with; None where keys exist."""
    if app.store.all_keys():
        return None
    secret, key = new_key(FIRST_KEY_NAME)
    app.store.create_key(key, Actor("system"), key.created_at_us)
    app.refresh.changed(("tenancy",))
    return secret


def _model_to_try(app: App) -> str:
    roads = app.services.roads
    listed = roads.listed()
    if roads.pools or not listed:
        return listed[0] if listed else "demo/echo"
    favourites = ("openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash")
    return next((name for name in favourites if name in listed), listed[0])
