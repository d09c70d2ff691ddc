"""The guardian, with plain shells as its wards: whatever ends, nothing is left."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from local_backend.launch import GUARDIAN
from local_backend.processes import Named, Record, boot_id, clear_leftovers, members, read_record
from tests.local_backend.trees import eventually, everyone, survivors

pytestmark = pytest.mark.process

# A ward that starts one more in a session of its own: no signal to the ward's group reaches that one.
ESCAPING = "setsid sleep 600 & sleep 600 & wait"


@asynccontextmanager
async def guarded(folder: Path, script: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Record]]:
    path = folder / "ward.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(GUARDIAN), str(path), "sh", "-c", script),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    await eventually(lambda: read_record(path) is not None, 5, "a record")
    record = read_record(path)
    assert record is not None
    try:
        yield process, record
    finally:
        if process.stdin:
            process.stdin.close()
        await process.wait()


def family(record: Record) -> list[Named]:
    """Those who left the session, too."""
    from local_backend.guardian import descendants, started_ticks

    pids = [record.guardian.pid, *descendants(record.guardian.pid)]
    return [Named(pid, ticks) for pid in pids if (ticks := started_ticks(pid)) is not None]


async def test_a_closed_lifeline_ends_even_those_who_left_the_session(tmp_path: Path) -> None:
    async with guarded(tmp_path, ESCAPING) as (process, record):
        await eventually(lambda: len(family(record)) == 4, 5, "all are there")
        people = family(record)
        assert len(members(record.leader)) < len(people) - 1
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        assert survivors(people) == []
    assert not (tmp_path / "ward.json").exists()


async def test_when_the_ward_ends_its_children_end_and_its_status_is_passed_on(tmp_path: Path) -> None:
    async with guarded(tmp_path, "setsid sleep 600 & sleep 0.3; exit 7") as (process, record):
        await eventually(lambda: len(family(record)) >= 3, 5, "all are there")
        people = family(record)
        assert await process.wait() == 7
        assert survivors(people) == []


async def test_a_ward_killed_by_a_signal_is_told_by_128_and_its_number(tmp_path: Path) -> None:
    async with guarded(tmp_path, "sleep 0.3; kill -9 $$") as (process, _):
        assert await process.wait() == 128 + signal.SIGKILL


async def test_asked_politely_the_ward_may_end_in_its_own_time(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    script = f"trap 'sleep 0.2; exit 3' TERM; touch {prepared}; while :; do sleep 0.05; done"
    async with guarded(tmp_path, script) as (process, _):
        assert process.stdin is not None
        await eventually(prepared.exists, 5, "the ward is prepared")
        process.stdin.write(b"t")
        assert await process.wait() == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_stray_signal_does_not_end_the_guardian(tmp_path: Path, number: int) -> None:
    async with guarded(tmp_path, "sleep 600") as (process, record):
        process.send_signal(number)
        await asyncio.sleep(0.1)
        assert record.guardian.alive()
        assert record.leader.alive()


async def test_the_ward_gets_its_signals_back(tmp_path: Path) -> None:
    """The guardian ignores SIGTERM, and what is ignored is inherited, unless it is put right."""
    async with guarded(tmp_path, "sleep 600") as (process, record):
        os.kill(record.leader.pid, signal.SIGTERM)
        assert await process.wait() == 128 + signal.SIGTERM


def without_a_pause(path: Path) -> Record:
    """The record as soon as it is there: a moment later the child has put its signals right already."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        record = read_record(path)
        if record is not None:
            return record
    raise AssertionError("no record")


async def test_a_signal_to_a_ward_that_has_hardly_begun_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "ward.json"
    for _ in range(5):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(GUARDIAN), str(path), "sh", "-c", "sleep 600"),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        record = without_a_pause(path)
        os.kill(record.leader.pid, signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 128 + signal.SIGTERM


async def test_a_killed_guardian_takes_its_ward_along(tmp_path: Path) -> None:
    async with guarded(tmp_path, "exec sleep 600") as (process, record):
        process.kill()
        await eventually(lambda: not record.leader.alive(), 5, "PR_SET_PDEATHSIG")


async def test_a_command_that_is_not_there_is_said(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(GUARDIAN), str(tmp_path / "x.json"), "/nowhere/vllm"),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    # Its standard input stays open: closed, it tells the guardian that its gateway has died.
    said = await process.stderr.read()
    await process.communicate()
    assert said.decode() == "cannot run /nowhere/vllm: No such file or directory\n"


async def test_a_living_gateways_replicas_are_left_alone(tmp_path: Path) -> None:
    async with guarded(tmp_path, "sleep 600") as (_, record):
        people = everyone(record)
        assert await clear_leftovers(tmp_path, 1) == ()
        assert len(survivors(people)) == len(people)


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_records_of_nobody_are_swept_away(tmp_path: Path) -> None:
    mine = Named(os.getpid(), 1)
    record = {name: [mine.pid, mine.started_ticks] for name in ("gateway", "guardian", "leader")}
    (tmp_path / "earlier-boot.json").write_text(json.dumps({"boot": "another", **record}))
    (tmp_path / "broken.json").write_text("{")
    # The number is in use, but by somebody who started at another time: us.
    (tmp_path / "number-given-away.json").write_text(json.dumps({"boot": boot_id(), **record}))
    assert await clear_leftovers(tmp_path, 1) == ()
    assert files(tmp_path) == []
    assert not mine.alive()
    assert members(mine) == ()
    assert asdict(mine) == {"pid": os.getpid(), "started_ticks": 1}
