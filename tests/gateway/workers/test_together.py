"""What one worker tells of all: sums that never fall, holds and health of every worker, and sessions that ended."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from billing.books import Books, FlushTimedOut, Hold
from billing.price import FREE
from gateway.admin.rooms import DeploymentView
from gateway.metrics import Metrics
from gateway.workers.bus import PARENT, Bus
from gateway.workers.sums import METRICS_OF_ALL, Sums
from gateway.workers.together import EndedSessions, Together
from tests.gateway.test_metrics import attempt, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass
class FakeBooks:
    """Holds and flushes as told."""

    holds: list[Hold] = field(default_factory=list)
    flushed: int = 0
    away: bool = False

    def pending(self) -> tuple[Hold, ...]:
        return tuple(self.holds)

    def flush(self, wait_s: int = 10) -> None:
        if self.away:
            raise FlushTimedOut("the database took no rows")
        self.flushed += 1


class Worker:
    def __init__(self, directory: Path, name: str) -> None:
        self.bus = Bus(directory, name)
        self.books = FakeBooks()
        self.metrics = Metrics()
        self.metrics.build("1", compiled=False)
        self.in_flight = 1.0
        self.cooling: dict[str, int] = {}
        self.metrics.gauge("turnpike_requests_in_flight", "now", lambda: self.in_flight)
        self.metrics.gauge("turnpike_event_loop_lag_seconds", "lag", lambda: self.in_flight, worst=True)
        self.metrics.gauge("turnpike_exact_cache_hits_total", "hits", lambda: 3)
        self.together = Together(self.bus, cast("Books", self.books), self.metrics, self.deployments)
        self.ended = EndedSessions(self.bus)

    def deployments(self) -> tuple[DeploymentView, ...]:
        return tuple(
            DeploymentView(name, name, "one", "m", 1, self.cooling.get(name), "open" if name in self.cooling else None)
            for name in ("a", "b")
        )

    async def open(self) -> None:
        await self.bus.open()
        self.bus.begin()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    both = Worker(tmp_path, "0"), Worker(tmp_path, "1")
    for worker in both:
        await worker.open()
    yield both
    for worker in both:
        await worker.bus.close()


@pytest.fixture
async def sums(tmp_path: Path) -> AsyncIterator[Sums]:
    bus = Bus(tmp_path, PARENT)
    made = Sums(bus)
    await bus.open()
    bus.begin()
    yield made
    await bus.close()


def hold(request_id: str = "req_1") -> Hold:
    return Hold(request_id, 1, 5, "key_1", "team_1", None, "me", "one", "m", "asked", ("a=b",), FREE, 12_000, "org_1")


async def scraped(worker: Worker) -> dict[str, str]:
    text = (await worker.bus.ask(PARENT, METRICS_OF_ALL, wait_s=10)).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    names = [line.rpartition(" ")[0] for line in lines]
    assert len(set(names)) == len(names), "a sample stands twice"
    return dict(zip(names, (line.rpartition(" ")[2] for line in lines), strict=True))


async def test_counters_and_histograms_of_all_workers_add_up(pair: tuple[Worker, Worker], sums: Sums) -> None:
    for worker in pair:
        worker.metrics.request(request())
        worker.metrics.attempt(attempt())
    pair[1].metrics.request(request(status=429))
    alone = Metrics()
    for row in (request(), request(), request(status=429)):
        alone.request(row)
    for _ in pair:
        alone.attempt(attempt())
    found = await scraped(pair[0])
    for line in alone.render().decode().splitlines():
        if not line.startswith("#") and not line.startswith("turnpike_build_info"):
            name, _, value = line.rpartition(" ")
            assert found[name] == value
    assert found["turnpike_requests_in_flight"] == "2"
    assert found["turnpike_event_loop_lag_seconds"] == "1"
    assert found["turnpike_exact_cache_hits_total"] == "6"
    assert [value for name, value in found.items() if name.startswith("turnpike_build_info")] == ["1"]


async def test_what_a_worker_that_is_gone_had_counted_stays_and_what_it_held_does_not(
    pair: tuple[Worker, Worker], sums: Sums, tmp_path: Path
) -> None:
    here, there = pair
    for worker in pair:
        worker.metrics.request(request())
    before = await scraped(here)
    await there.bus.close()
    sums.gone("1")
    after = await scraped(here)
    assert _served(after) == _served(before) == 2
    assert after["turnpike_exact_cache_hits_total"] == "6"
    assert after["turnpike_requests_in_flight"] == "1"
    again = Worker(tmp_path, "1-again")
    await again.open()
    again.metrics.request(request())
    assert _served(await scraped(here)) == 3
    await again.bus.close()


async def test_a_worker_that_does_not_answer_counts_with_what_it_told_last(
    pair: tuple[Worker, Worker], sums: Sums
) -> None:
    here, there = pair
    there.metrics.request(request())
    assert _served(await scraped(here)) == 1
    there.bus.handle("metrics", lambda _: asyncio.sleep(3600))
    found = await scraped(here)
    assert _served(found) == 1
    assert found["turnpike_requests_in_flight"] == "1"


async def test_holds_and_health_are_those_of_every_worker(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    here.books.holds.append(hold("req_1"))
    there.books.holds.append(hold("req_2"))
    here.cooling, there.cooling = {"a": 5}, {"a": 9, "b": 7}
    found = await asyncio.to_thread(here.together.pending)
    assert sorted((each.amount_nano_usd, each.key_id, each.tags) for each in found) == [(12_000, "key_1", ("a=b",))] * 2
    assert {each.team_id for each in found} == {"team_1"}
    views = await asyncio.to_thread(here.together.deployments)
    assert [(view.id, view.cooling_until_at_us) for view in views] == [("a", 9), ("b", 7)]


async def test_a_flush_is_everybodys_and_one_whose_database_is_away_does_not_keep_it(
    pair: tuple[Worker, Worker], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = pair
    await asyncio.to_thread(here.together.flush)
    assert (here.books.flushed, there.books.flushed) == (1, 1)
    there.books.away = True
    await asyncio.to_thread(here.together.flush)
    assert here.books.flushed == 2
    assert "FlushTimedOut" in caplog.text
    here.books.away = True
    with pytest.raises(FlushTimedOut):
        await asyncio.to_thread(here.together.flush)


async def test_alone_it_tells_of_itself() -> None:
    bus = Bus(None, "0")
    books = FakeBooks([hold()])
    together = Together(bus, cast("Books", books), Metrics(), lambda: (DeploymentView("a", "a", "one", "m"),))
    ended = EndedSessions(bus)
    ended["nonce"] = 5
    assert await asyncio.to_thread(together.pending) == [hold()]
    assert [view.id for view in await asyncio.to_thread(together.deployments)] == ["a"]
    await asyncio.to_thread(together.flush)
    assert books.flushed == 1
    assert dict(ended) == {"nonce": 5}


async def test_a_session_that_ended_in_one_worker_ended_in_all(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    here.ended["nonce"] = 77
    for _ in range(100):
        if "nonce" in there.ended:
            break
        await asyncio.sleep(0.01)
    assert there.ended["nonce"] == 77
    assert len(here.bus.siblings()) == 1


def _served(found: dict[str, str]) -> int:
    return sum(int(value) for name, value in found.items() if re.match(r"turnpike_requests_total\{", name))


def test_a_snapshot_travels() -> None:
    metrics = Metrics()
    metrics.request(request(model=None))
    metrics.surprises = 2
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(metrics.snapshot()))
    total = Metrics()
    total.absorb(sent)
    total.absorb(sent)
    assert b"turnpike_internal_errors_total 4" in total.render()
