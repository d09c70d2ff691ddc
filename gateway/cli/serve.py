"""`turnpike serve`: what was typed is above the environment, which is above the file; also after a reload."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.cli.migrate import migrated
from gateway.cli.refusal import Refused
from gateway.serve import CannotServe
from gateway.serve import serve as serve_gateway

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.situation import Situation

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
        return serve_gateway(settings, environ=here.environ)
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
