"""`turnpike local`: puts a model server on this machine, and looks after its models through the running gateway."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from gateway.cli import reach
from gateway.cli.desk import address
from gateway.cli.refusal import Refused
from gateway.cli.tables import Row, listing_json, table
from local_backend.install import InstallFailed, executable
from local_backend.install import install as install_vllm
from local_backend.progress import shown_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.situation import Situation

COLUMNS: Final = ("model", "replica", "state", "since", "phase", "percent", "address", "restarts", "cause")


def install(here: Situation) -> None:
    directory = here.settings().state.directory
    try:
        command = install_vllm(here.option("device"), directory, shown_on(sys.stderr))
    except InstallFailed as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(
            f"vLLM cannot be put into {directory}: {error.strerror}; make it writable or set state.directory"
        ) from None
    print(" ".join(command))


def status(here: Situation) -> None:
    """The replicas of the running gateway; where none runs, what is configured, all of it stopped."""
    settings = here.settings()
    found: list[Any]
    if reach.running(settings) is not None:
        found = reach.gateway(settings).ask("GET", address("local"))["data"]
    else:
        found = [
            {"model": name, "replica": index, "state": "stopped"}
            for name, row in settings.local.models.items()
            for index in range(row.replicas)
        ]
    _tell(here, found)
    if not here.option("json") and settings.local.command is None and executable(settings.state.directory) is None:
        print("vLLM is not installed here; `turnpike local install` does it", file=sys.stderr)


def start(here: Situation) -> None:
    _tell(here, _gateway_does(here, "start"))


def stop(here: Situation) -> None:
    _tell(here, _gateway_does(here, "stop"))


def logs(here: Situation) -> None:
    path = address("local", here.option("model"), "logs", lines=here.option("lines"))
    for line in reach.gateway(here.settings()).ask("GET", path)["lines"]:
        print(line)


def _gateway_does(here: Situation, verb: str) -> list[Any]:
    found: list[Any] = reach.gateway(here.settings()).ask("POST", address("local", here.option("model"), verb))["data"]
    return found


def _tell(here: Situation, found: Sequence[Row]) -> None:
    print(listing_json(found) if here.option("json") else table(found, COLUMNS))
