"""The workers' bus: who answers, who is missing, and that nobody waits for one that is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.workers.bus import UNSENT_BYTES_MAX, Bus, SiblingFailed, SiblingGone
from tests.e2e.gateway import ROOT, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

# A worker of another process that answers `echo` with what it is given.
OTHER = """
import asyncio, sys
from pathlib import Path
from gateway.workers.bus import Bus

async def main():
    bus = Bus(Path(sys.argv[1]), sys.argv[2])
    bus.handle("echo", lambda document: document)
    await bus.open()
    bus.begin()
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Others:
    """Workers that are processes of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", OTHER, str(self._directory), name], cwd=ROOT)
        self._started.append(process)
        eventually((self._directory / f"{name}.sock").exists, f"{name} listens")
        return process

    def close(self) -> None:
        for process in self._started:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Others]:
    made = Others(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[tuple[Bus, Bus, Bus]]:
    buses = (Bus(tmp_path, "a"), Bus(tmp_path, "b"), Bus(tmp_path, "c"))
    for bus in buses:
        await bus.open()
        bus.begin()
    yield buses
    for bus in buses:
        await bus.close()


async def test_each_sibling_answers_with_a_plain_function_or_a_coroutine(trio: tuple[Bus, Bus, Bus]) -> None:
    a, b, c = trio
    b.handle("sum", sum)

    async def slowly(numbers: list[int]) -> int:
        await asyncio.sleep(0)
        return -sum(numbers)

    c.handle("sum", slowly)
    assert await a.tell_all("sum", [1, 2, 3]) == {"b": 6, "c": -6}
    assert await a.ask("c", "sum", [4]) == -4


async def test_one_that_fails_or_does_not_know_the_word_is_missing_and_says_why_when_asked(
    trio: tuple[Bus, Bus, Bus],
) -> None:
    a, b, c = trio
    b.handle("reload", lambda _: 1 // 0)
    c.handle("reload", lambda _: "done")
    assert await a.tell_all("reload") == {"c": "done"}
    with pytest.raises(SiblingFailed, match="ZeroDivisionError"):
        await a.ask("b", "reload")
    with pytest.raises(SiblingFailed, match="nothing answers 'purge' here"):
        await a.ask("b", "purge")
    b.handle("reload", lambda _: object())
    with pytest.raises(SiblingFailed, match="TypeError"):
        await a.ask("b", "reload")


async def test_what_cannot_be_said_is_the_askers_own_error(trio: tuple[Bus, Bus, Bus]) -> None:
    with pytest.raises(TypeError):
        await trio[0].tell_all("sum", object())


async def test_what_is_asked_before_a_worker_begins_waits_for_it(tmp_path: Path) -> None:
    early, asker = Bus(tmp_path, "early"), Bus(tmp_path, "asker")
    await early.open()
    await asker.open()
    asked = asyncio.ensure_future(asker.ask("early", "ready", wait_s=10))
    await asyncio.sleep(0.05)
    early.handle("ready", lambda _: True)
    early.begin()
    assert await asked is True
    await early.close()
    await asker.close()


async def test_sockets_and_their_owner_alone(trio: tuple[Bus, Bus, Bus], tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "a.sock").stat().st_mode) == 0o600
    await trio[0].close()
    assert not (tmp_path / "a.sock").exists()
    assert trio[1].siblings() == ("c",)


async def test_a_closed_worker_is_no_sibling_and_one_that_comes_back_is_found_again(
    trio: tuple[Bus, Bus, Bus], tmp_path: Path
) -> None:
    a, b, c = trio
    for bus in (b, c):
        bus.handle("ping", lambda _: "pong")
    assert await a.tell_all("ping") == {"b": "pong", "c": "pong"}
    await b.close()
    assert await a.tell_all("ping") == {"c": "pong"}
    again = Bus(tmp_path, "b")
    again.handle("ping", lambda _: "again")
    await again.open()
    again.begin()
    assert await a.tell_all("ping") == {"b": "again", "c": "pong"}
    await again.close()


async def test_alone_there_is_no_socket_and_nobody_to_tell() -> None:
    bus = Bus(None, "only")
    await bus.open()
    bus.begin()
    assert await bus.tell_all("recall", {"accounts": [1]}) == {}
    assert bus.telling("recall").result(0) == {}
    assert bus.alone
    assert bus.siblings() == ()
    await bus.close()


async def test_threads_tell_as_the_loop_does(trio: tuple[Bus, Bus, Bus]) -> None:
    a, b, c = trio
    for bus in (b, c):
        bus.handle("echo", lambda document: document)

    def told() -> dict[str, Any]:
        return a.telling("echo", {"accounts": [7]}).result(10)

    answers = await asyncio.gather(*(asyncio.to_thread(told) for _ in range(20)))
    assert answers == [{"b": {"accounts": [7]}, "c": {"accounts": [7]}}] * 20


async def test_large_documents_and_many_at_once(trio: tuple[Bus, Bus, Bus]) -> None:
    a, b, _ = trio
    b.handle("echo", lambda document: document)
    large = b"x" * 3_000_000
    assert await a.ask("b", "echo", large, wait_s=30) == large
    assert await asyncio.gather(*(a.ask("b", "echo", n, wait_s=30) for n in range(2000))) == list(range(2000))


@pytest.mark.process
async def test_a_stopped_worker_holds_nobody_up_beyond_the_wait_and_answers_once_it_goes_on(
    tmp_path: Path, others: Others
) -> None:
    stopped, _ = others.start("stopped"), others.start("lively")
    bus = Bus(tmp_path, "me")
    await bus.open()
    bus.begin()
    assert await bus.tell_all("echo", 1, wait_s=10) == {"stopped": 1, "lively": 1}
    stopped.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert await bus.tell_all("echo", 2, wait_s=0.2) == {"lively": 2}
    assert 0.2 <= time.monotonic() - began < 0.9
    with pytest.raises(TimeoutError):
        await bus.ask("stopped", "echo", 3, wait_s=0.1)
    # However much it is told meanwhile, a bound is kept here.
    for _ in range(10):
        assert await bus.tell_all("echo", b"x" * 1_000_000, wait_s=0.05) is not None
    with pytest.raises(SiblingGone):
        await bus.ask("stopped", "echo", 4, wait_s=10)
    assert sum(line.unsent for line in bus.lines) < 2 * UNSENT_BYTES_MAX
    stopped.send_signal(signal.SIGCONT)
    assert await _answers(bus, "stopped")
    await bus.close()


@pytest.mark.process
async def test_a_stopped_worker_that_nobody_spoke_to_before_is_waited_for_no_longer(
    tmp_path: Path, others: Others
) -> None:
    others.start("stopped").send_signal(signal.SIGSTOP)
    bus = Bus(tmp_path, "me")
    await bus.open()
    assert await bus.tell_all("echo", 1, wait_s=0.1) == {}
    assert bus.siblings() == ("stopped",)
    await bus.close()


@pytest.mark.process
async def test_a_killed_worker_is_known_to_be_gone_at_once_and_its_socket_goes(tmp_path: Path, others: Others) -> None:
    victim, stranger = others.start("victim"), others.start("stranger")
    bus = Bus(tmp_path, "me")
    await bus.open()
    assert await bus.tell_all("echo", 1, wait_s=10) == {"victim": 1, "stranger": 1}
    victim.send_signal(signal.SIGSTOP)
    asked = asyncio.ensure_future(bus.ask("victim", "echo", 2, wait_s=None))
    await asyncio.sleep(0.05)
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(SiblingGone):
        await asked
    stranger.kill()
    victim.wait()
    stranger.wait()
    assert await bus.tell_all("echo", 3) == {}
    assert bus.siblings() == ()
    assert not (tmp_path / "victim.sock").exists()
    await bus.close()


async def _answers(bus: Bus, name: str) -> bool:
    for _ in range(100):
        try:
            return bool(await bus.ask(name, "echo", True, wait_s=10))
        except SiblingGone:
            await asyncio.sleep(0.05)
    return False
