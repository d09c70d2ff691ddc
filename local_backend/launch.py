"""Starts one guarded vLLM and ends it: afterwards nothing of its tree is left, or the caller is told what is."""

import asyncio
import contextlib
import shutil
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_backend.logs import Ring, Splitter
from local_backend.processes import Record, kill_session, read_record

GUARDIAN: Final = Path(__file__).with_name("guardian.py")
READ_BYTES_MAX: Final = 64 * 1024
LAST_LINES_S_MAX: Final = 0.3


class CannotRunError(Exception):
    """There is no such executable: trying again would not help."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Child:
    """A guardian with a vLLM behind it."""

    process: Process
    record_path: Path
    ring: Ring
    reading: asyncio.Task[None]
    _record: Record | None = None

    @property
    def record(self) -> Record | None:
        """None until the guardian has written it; what it says never changes afterwards."""
        if self._record is None:
            self._record = read_record(self.record_path)
        return self._record

    @property
    def pid(self) -> int | None:
        """Of vLLM's API server."""
        record = self.record
        return record.leader.pid if record else None

    def ask_to_end(self) -> None:
        self._order(b"t")

    def _order(self, order: bytes) -> None:
        if self.process.stdin and not self.process.stdin.is_closing():
            self.process.stdin.write(order)

    async def ended(self) -> int:
        """When the guardian has ended, so that no process is left behind it, unless the guardian itself was killed."""
        code = await self.process.wait()
        # The last lines hold the reason. A killed guardian's wards keep the pipe open, so not for long.
        await asyncio.wait({self.reading}, timeout=LAST_LINES_S_MAX)
        return code

    async def end(self, timeout_s: float) -> bool:
        """Kill the tree; True when nothing is left of it."""
        record = self.record
        self._order(b"k")
        if self.process.stdin:
            self.process.stdin.close()
        try:
            async with asyncio.timeout(timeout_s):
                await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        # The usual case finds nobody; a guardian that was killed has left its wards and its record.
        gone = record is None or await kill_session(record.leader, timeout_s)
        if gone:
            self.record_path.unlink(missing_ok=True)
        self.reading.cancel()
        await asyncio.wait({self.reading})
        return gone


async def launch(command: tuple[str, ...], environment: Mapping[str, str], record_path: Path, ring: Ring) -> Child:
    if shutil.which(command[0], path=environment.get("PATH")) is None:
        raise CannotRunError(
            f"there is no executable {command[0]}: run `turnpike local install`, or set local.command to a vLLM"
        )
    record_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    ring.start()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(GUARDIAN), str(record_path), *command),
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        env=dict(environment),
        start_new_session=True,
    )
    assert process.stdout is not None
    return Child(process, record_path, ring, asyncio.create_task(_keep(process.stdout, ring)))


async def _keep(output: asyncio.StreamReader, ring: Ring) -> None:
    splitter = Splitter()
    while data := await output.read(READ_BYTES_MAX):
        for line in splitter.feed(data):
            ring.write(line)
    for line in splitter.rest():
        ring.write(line)
