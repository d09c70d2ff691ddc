"""`turnpike version`: which Turnpike this is, on which Python, compiled or not, as a bug report wants it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Final

from gateway.built import compiled

if TYPE_CHECKING:
    from gateway.cli.situation import Situation

DISTRIBUTION: Final = "turnpike-gateway"


def version(_: Situation) -> None:
    build = "compiled" if compiled() else "interpreted"
    print(f"turnpike {of_this()} (Python {platform.python_version()}, {build})")


def of_this() -> str:
    try:
        return installed(DISTRIBUTION)
    except PackageNotFoundError:
        return "from a source tree that is not installed"
