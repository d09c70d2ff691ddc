"""Looks at a replica's process tree, and waits with a deadline."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

from local_backend.processes import Named, Record, members, read_record


async def eventually(holds: Callable[[], bool], within_s: float, what: str) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.02)


def record_in(directory: Path) -> Record:
    (path,) = (directory / "replicas").glob("*.json")
    record = read_record(path)
    assert record is not None
    return record


def named(record: Record, part: str) -> int:
    """The one process of the tree whose name or command line has this part."""
    (pid,) = [pid for pid in members(record.leader) if part in title(pid)]
    return pid


def title(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return f"{Path(f'/proc/{pid}/comm').read_text()} {command}"


def everyone(record: Record) -> list[Named]:
    """Guardian and tree as they are now, so that they can be looked for later by more than a number."""
    from local_backend.guardian import started_ticks

    pids = [record.guardian.pid, *members(record.leader)]
    return [Named(pid, ticks) for pid in pids if (ticks := started_ticks(pid)) is not None]


def survivors(people: list[Named]) -> list[str]:
    return [f"{each.pid} {title(each.pid)}" for each in people if each.alive()]


KILL = signal.SIGKILL
