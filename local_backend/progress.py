"""Shows the steps of a long piece of work: a bar on a terminal, plain lines elsewhere."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TextIO

BAR_CHARACTERS: Final = 24
LINE_PERCENT: Final = 5


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done, and how much of all of it is done."""

    text: str
    percent: int


Tell = Callable[[Step], None]


def shown_on(stream: TextIO) -> Tell:
    return _bar(stream) if stream.isatty() else _lines(stream)


def drawn(step: Step, columns: int, marks: str = "█░") -> str:
    done = BAR_CHARACTERS * step.percent // 100
    bar = marks[0] * done + marks[1] * (BAR_CHARACTERS - done)
    return f"{bar} {step.percent:3d}% {step.text}"[: max(columns - 1, 20)]


def topic(step: Step) -> str:
    return step.text.partition(":")[0]


def _bar(stream: TextIO) -> Tell:
    # A terminal in the C locale cannot write blocks, and an installation must not fail for that.
    marks = "█░" if (stream.encoding or "").lower().replace("-", "") == "utf8" else "#."

    def show(step: Step) -> None:
        line = drawn(step, shutil.get_terminal_size().columns, marks)
        stream.write(f"\r\x1b[K{line}" + ("\n" if step.percent >= 100 else ""))
        stream.flush()

    return show


def _lines(stream: TextIO) -> Tell:
    """A log wants to know that it goes on, not each of two hundred packages."""
    last = Step("", 0)

    def show(step: Step) -> None:
        nonlocal last
        if topic(step) != topic(last) or step.percent >= last.percent + LINE_PERCENT:
            last = step
            stream.write(f"{step.percent:3d}% {step.text}\n")
            stream.flush()

    return show
