"""Workers are killed under load, again and again, half of it streams: the books and the provider's memory agree."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from sqlalchemy import text

from billing.books import EntryKind
from billing.database import open_engine
from tests.e2e.gateway import chat, eventually
from tests.e2e.test_workers import MODEL, _replaced, configured, running
from tests.e2e.test_workers import database as database  # noqa: PLC0414  # a fixture
from tests.fakes.bill import Tokens
from tests.fakes.script import Says, reply

if TYPE_CHECKING:
    from tests.e2e.gateway import Gateway, Key
    from tests.fakes.provider import Provider
    from tests.fixtures.figures import Tell

WORKERS: Final = 4
THREADS: Final = 8
PENDING_S_MAX: Final = 5.0
# Half a dollar per million tokens in, two out: exact in nano-dollars.
PRICE: Final = {"input": "0.50", "output": "2.00"}
TOKENS: Final = Tokens(input=100, output=50)
COST_NANO_USD: Final = 100 * 500 + 50 * 2000


@dataclass(frozen=True, slots=True)
class Row:
    user: str
    kind: EntryKind
    amount_nano_usd: int


class Crowd:
    """Threads that ask, each request in the name of a user of its own, and remember who was answered whole."""

    def __init__(self, gateway: Gateway, key: Key) -> None:
        self.whole: list[str] = []
        self.broken: list[str] = []
        self._gateway, self._key = gateway, key
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        for turn in itertools.count():
            if self._over.is_set():
                return
            user = f"u{number}-{turn}"
            whole = self._ask(user, streams=number % 2 == 0)
            (self.whole if whole else self.broken).append(user)

    def _ask(self, user: str, *, streams: bool) -> bool:
        body = chat(MODEL, max_tokens=60, user=user, stream=streams)
        try:
            answer = self._gateway.ask(self._key, json.dumps(body).encode())
        except httpx.TransportError:
            return False
        assert answer.status_code == 200, answer.text
        return not streams or b"[DONE]" in answer.content


def rows(url: str) -> list[Row]:
    engine = open_engine(url)
    with engine.begin() as tx:
        found = tx.execute(
            text("SELECT a.end_user, e.kind, e.amount_nano_usd FROM entries e JOIN accounts a ON a.id = e.debit")
        )
        made = [Row(user, EntryKind(kind), amount) for user, kind, amount in found]
    engine.dispose()
    return made


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.long)])
def test_no_kill_loses_doubles_or_changes_a_row(
    directory: Path, one: Provider, two: Provider, database: str, kills: int, figure: Tell
) -> None:
    draw = random.Random(20261125)
    one.always(MODEL, reply(Says(tokens=TOKENS), gap_s=0.005))
    config = configured(one, two, models={MODEL: [{"provider": "one", "model": MODEL, "price": PRICE}]})
    with running(directory, config, database, workers=WORKERS) as gateway:
        url = f"sqlite:///{gateway.state}/turnpike.db" if database == "sqlite" else database
        before = len(one.requests)
        crowd = Crowd(gateway, gateway.create_key())
        crowd.start()
        for _ in range(kills):
            _kill_one(gateway, draw)
        crowd.stop()
        began = time.monotonic()
        eventually(lambda: _pending(gateway) == "0.000000000", "nothing pends", within_s=PENDING_S_MAX)
        pended_s = time.monotonic() - began
        assert pended_s < PENDING_S_MAX
        seen = {_user(request.body) for request in one.requests[before:]}
        eventually(lambda: seen <= {row.user for row in rows(url)}, "every request that the provider saw has a row")
        found = rows(url)
    assert len({row.user for row in found}) == len(found), "nobody is charged twice"
    assert set(crowd.whole) <= {row.user for row in found}
    wrong = [row for row in found if row.kind is EntryKind.ACTUAL and row.amount_nano_usd != COST_NANO_USD]
    assert wrong == []
    unknown = [row.user for row in found if row.kind is EntryKind.UNKNOWN]
    # What was in flight at a kill, and had not been answered: at most one a thread.
    assert set(unknown) <= set(crowd.broken)
    assert len(unknown) <= kills * THREADS
    assert len(crowd.whole) > kills * THREADS
    figure(
        f"kill -9 of one of {WORKERS} workers under load, half of it streams",
        f"{kills} kills, {THREADS} clients, {database.partition(':')[0]}",
        f"{len(seen)} requests reached the provider; rows missing {len(seen - {row.user for row in found})},"
        f" doubled {len(found) - len({row.user for row in found})}, wrong amounts {len(wrong)};"
        f" unknown {len(unknown)} of {len(crowd.broken)} broken off; nothing pending after"
        f" {pended_s:.2f} s",
    )


def _kill_one(gateway: Gateway, draw: random.Random) -> None:
    eventually(lambda: len(gateway.worker_pids()) == WORKERS, "all workers run")
    index, victim = draw.choice(sorted(gateway.worker_pids().items()))
    os.kill(victim, signal.SIGKILL)
    _replaced(gateway, index, victim)
    # Until it serves: a journal that was not read yet is no test of the next kill.
    eventually(lambda: any(name.startswith(f"{index}-") for name in _sockets(gateway)), "the new one has opened")
    time.sleep(draw.uniform(0.05, 0.3))


def _sockets(gateway: Gateway) -> list[str]:
    elsewhere = gateway.state / "bus.directory"  # where the path of the state directory is too long for a socket
    directory = Path(elsewhere.read_text().strip()) if elsewhere.exists() else gateway.state / "bus"
    return [path.name for path in directory.glob("*.sock")]


def _pending(gateway: Gateway) -> str:
    pending: str = gateway.admin("GET", "health", 200).json()["pending_usd"]
    return pending


def _user(body: bytes) -> str:
    document: dict[str, Any] = json.loads(body)
    return str(document.get("user"))
