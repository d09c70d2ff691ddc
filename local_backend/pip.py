"""Runs the pip of another environment and tells, from what it prints and unpacks, how far it has come."""
# ruff: noqa: S603  # the interpreter is the one that the installer has just made

import contextlib
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_backend.progress import Step, Tell

TAIL_LINES_MAX: Final = 40
UNPACKING: Final = "Installing collected packages"
UNPACKING_PAUSE_S: Final = 1.0
COLLECTING: Final = re.compile(r"^\s*(?:Collecting|Requirement already satisfied:) ([\w.\-]+)")
DOWNLOADING: Final = re.compile(r"^\s*Downloading (\S+) \((.+)\)")


class PipFailed(Exception):
    """pip's own last error."""


@dataclass(frozen=True, slots=True)
class Pip:
    python: Path
    log: Path
    progress: Tell

    def install(self, arguments: Sequence[str], *, what: str, total: int, between: tuple[int, int]) -> None:
        """`total` distributions are on their way from the first to the second of the two percentages."""
        command = [str(self.python), "-I", "-m", "pip", "install", "--no-input", "--progress-bar", "off", *arguments]
        tail: deque[str] = deque(maxlen=TAIL_LINES_MAX)
        low, high = between
        middle = low + (high - low) * 2 // 3
        seen, before = 0, self._unpacked()
        with (
            self.log.open("a") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
            contextlib.ExitStack() as until_done,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                tail.append(line.strip())
                seen += counts(line)
                if line.startswith(UNPACKING):
                    until_done.enter_context(self._counting(f"{what}: unpacking", before, seen, (middle, high)))
                elif text := told(line, what):
                    self.progress(Step(text, share(seen, total, (low, middle))))
        if process.returncode != 0:
            raise PipFailed(last_error(tail) or f"pip ended with {process.returncode}, see {self.log}")

    @contextlib.contextmanager
    def _counting(self, text: str, before: int, total: int, between: tuple[int, int]) -> Iterator[None]:
        """While pip unpacks it is silent, for half a minute; what has arrived is counted on the disk."""
        over = threading.Event()

        def count() -> None:
            waiting = True
            while waiting:
                waiting = not over.wait(UNPACKING_PAUSE_S)
                self.progress(Step(text, share(self._unpacked() - before, total, between)))

        counting = threading.Thread(target=count, daemon=True)
        counting.start()
        try:
            yield
        finally:
            over.set()
            counting.join()

    def _unpacked(self) -> int:
        return sum(1 for _ in (self.python.parent.parent / "lib").glob("python3.*/site-packages/*.dist-info"))


def counts(line: str) -> int:
    return 1 if COLLECTING.match(line) else 0


def told(line: str, what: str) -> str | None:
    """What of pip's line is worth showing."""
    if found := DOWNLOADING.match(line):
        return f"{what}: downloading {found[1].rpartition('/')[2].partition('-')[0]} ({found[2]})"
    if found := COLLECTING.match(line):
        return f"{what}: {found[1]}"
    return None


def share(seen: int, total: int, between: tuple[int, int]) -> int:
    low, high = between
    return low + (high - low) * min(seen, total) // max(total, 1)


def last_error(tail: Sequence[str]) -> str | None:
    errors = [line for line in tail if line.startswith("ERROR:")]
    full = [line for line in tail if "No space left on device" in line]
    if full:
        return "the disk is full"
    return errors[-1].removeprefix("ERROR:").strip() if errors else None
