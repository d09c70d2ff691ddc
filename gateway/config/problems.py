"""What is wrong with a configuration, where, and what to do about it; never what a secret is."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KeyPath: TypeAlias = tuple[str | int, ...]

# Below this a name is not a slip of the finger but another word, and naming it would mislead.
LIKENESS_MIN: Final = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written: a line of a file, or an environment variable."""

    source: str
    line: int | None = None
    folder: Path | None = None
    """What a relative path in the value starts from; None: the working directory."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    place: Place | None
    path: KeyPath
    message: str
    """A predicate of the key: "is missing", "must be at least 1"."""

    def __str__(self) -> str:
        subject = f"{dotted(self.path)} {self.message}" if self.path else self.message
        return f"{self.place}: {subject}" if self.place else subject


class ConfigError(Exception):
    """The configuration cannot be used. Its text is one line; `problems` holds all of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - 1
        tail = f" (and {more} more: `turnpike config check` lists them)" if more else ""
        super().__init__(f"{self.problems[0]}{tail}")


def dotted(path: KeyPath) -> str:
    """`models.chat[0].weight`, as a reader would say it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """A half-sentence that names the likely intention, else all that is possible."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=LIKENESS_MIN)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(names)}" if names else "nothing is known here"
