"""Runs the gateway: opens its door, says where it is, and drains in order when told to go."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, cast

import uvloop
from sqlalchemy.exc import SQLAlchemyError

from billing.journal import JournalInUse
from billing.migrating import MigrationFailed, migrate
from gateway.app import App, admin_key, build, new_key
from gateway.config.schema import Settings
from gateway.log import configure_log
from gateway.wire.server import ServerConnection

log = logging.getLogger("turnpike")

BACKLOG: Final = 4096
DRAIN_LOOK_S: Final = 0.05
FIRST_KEY_NAME: Final = "first key"
ADDRESS_FILE: Final = "gateway.address"


class CannotServe(Exception):
    """The gateway cannot start; the message says what to do."""


def serve(settings: Settings, *, environ: Mapping[str, str]) -> int:
    """Serves until SIGTERM or SIGINT. Gives the exit status; raises `CannotServe`."""
    configure_log()
    directory = settings.state.directory
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CannotServe(f"state.directory {directory} cannot be made: {error.strerror}; name another") from error
    fresh = not settings.state.admin_key_file.exists() and settings.auth.admin_key is None
    secret, file = admin_key(settings)
    try:
        migrate(settings.state.database_url)
    except MigrationFailed as error:
        raise CannotServe(str(error)) from error
    except SQLAlchemyError as error:
        reason = f"the database in {directory} cannot be opened: {getattr(error, 'orig', None) or error}"
        raise CannotServe(f"{reason}; repair it or bring a backup back, or set state.database") from error
    return uvloop.run(_run(settings, environ, secret, file, fresh=fresh))


async def _run(
    settings: Settings, environ: Mapping[str, str], secret: str, key_file: Path | None, *, fresh: bool
) -> int:
    loop = asyncio.get_running_loop()
    app = build(settings, environ, secret)
    await _open(app)
    door = app.door
    try:
        server = await loop.create_server(
            lambda: cast("asyncio.Protocol", ServerConnection(door, app.services.sweep, loop)),
            settings.server.host,
            settings.server.port,
            backlog=BACKLOG,
        )
    except OSError as error:
        await app.close()
        where = f"{settings.server.host}:{settings.server.port}"
        raise CannotServe(
            f"cannot listen on {where}: {error.strerror}; stop what listens there, or set server.port"
        ) from error
    port = server.sockets[0].getsockname()[1]
    _greet(app, f"http://{_shown(settings.server.host)}:{port}", secret, key_file, fresh=fresh)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _told, app, told, number)
    loop.add_signal_handler(
        signal.SIGHUP, log.warning, "SIGHUP: reloading is not supported yet; restart to apply changes"
    )
    with _announced(settings, port):
        await told.wait()
    await _drain(app, server, delay_s=app.settings.server.drain_delay_s if app.services.gate.patient else 0.0)
    return 0


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
        await app.supervisor.open()
    except RuntimeError as error:
        await app.close()
        raise CannotServe(str(error)) from error


def _told(app: App, told: asyncio.Event, number: signal.Signals) -> None:
    """The first signal begins to drain; SIGINT, from a keyboard, does not wait for load balancers."""
    app.services.gate.draining = True
    app.services.gate.patient = number is signal.SIGTERM
    told.set()


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


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104  # compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _greet(app: App, address: str, secret: str, key_file: Path | None, *, fresh: bool) -> None:
    say = _printer()
    say(f"Turnpike is serving on {address}")
    say(f"Admin page            {address}/admin")
    first = _first_key(app)
    if fresh:
        say(f"Admin key             {secret}")
    if key_file is not None:
        say(f"The admin key lies in {key_file}")
    if first is not None:
        model = _model_to_try(app)
        say(f"First key             {first}   (shown this once)")
        say("")
        say("Try it:")
        say(_CURL.format(address=address, key=first, model=model))
        say("")
        say(_PYTHON.format(address=address, key=first, model=model))
    say("")


def _first_key(app: App) -> str | None:
    """On a first start, a key to try it with; None where keys exist."""
    if app.store.all_keys():
        return None
    secret, key = new_key(FIRST_KEY_NAME)
    app.store.create_key(key)
    app.services.keyring.put(key)
    return secret


@contextlib.contextmanager
def _announced(settings: Settings, port: int) -> Iterator[None]:
    """Says where this gateway is, for commands that change things through it."""
    file = settings.state.directory / ADDRESS_FILE
    file.write_text(f"{settings.server.host} {port}\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _model_to_try(app: App) -> str:
    roads = app.services.roads
    listed = roads.listed()
    if roads.pools or not listed:
        return listed[0] if listed else "demo/echo"
    favourites = ("openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash")
    return next((name for name in favourites if name in listed), listed[0])


def _printer() -> Callable[[str], None]:
    def say(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return say


_CURL: Final = """\
  curl {address}/v1/chat/completions -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'"""

_PYTHON: Final = """\
  from openai import OpenAI
  client = OpenAI(base_url="{address}/v1", api_key="{key}")
  answer = client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "Hello"}}])
  print(answer.choices[0].message.content)"""
