"""A worker that is stopped in mid-air, and a journal that nobody can read: no money that may be spent is given away."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import text

from billing.books import EntryKind
from billing.database import open_engine
from billing.journal import segments
from billing.journal_records import FRAME, MAGIC
from billing.money import usd_text
from tests.e2e.gateway import Gateway, chat, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.e2e.test_workers import MODEL, configured, owner_of, running
from tests.e2e.test_workers import database as database  # noqa: PLC0414  # a fixture
from tests.fakes.bill import Tokens
from tests.fakes.script import FOREVER_S, Pause, Says, broken_stream, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.e2e.gateway import Key
    from tests.fakes.provider import Provider
    from tests.fixtures.figures import Tell

WORKERS: Final = 3
STREAMS: Final = 4  # in flight in the worker that is stopped
# A hundred dollars per million tokens out: a request that may take 100 of them holds a cent, and uses 60.
PRICE: Final = {"input": 0, "output": 100}
HELD: Final = 10_000_000
COST: Final = 6_000_000
LIMIT: Final = 50 * HELD
USED: Final = Tokens(input=10, output=60)
QUICK: Final = reply(Says(tokens=USED))
SLOW: Final = reply(Says(pieces=("Hello", *["."] * 9), tokens=USED), gap_s=0.5)
STALLED: Final = broken_stream(Says(), Pause(FOREVER_S), after=3)


class Ledger:
    """What the database says, read beside the gateway."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _all(self, sql: str) -> list[tuple[Any, ...]]:
        with self._engine.begin() as tx:
            return [tuple(row) for row in tx.execute(text(sql))]

    def account(self) -> tuple[int, int]:
        """Posted and pending."""
        rows = self._all("SELECT posted_nano_usd, pending_nano_usd FROM budget_accounts")
        return rows[0] if rows else (0, 0)

    def leases(self) -> list[tuple[int, str, int, int]]:
        """Number, boot, amount, holds."""
        return [
            (int(i), boot, a, h)
            for i, boot, a, h in self._all(
                "SELECT id, boot_id, amount_nano_usd, holds FROM leases WHERE amount_nano_usd > 0 ORDER BY id"
            )
        ]

    def of_worker(self, index: int) -> tuple[int, str, int, int] | None:
        return next((lease for lease in self.leases() if lease[1].startswith(f"{index}-")), None)

    def rows(self) -> list[tuple[str | None, int, int]]:
        """End user, kind, amount."""
        return self._all(
            "SELECT a.end_user, e.kind, e.amount_nano_usd FROM entries e JOIN accounts a ON a.id = e.debit"
        )


def left_alone(ledger: Ledger, boot: str) -> bool:
    """Nobody else has a lease."""
    return {lease[1] for lease in ledger.leases()} == {boot}


@contextmanager
def ledger_of(gateway: Gateway, database: str) -> Iterator[Ledger]:
    engine = open_engine(f"sqlite:///{gateway.state}/turnpike.db" if database == "sqlite" else database)
    try:
        yield Ledger(engine)
    finally:
        engine.dispose()


@dataclass(slots=True)
class Asker:
    """One connection, kept open, to a worker that is known."""

    client: RawClient
    pid: int
    secret: str

    def send(self, user: str, *, stream: bool = False) -> None:
        body = chat(MODEL, max_tokens=100, user=user, stream=stream)
        self.client.send(request_bytes(json.dumps(body).encode(), self.secret))

    def ask(self, user: str) -> str:
        """`served`, or the code of the refusal."""
        self.send(user)
        answer = self.client.answer()
        if answer.status == 200:
            return "served"
        assert answer.status == 429, answer.body
        return str(answer.error()["code"])


def asker(gateway: Gateway, key: Key, stack: ExitStack) -> Asker:
    client = stack.enter_context(RawClient(gateway.port))
    # Whoever answers has accepted it.
    client.send(request_bytes(b"", key.secret, target="/v1/key", method="GET"))
    assert client.answer().status == 200
    return Asker(client, owner_of(client._sock.getsockname()[1], gateway), key.secret)


def askers(gateway: Gateway, key: Key, stack: ExitStack, victim: int) -> tuple[list[Asker], list[Asker]]:
    """Some of the victim's and some of the others'."""
    theirs: list[Asker] = []
    others: list[Asker] = []
    while len(theirs) < STREAMS or {one.pid for one in others} != {*gateway.worker_pids().values()} - {victim}:
        one = asker(gateway, key, stack)
        (theirs if one.pid == victim else others).append(one)
    return theirs[:STREAMS], others


def ask_until(others: list[Asker], code: str, name: str, within_s: float = 60.0) -> Counter[str]:
    """Asks one after the other until that refusal comes; answers how each ended."""
    deadline, ends, number = time.monotonic() + within_s, Counter[str](), 0
    while not ends[code]:
        assert time.monotonic() < deadline, f"not refused with {code}: {ends}"
        ends[others[number % len(others)].ask(f"{name}{number}")] += 1
        number += 1
    return ends


def config_of(one: Provider, two: Provider) -> dict[str, object]:
    models = {MODEL: [{"provider": "one", "model": MODEL, "price": PRICE}]}
    return configured(one, two, models=models, server={"drain_seconds_max": 2})


@pytest.mark.slow
@pytest.mark.parametrize("paused_s", [6, pytest.param(60, marks=pytest.mark.long)])
def test_what_a_stopped_worker_holds_is_nobody_elses_until_it_goes_on(
    directory: Path, one: Provider, two: Provider, database: str, paused_s: int, figure: Tell
) -> None:
    one.always(MODEL, QUICK)
    with running(directory, config_of(one, two), database, WORKERS) as gateway, ExitStack() as stack:
        ledger = stack.enter_context(ledger_of(gateway, database))
        key = gateway.create_key(team_id=gateway.create_team("spenders"))
        limited(gateway, key)
        before = len(one.requests)
        victim = gateway.worker_pids()[1]
        theirs, others = askers(gateway, key, stack, victim)
        one.queue(MODEL, *[SLOW] * STREAMS)
        for number, each in enumerate(theirs):
            each.send(f"paused{number}", stream=True)
            each.client.read_until(b"Hello")
        # It has told the database, so it is not stopped in the middle of a transaction.
        eventually(lambda: (ledger.of_worker(1) or (0, "", 0, 0))[3] == STREAMS, "its holds are told")
        os.kill(victim, signal.SIGSTOP)
        try:
            stopped_s = time.monotonic()
            lease = ledger.of_worker(1)
            assert lease is not None
            assert lease[2] >= STREAMS * HELD
            ends = ask_until(others, "budget_busy", "meanwhile")
            while time.monotonic() - stopped_s < paused_s:
                ends[others[0].ask("late")] += 1
                assert ledger.of_worker(1) == lease, "time alone frees nothing"
                assert sum(ledger.account()) <= LIMIT
            assert ends["insufficient_quota"] == 0
            told = gateway_refuses(gateway, lease[0])
            assert "stop the gateway first" in told
        finally:
            os.kill(victim, signal.SIGCONT)
        for each in theirs:
            each.client.read_until(b"[DONE]")
            each.client.read_until(b"0\r\n\r\n")
        eventually(lambda: all(not held for *_, held in ledger.leases()), "nothing is in flight")
        after = ask_until([*others, *theirs], "insufficient_quota", "after")
        eventually(lambda: ledger.account()[1] == 0, "nothing pends")
        posted, _ = ledger.account()
        rows = ledger.rows()
        served = STREAMS + ends["served"] + after["served"]
        assert [user for user, n in Counter(user for user, _, _ in rows).items() if n > 1 and user != "late"] == []
        assert len(rows) == len(one.requests) - before == served, "each that the provider saw, once"
        assert {(kind, amount) for _, kind, amount in rows} == {(EntryKind.ACTUAL, COST)}
        assert posted == served * COST
        assert LIMIT - HELD < posted <= LIMIT
        assert "the ledger is whole" in gateway.cli("ledger", "verify")
    figure(
        f"one of {WORKERS} workers stopped (SIGSTOP) with a lease and {STREAMS} streams in flight, then resumed",
        f"{database.partition(':')[0]}, {paused_s} s",
        f"freed meanwhile 0; rows {len(rows)} for {served} answers; posted {posted / 1e9:.3f} of {LIMIT / 1e9:.2f} USD",
    )


def limited(gateway: Gateway, key: Key) -> None:
    scope = {"type": "team", "id": key.team_id}
    gateway.admin("POST", "budgets", 201, json={"scope": scope, "window": "total", "limit_usd": usd_text(LIMIT)})


def gateway_refuses(gateway: Gateway, lease: int) -> str:
    """`ledger close` of a lease that is not lost; what it says."""
    with pytest.raises(AssertionError) as refusal:
        gateway.cli("ledger", "close", str(lease), "--reason", "it looks lost")
    return str(refusal.value)


@pytest.mark.slow
def test_the_lease_of_a_journal_that_cannot_be_read_pends_until_a_person_closes_it(
    directory: Path, one: Provider, two: Provider, database: str, figure: Tell
) -> None:
    one.always(MODEL, QUICK)
    gateway = Gateway(directory, {**config_of(one, two), "state": {"database": database}}, workers=WORKERS)
    gateway.cli("migrate")
    gateway.start()
    with ExitStack() as stack:
        key = gateway.create_key(team_id=gateway.create_team("spenders"))
        ledger = stack.enter_context(ledger_of(gateway, database))
        limited(gateway, key)
        theirs, _ = askers(gateway, key, stack, gateway.worker_pids()[1])
        one.queue(MODEL, *[STALLED] * STREAMS)
        for number, each in enumerate(theirs):
            each.send(f"lost{number}", stream=True)
            each.client.read_until(b"Hello")
        eventually(lambda: (ledger.of_worker(1) or (0, "", 0, 0))[3] == STREAMS, "its holds are told")
        number, boot, amount, _ = ledger.of_worker(1) or (0, "", 0, 0)
        workers = gateway.worker_pids()
        gateway.kill()
        eventually(lambda: not any(running_still(pid) for pid in workers.values()), "the workers are gone")
        # Nothing can be made of its first record; the others are whole.
        [path] = [path for path in segments(gateway.state / "journal" / "1") if path.read_bytes()[len(MAGIC)]]
        image = bytearray(path.read_bytes())
        image[len(MAGIC) + FRAME.size + 5] ^= 1
        path.write_bytes(image)
    for start in range(2):  # a second start frees it no more than the first
        gateway.start()
        with ExitStack() as stack:
            ledger = stack.enter_context(ledger_of(gateway, database))
            others = [asker(gateway, key, stack) for _ in range(4)]
            ends = ask_until(others, "budget_busy", f"start{start}-")
            eventually(partial(left_alone, ledger, boot), "the others' are free")
            [(_, _, left, _)] = ledger.leases()
            posted, pending = ledger.account()
            recovered = [row for row in ledger.rows() if (row[0] or "").startswith("lost")]
            # What its journal still tells of is posted, and has left the lease.
            assert left == pending == amount - sum(row[2] for row in recovered) > 0
            assert posted + pending <= LIMIT
            assert ends["insufficient_quota"] == 0
            assert gateway.stop() == 0
    gateway.start()
    with ExitStack() as stack:
        ledger = stack.enter_context(ledger_of(gateway, database))
        assert boot.partition("-")[0] == "1"
        assert str(number) in gateway.cli("ledger", "show")
        said = gateway.cli("ledger", "close", str(number), "--reason", "the disk ate its journal")
        assert "unknown" in said
        assert ledger.account() == (posted + left, 0)
        assert [amount for user, kind, amount in ledger.rows() if user is None] == [left]
        assert len({user for user, _, _ in ledger.rows()}) == len(ledger.rows()), "nobody is charged twice"
        [last] = [asker(gateway, key, stack)]
        assert last.ask("last") in {"served", "insufficient_quota"}
        assert gateway.stop() == 0
        assert "the ledger is whole" in gateway.cli("ledger", "verify")
    figure(
        f"a journal that cannot be read: {STREAMS} streams in flight, killed, its first record broken",
        f"{database.partition(':')[0]}, {WORKERS} workers, 2 starts",
        f"recovered {len(recovered)} rows; {left / 1e9:.3f} USD pend until `turnpike ledger close` posts them as"
        " unknown",
    )


def running_still(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
