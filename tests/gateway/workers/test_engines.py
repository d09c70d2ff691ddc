"""The parent runs the local models; its workers know what is ready, ask for what is not, and hear why it fails."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from gateway.workers.bus import PARENT, Bus
from gateway.workers.engines import EngineRoom, FarEngines
from local_backend.supervisor import LocalModel, LocalModelFailed, State, Supervisor
from tests.local_backend.conftest import FAKE, QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.process


class House:
    """A parent with its supervisor, and two workers."""

    def __init__(self, directory: Path, *models: LocalModel) -> None:
        sockets = directory / "bus"
        sockets.mkdir()
        self.parent = Bus(sockets, PARENT)
        self.room = EngineRoom(self.parent)
        self.supervisor = Supervisor(
            models,
            FAKE,
            directory,
            device="cpu",
            environ=dict(os.environ),  # noqa: TID251
            clock=lambda: 0,
            draw=lambda: 0.0,
            limits=QUICK,
            tell=self.room.tell,
        )
        self.buses = (Bus(sockets, "0"), Bus(sockets, "1"))
        self.workers = (FarEngines(self.buses[0]), FarEngines(self.buses[1]))

    async def open(self) -> None:
        await self.parent.open()
        await self.supervisor.open()
        self.room.serve(self.supervisor)
        self.parent.begin()
        for bus, worker in zip(self.buses, self.workers, strict=True):
            await bus.open()
            await worker.open()
            bus.begin()

    async def close(self) -> None:
        for bus in self.buses:
            await bus.close()
        await self.room.close()
        await self.parent.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fine = LocalModel("tiny", "a/model", replicas=2)
    broken = LocalModel("broken", "a/model", args={"fake-crashes": 99, "fake-diary": str(tmp_path / "diary")})
    made = House(tmp_path, fine, broken)
    await made.open()
    yield made
    await made.close()


async def until(holds: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_asked_for_by_every_worker_it_starts_once_and_all_know_where_it_answers(house: House) -> None:
    first, second = house.workers
    assert first.ready_address("tiny") is None
    addresses = await asyncio.gather(*(worker.ensure_ready("tiny") for worker in (first, second) * 5))
    started = {str(address) for address in addresses}
    await until(lambda: all(_ready(worker, "tiny") == 2 for worker in house.workers))
    # Looked up in memory, one replica after the other.
    turns = {str(second.ready_address("tiny")) for _ in range(4)}
    assert started <= turns
    assert len(turns) == 2
    assert {str(await first.ensure_ready("tiny")) for _ in range(4)} == turns
    assert [view.restarts for view in first.states() if view.model == "tiny"] == [0, 0]


async def test_a_caller_that_gives_up_stops_nothing(house: House) -> None:
    first, _ = house.workers
    asking = asyncio.create_task(first.ensure_ready("tiny"))
    await until(lambda: any(view.state is State.STARTING for view in house.supervisor.states()))
    asking.cancel()
    await until(lambda: first.ready_address("tiny") is not None)


async def test_stopped_by_one_worker_it_is_ready_for_none_and_any_may_start_it(house: House) -> None:
    first, second = house.workers
    await first.ensure_ready("tiny")
    await second.stop_model("tiny")
    await until(lambda: first.ready_address("tiny") is None and second.ready_address("tiny") is None)
    await first.start_model("tiny")
    await until(lambda: second.ready_address("tiny") is not None)
    logs = await asyncio.to_thread(second.logs, "tiny", 100)
    assert any("pid=" in line for line in logs)


async def test_why_a_model_fails_reaches_the_worker_that_asked(house: House) -> None:
    first, _ = house.workers
    with pytest.raises(LocalModelFailed, match="there is none of that name") as failed:
        await first.ensure_ready("nosuch")
    assert failed.value.model == "nosuch"
    with pytest.raises(LocalModelFailed) as crashed:
        await first.ensure_ready("broken")
    assert crashed.value.model == "broken"
    assert crashed.value.cause
    with pytest.raises(LocalModelFailed):
        await first.stop_model("nosuch")


async def test_a_worker_that_comes_later_knows_what_is_ready(house: House, tmp_path: Path) -> None:
    await house.workers[0].ensure_ready("tiny")
    bus = Bus(tmp_path / "bus", "2")
    late = FarEngines(bus)
    await bus.open()
    await late.open()
    assert late.ready_address("tiny") is not None
    await bus.close()


async def test_with_the_parent_gone_a_request_is_refused_in_words(house: House) -> None:
    await house.room.close()
    await house.parent.close()
    with pytest.raises(LocalModelFailed, match="shutting down"):
        await house.workers[0].ensure_ready("tiny")


def _ready(worker: FarEngines, name: str) -> int:
    return sum(view.state is State.READY for view in worker.states() if view.model == name)
