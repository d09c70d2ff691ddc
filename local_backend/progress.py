"""Shows the steps of a long piece of work: a bar on a terminal, plain lines elsewhere."""

import shutil
from collections.abc import Callable
from typing import Final, TextIO

from local_backend.install import Step

BAR_CHARACTERS: Final = 24


def shown_on(stream: TextIO) -> Callable[[Step], None]:
    return _bar(stream) if stream.isatty() else _lines(stream)


def drawn(step: Step, columns: int) -> str:
    done = BAR_CHARACTERS * step.percent // 100
    bar = "█" * done + "░" * (BAR_CHARACTERS - done)
    return f"{bar} {step.percent:3d}% {step.text}"[: max(columns - 1, 20)]


def _bar(stream: TextIO) -> Callable[[Step], None]:
    def show(step: Step) -> None:
        line = drawn(step, shutil.get_terminal_size().columns)
        stream.write(f"\r\x1b[K{line}" + ("\n" if step.percent >= 100 else ""))
        stream.flush()

    return show


def _lines(stream: TextIO) -> Callable[[Step], None]:
    last = ""

    def show(step: Step) -> None:
        nonlocal last
        if step.text != last:
            last = step.text
            stream.write(f"{step.percent:3d}% {step.text}\n")
            stream.flush()

    return show
