"""Which processes of an earlier life are still there, told from /proc, and their end.

A pid alone names nothing for long; with its start time it names one process until the machine restarts.
"""

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from local_backend.guardian import started_ticks

POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Named:
    pid: int
    started_ticks: int

    def alive(self) -> bool:
        return started_ticks(self.pid) == self.started_ticks and status_letter(self.pid) not in {"Z", "X", ""}


@dataclass(frozen=True, slots=True)
class Record:
    """What a guardian wrote down about itself, its gateway and the session that it guards."""

    gateway: Named
    guardian: Named
    leader: Named


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_record(path: Path) -> Record | None:
    """None when the file is gone, unreadable, or of an earlier boot: then nothing of it can be alive."""
    try:
        fields = json.loads(path.read_text())
        if fields["boot"] != boot_id():
            return None
        return Record(*(Named(*fields[name]) for name in ("gateway", "guardian", "leader")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def status_letter(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def members(leader: Named) -> tuple[int, ...]:
    """The living processes of the leader's session, also when the leader itself is dead.

    While a pid is in use as a session's id no new process is given it, so as long as one member lives it stays theirs.
    If the leader lives it must be the one recorded; otherwise the number has been given away, and nobody is left.
    """
    now_leading = started_ticks(leader.pid)
    if now_leading is not None and now_leading != leader.started_ticks:
        return ()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            letter, session, ticks = fields[0], int(fields[3]), int(fields[19])
            if session == leader.pid and ticks >= leader.started_ticks and letter not in {"Z", "X"}:
                found.append(int(entry.name))
    return tuple(found)


async def kill_session(leader: Named, timeout_s: float) -> bool:
    """True when no member is left."""
    until = asyncio.get_running_loop().time() + timeout_s
    while left := members(leader):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def clear_leftovers(directory: Path, timeout_s: float) -> tuple[str, ...]:
    """End what earlier gateways left in `directory`; name what does not die. A living gateway's stay untouched."""
    stuck: list[str] = []
    for path in _record_paths(directory):
        record = read_record(path)
        if record is None:
            path.unlink(missing_ok=True)
            continue
        if record.gateway.alive() and record.guardian.alive():
            continue
        if await _clear(record, timeout_s):
            path.unlink(missing_ok=True)
        else:
            stuck.append(f"session {record.leader.pid} (pids {', '.join(map(str, members(record.leader)))})")
    return tuple(stuck)


def _record_paths(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.json"))


async def _clear(record: Record, timeout_s: float) -> bool:
    # A guardian whose gateway has died is already at work: two killers would only get into each other's way.
    until = asyncio.get_running_loop().time() + timeout_s
    while record.guardian.alive() and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110  # /proc tells nobody
        await asyncio.sleep(POLL_S)
    return await kill_session(record.leader, timeout_s)
