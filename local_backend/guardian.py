"""Stands between the gateway and one vLLM, and promises: when either dies, by whatever signal, nothing of vLLM is left.

Run as a program: `guardian.py RECORD COMMAND…`, with a pipe from the gateway as standard input (the lifeline).

* The kernel closes the lifeline when the gateway ends, however it ends; the guardian then kills everything.
* It is a sub-reaper: whatever vLLM starts, and however its parents die, becomes a child of the guardian, so "no child
  left" is the kernel's word that no process is left. vLLM's API server leaves its engine running when it is killed.
* It stands in a session of its own, so that a signal to the gateway's group or terminal does not reach it.
* Should the guardian itself be killed, PR_SET_PDEATHSIG takes the API server along, and RECORD, which exists exactly as
  long as processes may, tells the gateway (or the next one) which group to kill.

Bytes on the lifeline: `t` asks vLLM to end (SIGTERM), `k` kills all. Exit status: the API server's, or 128 + signal.
Kept small and free of imports from this package: it runs under `python -I -S`, beside a model that wants the memory.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
REAP_PAUSE_S = 0.01


def prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def started_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid it names a process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name stands in brackets and may hold anything, brackets and spaces included.
    return int(stat.rpartition(")")[2].split()[19])


def descendants(ancestor: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found: list[int] = []
    front = {ancestor}
    while front:
        front = {pid for pid, parent in parents.items() if parent in front}
        found += front
    return found


# What the guardian ignores and the child must not: they are held back until it has put that right.
GIVEN_BACK = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)


def start(command: list[str], guardian: int) -> int:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GIVEN_BACK)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:  # it died before the line above took effect
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in GIVEN_BACK:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)  # noqa: S606  # no shell is the point
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def write_record(path: Path, gateway: int, child: int) -> None:
    me = os.getpid()
    record = {
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "gateway": [gateway, started_ticks(gateway)],
        "guardian": [me, started_ticks(me)],
        # The child leads its session, so its pid is the session's and the group's id too.
        "leader": [child, started_ticks(child)],
    }
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(record))
    unfinished.replace(path)


def reap(child: int, status: int | None) -> tuple[bool, int | None]:
    """Collect the dead. True when no process is left; the status is the API server's, once known."""
    while True:
        try:
            pid, wait_status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True, status
        if pid == 0:
            return False, status
        if pid == child:
            code = os.waitstatus_to_exitcode(wait_status)
            status = code if code >= 0 else 128 - code


def kill_all(child: int, status: int | None) -> int:
    me = os.getpid()
    while True:
        # By descent, not by group: a group's number may already be another's, a descendant can be nobody else's.
        for pid in descendants(me):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        none_left, status = reap(child, status)
        if none_left:
            return 0 if status is None else status
        time.sleep(REAP_PAUSE_S)


def watch(child: int, wakeup: int) -> int:
    lifeline = 0
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    status: int | None = None
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if wakeup in ready:
            os.read(wakeup, 4096)
        _, status = reap(child, status)
        if status is not None:
            # The API server is gone; whatever it left is of no use and may hold a GPU's memory.
            return kill_all(child, status)
        if lifeline in ready:
            orders = os.read(lifeline, 64)
            if not orders or b"k" in orders:
                return kill_all(child, status)
            os.kill(child, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    record, command = Path(arguments[0]), arguments[1:]
    gateway = os.getppid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeup, wakeup_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Only the lifeline ends a guardian: a stray SIGTERM to it must not orphan what it guards.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child = start(command, os.getpid())
    try:
        write_record(record, gateway, child)
        return watch(child, wakeup)
    except BaseException:
        kill_all(child, None)
        raise
    finally:
        record.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
