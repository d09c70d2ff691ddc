"""`turnpike config`: is this file right, and what may stand in one?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.providers import known_providers
from gateway.cli.refusal import Refused
from gateway.cli.tables import json_text
from gateway.config.editors import json_schema
from gateway.config.load import load
from gateway.config.problems import ConfigError

if TYPE_CHECKING:
    from gateway.cli.situation import Situation

WRONG: Final = 1


def check(here: Situation) -> int:
    """Every problem, one a line; nothing but the environment and the named files is read, nothing is started."""
    path = here.config_path()
    try:
        settings = load(path, here.environ, known_providers())
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return WRONG
    local = len(settings.local.models)
    counts = f"{len(settings.providers)} providers, {local} local models, {len(settings.models)} model names"
    print(f"{path or 'no file, the environment alone'}: good ({counts})")
    return 0


def schema(here: Situation) -> None:
    text = json_text(json_schema())
    if here.option("file") is None:
        print(text)
        return
    try:
        Path(here.option("file")).write_text(f"{text}\n")
    except OSError as error:
        raise Refused(f"{here.option('file')} cannot be written: {error.strerror}") from None
