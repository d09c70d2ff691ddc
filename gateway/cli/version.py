"""`turnpike version`: which Turnpike this is, and on which Python, as a bug report wants it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.cli.situation import Situation

DISTRIBUTION: Final = "turnpike-gateway"


def version(_: Situation) -> None:
    print(f"turnpike {of_this()} (Python {platform.python_version()})")


def of_this() -> str:
    try:
        return installed(DISTRIBUTION)
    except PackageNotFoundError:
        return "from a source tree that is not installed"
