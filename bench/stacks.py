"""Adds up sampled stacks by the room of the house that they stand in. Pure: text in, shares out."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

HOUSE = ("gateway", "routing", "cache", "billing", "local_backend", "migrations")
FRAME = re.compile(r"^(?P<function>.+) \((?P<file>.+?)(?::\d+)?\)$")

# What no frame of ours called is the loop's own work, in C: polling, reading sockets, finding the callback.
EVENT_LOOP = re.compile(r"(^|/)(uvloop/|asyncio/(runners|base_events|events)\.py)")


@dataclass(frozen=True, slots=True)
class Stack:
    frames: tuple[tuple[str, str], ...]  # (function, file), outermost first
    samples: int


def parse(collapsed: str) -> list[Stack]:
    """Lines of `frame;frame;frame COUNT`, outermost first, a frame being `function (file:line)`."""
    stacks = []
    for line in collapsed.splitlines():
        text, _, count = line.rpartition(" ")
        frames = tuple((m["function"], m["file"]) for m in map(FRAME.match, text.split(";")) if m)
        if frames and count.isdigit():
            stacks.append(Stack(frames, int(count)))
    return stacks


def room(file: str) -> str:
    """Where a file stands: a file of gateway/, a whole other package of ours, or a library."""
    path = re.sub(r"^.*/(?:site|dist)-packages/", "site-packages/", file)
    if EVENT_LOOP.search(path):
        return "event loop"
    if path.startswith("site-packages/"):
        return path.split("/")[1].removesuffix(".py")
    parts = path.split("/")
    for at, part in enumerate(parts):
        if part in HOUSE and at + 1 < len(parts):
            # gateway is the largest; its folders and files are rooms of their own.
            return "/".join(parts[at : at + 2]) if part == "gateway" else part
    return "python" if re.search(r"/python3[^/]*/", path) or "<" in path else parts[-1]


@dataclass(frozen=True, slots=True)
class Share:
    name: str
    own: float  # samples whose innermost frame is here
    within: float  # samples with any frame here: own time and that of all it calls


def rooms(stacks: Iterable[Stack]) -> list[Share]:
    return _shares(stacks, by_function=False)


def functions(stacks: Iterable[Stack]) -> list[Share]:
    return _shares(stacks, by_function=True)


def _shares(stacks: Iterable[Stack], *, by_function: bool) -> list[Share]:
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    total = 0
    for stack in stacks:
        names = [f"{room(file)}: {function}" if by_function else room(file) for function, file in stack.frames]
        own[names[-1]] += stack.samples
        within.update(dict.fromkeys(names, stack.samples))
        total += stack.samples
    found = [Share(name, own[name] / total, within[name] / total) for name in within]
    return sorted(found, key=lambda share: (-share.own, -share.within, share.name))
