"""From words to an exit status: 0 done, 1 refused or failed, 2 wrong usage. An error is one line on standard error."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.grammar import parser
from gateway.cli.refusal import Refused
from gateway.cli.situation import Situation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DONE: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130


def main(words: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Does what the words say. What a command needs is imported when it runs, not before."""
    options = parser().parse_args(words)
    given = os.environ if environ is None else environ  # noqa: TID251 - the one place
    module, _, function = options.does.partition(":")
    try:
        with ExitStack() as closing:
            here = Situation(given, Path.cwd(), options, closing)
            status: int | None = getattr(import_module(f"gateway.cli.{module}"), function)(here)
        sys.stdout.flush()
    except Refused as refused:
        print(f"turnpike: {one_line(str(refused))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python would complain once more while closing standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return DONE if status is None else status


def one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
