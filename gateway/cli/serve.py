"""`turnpike serve`: what was typed is above the environment, which is above the file; also after a reload."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.cli import reach
from gateway.cli.migrate import migrated
from gateway.cli.reach import ADDRESS_FILE
from gateway.cli.refusal import Refused
from gateway.serve import CannotServe
from gateway.serve import serve as serve_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.cli.situation import Situation
    from gateway.config.schema import Settings

TYPED: Final[Mapping[str, str]] = {
    "host": "TURNPIKE_SERVER__HOST",
    "port": "TURNPIKE_SERVER__PORT",
    "workers": "TURNPIKE_SERVER__WORKERS",
}


def serve(here: Situation) -> int:
    here = replace(here, environ=with_typed(here))
    settings = here.settings()
    if here.option("migrate"):
        migrated(settings)
    try:
        with announcement(settings):
            return serve_gateway(settings, config_path=here.config_path(), environ=here.environ)
    except CannotServe as error:
        raise Refused(str(error)) from None


def with_typed(here: Situation) -> dict[str, str]:
    """The environment, as if what was typed had been set in it: so a reload keeps to it too."""
    environ = dict(here.environ)
    for option, name in TYPED.items():
        if here.option(option) is not None:
            environ.pop(f"{name}_FILE", None)
            environ[name] = str(here.option(option))
    return environ


@contextmanager
def announcement(settings: Settings) -> Iterator[None]:
    """Where this gateway is, for commands that change things through it; a port that the system picks is not known yet.

    Whoever is already there keeps its place: two gateways on one state directory are the second one's mistake.
    """
    file = settings.state.directory / ADDRESS_FILE
    host, port = settings.server.host, settings.server.port
    if not port or reach.listens(*reach.announced(settings.state.directory)):
        yield
        return
    try:
        settings.state.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(f"{host} {port}\n")
    except OSError as error:
        raise Refused(f"the state directory {settings.state.directory} cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
