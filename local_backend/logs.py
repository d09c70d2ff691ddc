"""What vLLM writes, kept in a ring, and what it says: how far a start has come and why one failed."""

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LINES_MAX: Final = 2000
LINE_CHARACTERS_MAX: Final = 2000
CAUSE_CHARACTERS_MAX: Final = 500

# The percentages are shares of the time that a start took when measured, not of anything that vLLM counts.
PHASES: Final = (
    ("non-default args", "reading the model's configuration", 20),
    ("Resolved architecture", "starting the engine", 40),
    ("Initializing a V1 LLM engine", "starting the worker", 60),
    ("Starting to load model", "loading weights", 80),
    ("Loading weights took", "preparing the cache", 90),
    ("init engine", "opening the door", 95),
    ("Application startup complete", "answering a first request", 99),
)
SHARDS: Final = re.compile(r"Loading \S+ checkpoint shards:\s+(\d+)% Completed")
SHARDS_FROM, SHARDS_TO = 80, 90

# "(EngineCore pid=12) ERROR 11-25 01:02:03 [core.py:9] ValueError: text", each part of the prefix optional.
ERROR: Final = re.compile(
    r"^(?P<process>\(\w+[^)]*\)\s*)?(?:(?:ERROR|CRITICAL)\s+[\d-]+ [\d:]+ \[[^\]]*\]\s*)?"
    r"(?P<kind>[\w.]*(?:Error|Exception)): (?P<text>.+)$"
)
USAGE: Final = re.compile(r"^(?:\S+ )*error: (?P<text>.+)$")
# It only says that there was an error, above.
EMPTY: Final = ("Engine core initialization failed", "See root cause above", "WorkerProc initialization failed")
OWN_PROBES: Final = ('"GET /health ', '"GET /metrics ')


@dataclass(frozen=True, slots=True)
class Progress:
    phase: str = "starting Python"
    percent: int = 0


def read_progress(progress: Progress, line: str) -> Progress:
    """Never backwards: replicas of an engine report the same steps more than once."""
    if shards := SHARDS.search(line):
        percent = SHARDS_FROM + int(shards[1]) * (SHARDS_TO - SHARDS_FROM) // 100
        return max(progress, Progress("loading weights", min(percent, SHARDS_TO)), key=_percent)
    for text, phase, percent in PHASES:
        if text in line:
            return max(progress, Progress(phase, percent), key=_percent)
    return progress


def _percent(progress: Progress) -> int:
    return progress.percent


def cause(lines: Iterable[str]) -> str | None:
    """Why vLLM failed, in its own words: the last ValueError of the engine, else the last error of anything.

    The traceback at the very end is the API server's and says only that the engine did not come up.
    """
    engine: str | None = None
    other: str | None = None
    usage: str | None = None
    for line in lines:
        if found := ERROR.match(line.strip()):
            if any(empty in found["text"] for empty in EMPTY):
                continue
            if (found["process"] or "").startswith("(EngineCore") and found["kind"] == "ValueError":
                engine = found["text"]
            else:
                other = f"{found['kind']}: {found['text']}"
        elif found := USAGE.match(line.strip()):
            usage = found["text"]
        elif line.startswith("cannot run "):
            usage = line.strip()
    said = engine or usage or other
    return said[:CAUSE_CHARACTERS_MAX] if said else None


class Ring:
    """The last lines of one replica, and how many there ever were (a start that writes nothing makes no progress)."""

    def __init__(self, lines_max: int = LINES_MAX) -> None:
        self._lines: deque[str] = deque(maxlen=lines_max)
        self.written = 0
        self.progress = Progress()
        self._attempt_from = 0

    def start(self) -> None:
        """A new attempt: old lines stay to be read, but say nothing about it."""
        self.progress = Progress()
        self._attempt_from = self.written

    def write(self, line: str) -> None:
        if not line.strip() or any(probe in line for probe in OWN_PROBES):
            return
        self._lines.append(line[:LINE_CHARACTERS_MAX])
        self.written += 1
        self.progress = read_progress(self.progress, line)

    def last(self, lines_max: int) -> tuple[str, ...]:
        return tuple(self._lines)[-lines_max:] if lines_max > 0 else ()

    def cause(self) -> str | None:
        return cause(self.last(self.written - self._attempt_from))


class Splitter:
    """Bytes into lines. A progress bar rewrites its line with carriage returns; each state of it counts as a line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *lines, self._rest = re.split(rb"\r\n|\n|\r", self._rest + data)
        if len(self._rest) > 4 * LINE_CHARACTERS_MAX:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace") for line in lines]

    def rest(self) -> list[str]:
        lines, self._rest = ([self._rest.decode(errors="replace")] if self._rest else []), b""
        return lines
