"""What a worker holds of the database follows it: at once where it is told, within a look where it is not."""

from __future__ import annotations

import asyncio
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import OperationalError

from billing.audit import Actor
from billing.keys import Key, KeyRing, digest
from billing.migrating import migrate
from billing.price_rows import ListedPrice
from billing.price_table import UsdRow
from billing.store import KEYS_AT_ONCE, Store
from gateway.refresh import Refresh, reload_keys, reload_prices
from gateway.workers.bus import Bus
from tests.gateway.test_roads import roads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class Database:
    """The `control` table and one number a room."""

    def __init__(self) -> None:
        self.rows = {"tenancy": 1, "budgets": 1}
        self.truth = {"tenancy": 10, "budgets": 20}
        self.away = False

    def versions(self) -> dict[str, int]:
        if self.away:
            raise OperationalError("select", {}, Exception("away"))
        return dict(self.rows)

    def change(self, room: str, truth: int) -> None:
        self.truth[room] = truth
        self.rows[room] += 1


class Worker:
    def __init__(self, database: Database, bus: Bus, *, look_s: float = 3600) -> None:
        self.bus = bus
        self.database = database
        self.held: dict[str, int] = {}
        self.reloads = 0
        self.refresh = Refresh(bus, database.versions, look_s=look_s)
        for room in database.rows:
            self.refresh.on(room, self._reloader(room))

    def _reloader(self, room: str) -> Callable[[], None]:
        def reload() -> None:
            self.reloads += 1
            self.held[room] = self.database.truth[room]

        return reload

    async def open(self) -> None:
        await self.bus.open()
        self.bus.begin()

    async def close(self) -> None:
        await asyncio.to_thread(self.refresh.close)
        await self.bus.close()


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
async def pair(tmp_path: Path, database: Database) -> AsyncIterator[tuple[Worker, Worker]]:
    both = Worker(database, Bus(tmp_path, "0")), Worker(database, Bus(tmp_path, "1"))
    for worker in both:
        await worker.open()
    yield both
    for worker in both:
        await worker.close()


async def test_when_a_change_returns_every_worker_has_it(pair: tuple[Worker, Worker], database: Database) -> None:
    here, there = pair
    database.change("budgets", 21)
    assert await asyncio.to_thread(here.refresh.changed, frozenset({"budgets"})) == ()
    assert here.held == there.held == {"budgets": 21}


async def test_a_worker_that_does_not_confirm_is_waited_for_one_second_and_named(
    pair: tuple[Worker, Worker], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = pair
    goes_on = threading.Event()

    def slow() -> None:
        goes_on.wait(10)

    there.refresh.on("tenancy", slow)
    began = time.monotonic()
    assert await asyncio.to_thread(here.refresh.changed, frozenset({"tenancy"})) == ("1",)
    assert 0.9 < time.monotonic() - began < 3
    assert here.held == {"tenancy": 10}
    assert "have not confirmed" in caplog.text
    goes_on.set()


async def test_two_that_change_at_once_do_not_wait_for_each_other(
    pair: tuple[Worker, Worker], database: Database
) -> None:
    here, there = pair
    began = time.monotonic()
    asked = [asyncio.to_thread(worker.refresh.changed, {"tenancy", "budgets"}) for worker in (here, there) * 20]
    assert await asyncio.gather(*asked) == [()] * 40
    assert time.monotonic() - began < 5


async def test_reloads_that_would_read_the_same_are_one(database: Database) -> None:
    worker = Worker(database, Bus(None, "0"))
    reading, goes_on = threading.Event(), threading.Event()

    def slow() -> None:
        reading.set()
        goes_on.wait(10)

    worker.refresh.on("tenancy", slow)
    first = asyncio.create_task(asyncio.to_thread(worker.refresh.changed, {"tenancy"}))
    await asyncio.to_thread(reading.wait, 10)
    more = [asyncio.create_task(asyncio.to_thread(worker.refresh.changed, {"tenancy"})) for _ in range(4)]
    await asyncio.sleep(0.1)
    goes_on.set()
    await asyncio.gather(first, *more)
    # One that had begun before they asked speaks for none of them, one that begins after for all.
    assert worker.reloads == 2
    await worker.close()


async def test_a_change_made_elsewhere_is_found_by_looking_and_a_database_that_is_away_is_waited_for(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(database, Bus(None, "0"), look_s=0.01)
    worker.refresh.open()
    await _until(lambda: worker.held == {"tenancy": 10, "budgets": 20})
    database.away = True
    await _until(lambda: "changes cannot be read" in caplog.text)
    database.change("tenancy", 11)
    database.away = False
    await _until(lambda: worker.held == {"tenancy": 11, "budgets": 20})
    assert worker.reloads == 3
    await worker.close()


async def test_a_reload_that_fails_is_told_and_tried_again(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(database, Bus(None, "0"), look_s=0.01)
    broken = threading.Event()
    broken.set()

    def once() -> None:
        if broken.is_set():
            broken.clear()
            raise ValueError("a row that cannot be")

    worker.refresh.on("tenancy", once)
    worker.refresh.open()
    await _until(lambda: worker.held == {"tenancy": 10, "budgets": 20} and worker.reloads >= 3)
    assert "a row that cannot be" in caplog.text
    await worker.close()


async def test_what_it_was_told_is_not_read_again_by_looking(database: Database) -> None:
    worker = Worker(database, Bus(None, "0"), look_s=0.01)
    database.change("budgets", 21)
    await asyncio.to_thread(worker.refresh.changed, {"budgets", "tenancy"})
    worker.refresh.open()
    await asyncio.sleep(0.1)
    assert worker.reloads == 2
    await worker.close()


SYSTEM = Actor("system")


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_the_ring_follows_the_database_by_what_differs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/books.db"
    migrate(url)
    store = Store(url)
    made = [_key(number) for number in range(3)]
    for key in made:
        store.create_key(key, SYSTEM, 1)
    ring = KeyRing([made[0], made[1], _key(7)])
    store.update_key(made[1].id, {"name": "renamed"}, None, SYSTEM, 1)
    store.revoke_key(made[2].id, None, SYSTEM, 5)
    fresh = _key(9)
    store.create_key(fresh, SYSTEM, 1)
    kept = ring.find(made[0].digest, 1)
    reload_keys(store, ring)
    assert ring.find(made[0].digest, 1) is kept
    renamed = ring.find(made[1].digest, 1)
    assert renamed is not None
    assert renamed.name == "renamed"
    assert ring.find(fresh.digest, 1) == fresh
    assert ring.versions().keys() == {made[0].id, made[1].id, fresh.id}
    many = [_key(number) for number in range(1000, 1000 + 2 * KEYS_AT_ONCE + 1)]
    for key in many:
        store.create_key(key, SYSTEM, 1)
    reload_keys(store, ring)
    assert len(ring) == 3 + len(many)
    store.close()


def _key(number: int) -> Key:
    return Key(f"key_{number}", "k", "tp-k", digest(b"%d" % number), None, None, (), 1)


async def test_a_new_price_list_is_gone_over_to_on_the_event_loop_before_the_word_is_given(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/books.db"
    migrate(url)
    store = Store(url)
    made = roads("openai", pools={"chat": ("openai/gpt-4o",)})
    loop = asyncio.get_running_loop()
    price = ListedPrice("price_1", "openai", "gpt-4o", None, UsdRow(Decimal(1), Decimal(1)), 0, "contract", 1)

    async def told() -> None:
        await loop.run_in_executor(None, lambda: reload_prices(store, made, loop.call_soon_threadsafe))

    store.price_list.create(price, Actor("command"))
    await told()
    assert made.roads["chat[0]:openai/gpt-4o"].price_for(None, 1) == price.price()
    store.price_list.retire("price_1", Actor("command"), 2)
    await told()
    assert made.roads["chat[0]:openai/gpt-4o"].schedule is None
    store.close()
