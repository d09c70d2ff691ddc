"""Shows the steps of a long piece of work: a bar on a terminal, plain lines elsewhere."""

import shutil
from collections.abc import Callable
from typing import Final, TextIO

from local_backend.install import Step

BAR_CHARACTERS: Final = 24
LINE_PERCENT: Final = 5


def shown_on(stream: TextIO) -> Callable[[Step], None]:
    return _bar(stream) if stream.isatty() else _lines(stream)


def drawn(step: Step, columns: int) -> str:
    done = BAR_CHARACTERS * step.percent // 100
    bar = "█" * done + "░" * (BAR_CHARACTERS - done)
    return f"{bar} {step.percent:3d}% {step.text}"[: max(columns - 1, 20)]


def topic(step: Step) -> str:
    return step.text.partition(":")[0]


def _bar(stream: TextIO) -> Callable[[Step], None]:
    def show(step: Step) -> None:
        line = drawn(step, shutil.get_terminal_size().columns)
        stream.write(f"\r\x1b[K{line}" + ("\n" if step.percent >= 100 else ""))
        stream.flush()

    return show


def _lines(stream: TextIO) -> Callable[[Step], None]:
    """A log wants to know that it goes on, not each of two hundred packages."""
    last = Step("", 0)

    def show(step: Step) -> None:
        nonlocal last
        if topic(step) != topic(last) or step.percent >= last.percent + LINE_PERCENT:
            last = step
            stream.write(f"{step.percent:3d}% {step.text}\n")
            stream.flush()

    return show
