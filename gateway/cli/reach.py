"""Is a gateway running? Then it is asked; else its books are opened."""

from __future__ import annotations

import socket
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.over_http import HttpDesk
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from gateway.cli.desk import Desk
    from gateway.config.schema import Settings

CONNECT_S_MAX: Final = 3
KEY_BYTES_MAX: Final = 4096
PORT_MAX: Final = 65_535
ADDRESS_FILE: Final = "gateway.address"
# An address to listen on that stands for all of the machine's is none to connect to.
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


def desk(settings: Settings) -> Desk:
    found = running(settings)
    if found is not None:
        return HttpDesk(*found, admin_key(settings, found))
    return books(settings)


def untouched(settings: Settings) -> bool:
    """No gateway runs and there is no database yet: looking into it would make one."""
    file = settings.state.database_url.removeprefix("sqlite:///")
    return settings.state.migrates_itself and not Path(file).exists() and running(settings) is None


def gateway(settings: Settings) -> Desk:
    """The running gateway, for what cannot be done without one."""
    found = running(settings)
    if found is None:
        host, port = usual_address(settings)
        raise Refused(f"no gateway runs at {host}:{port}; start it with `turnpike serve`, or name its --config")
    return HttpDesk(*found, admin_key(settings, found))


def books(settings: Settings) -> Desk:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - half a second of imports, needed where none runs alone

    from gateway.alerts import alerts_of  # noqa: PLC0415
    from gateway.cli.migrate import migrated  # noqa: PLC0415
    from gateway.cli.over_books import open_books  # noqa: PLC0415
    from gateway.configured_prices import configured_prices  # noqa: PLC0415

    migrated(settings)
    try:
        now_us = lambda: time.time_ns() // 1000  # noqa: E731, TID251 - a command's own clock
        state, prices = settings.state, partial(configured_prices, settings)
        return open_books(state.database_url, now_us, state.directory, alerts_of(settings.alerts), prices)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error)
        raise Refused(f"the database in {settings.state.directory} cannot be opened: {reason}") from None


def usual_address(settings: Settings) -> tuple[str, int]:
    return ANY_ADDRESS.get(settings.server.host, settings.server.host), settings.server.port


def running(settings: Settings) -> tuple[str, int] | None:
    """The address of the gateway that works on these books, if one does: where it said, else where it is configured."""
    for host, port in (announced(settings.state.directory), usual_address(settings)):
        if listens(host, port):
            return host, port
    return None


def announced(directory: Path) -> tuple[str, int]:
    """`serve` leaves its address in the state directory: it may have been given another one than the file says."""
    try:
        host, _, port = (directory / ADDRESS_FILE).read_text().strip().rpartition(" ")
        number = int(port)
    except (OSError, ValueError):
        return "", 0
    return ANY_ADDRESS.get(host, host), number if 0 < number <= PORT_MAX else 0


def listens(host: str, port: int) -> bool:
    """Port 0 is no address: the system picks one, or nothing was announced."""
    if not port:
        return False
    try:
        socket.create_connection((host, port), CONNECT_S_MAX).close()
    except ConnectionRefusedError:
        return False
    except OSError as error:
        raise Refused(f"whether a gateway runs at {host}:{port} cannot be told: {error.strerror or error}") from None
    return True


def admin_key(settings: Settings, at: tuple[str, int]) -> str:
    if settings.auth.admin_key is not None:
        return settings.auth.admin_key.get_secret_value()
    file = settings.state.admin_key_file
    try:
        with file.open() as opened:
            key = opened.read(KEY_BYTES_MAX).strip()
    except (OSError, ValueError):
        key = ""
    if not key:
        raise Refused(
            f"a gateway runs at {at[0]}:{at[1]}, and its admin key is not known here: set TURNPIKE_ADMIN_KEY "
            f"(a generated one lies in {file}, which cannot be read)"
        )
    return key
