"""Reads what the machine did from /proc: CPU time and memory of a process tree, and what others used meanwhile."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
FOREIGN_CORES_MAX = 0.1


def _parents_and_sessions() -> dict[int, tuple[int, int]]:
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                # The command's name may hold spaces and brackets; what follows its last ")" does not.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(entry.name)] = (int(fields[1]), int(fields[3]))
    return found


def tree(pid: int) -> list[int]:
    """The process, all below it, and all in the session it leads: a child that lost its parent still counts."""
    known = _parents_and_sessions()
    members = {pid}
    grown = True
    while grown:
        more = {p for p, (parent, session) in known.items() if parent in members or session == pid} - members
        members |= more
        grown = bool(more)
    return [p for p in members if p in known]


def cpu_ns(pid: int) -> int:
    """CPU time of every thread of every process in the tree, from the scheduler: clock ticks are too coarse."""
    total = 0
    for member in tree(pid):
        try:
            for task in (PROC / str(member) / "task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return total


def rss_mb(pid: int) -> float:
    total_kb = 0
    for member in tree(pid):
        try:
            found = re.search(r"VmRSS:\s+(\d+)", (PROC / str(member) / "status").read_text())
        except OSError:
            continue
        total_kb += int(found[1]) if found else 0
    return total_kb / 1024


def _busy_s() -> float:
    user, nice, system, _idle, _wait, irq, soft, steal = map(
        int, (PROC / "stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was used up to one moment: by the processes we know, by our finished children and us, by all."""

    cpu_ns: dict[int, int]
    own_s: float
    busy_s: float

    @classmethod
    def take(cls, pids: Iterable[int]) -> "Snapshot":
        times = os.times()
        return cls({pid: cpu_ns(pid) for pid in pids}, sum(times[:4]), _busy_s())

    def used_ns(self, pid: int, before: "Snapshot") -> int:
        return self.cpu_ns[pid] - before.cpu_ns[pid]

    def foreign_cores(self, before: "Snapshot", wall_s: float, ours: Iterable[int]) -> float:
        """Cores that others used between the two: an idle target that is not measured now is one of the others."""
        mine_s = sum(self.used_ns(pid, before) for pid in ours) / 1e9 + self.own_s - before.own_s
        return max(0.0, (self.busy_s - before.busy_s - mine_s) / wall_s)


def describe() -> str:
    found = re.search(r"model name\s*:\s*(.+)", (PROC / "cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", (PROC / "meminfo").read_text())
    processor = found[1] if found else platform.machine()
    gigabytes = round(int(memory[1]) / 2**20) if memory else "?"
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{processor}, {os.cpu_count()} cores, {gigabytes} GB, {system}"


def output_of(command: list[str], cwd: Path | None = None) -> str:
    """What a command says, on either stream, or nothing where it is missing: versions are told, not needed."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip()
