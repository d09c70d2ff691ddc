"""Several workers behind one port, seen from outside: one gateway, whichever answers, whatever becomes of one."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

import httpx
import psycopg
import pytest

from tests.billing.budget_rows import give_budget
from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import Gateway, chat, error_of, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.bill import Tokens
from tests.fakes.script import FOREVER_S, Close, Pause, Says, broken_stream, reply
from tests.local_backend.conftest import FAKE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.e2e.gateway import Key
    from tests.fakes.provider import Provider

T = TypeVar("T")

MODEL: Final = "shared"
WORKERS: Final = 3


def configured(one: Provider, two: Provider, **more: object) -> dict[str, object]:
    return {"providers": hosted(one, two), "models": {MODEL: [deployment("one", MODEL)]}, **more}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """What `state.database` says; a PostgreSQL database is this test's own."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    server: str = request.getfixturevalue("postgres_url")
    name = f"workers_{os.urandom(4).hex()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running(
    directory: Path, config: Mapping[str, object], database: str = "sqlite", workers: int = WORKERS
) -> Iterator[Gateway]:
    gateway = Gateway(directory, {**config, "state": {"database": database}}, workers=workers)
    gateway.cli("migrate")
    with gateway:
        yield gateway


class Load:
    """Requests one after the other from each of a few threads, each on a connection of its own, until told to end."""

    def __init__(self, gateway: Gateway, key: Key, threads: int = 4) -> None:
        self.served: list[str] = []
        self.broken = 0
        self._gateway, self._key = gateway, key
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                answer = self._gateway.ask(self._key, chat(MODEL, max_tokens=20))
            except httpx.TransportError:
                # Its worker was killed: the one thing that a client may see of that.
                self.broken += 1
            else:
                assert answer.status_code == 200, answer.text
                self.served.append(answer.headers["x-request-id"])


def each_worker(gateway: Gateway, ask: Callable[[httpx.Client], None], *, within_s: float = 20.0) -> None:
    """`ask`, on fresh connections, until every worker has accepted one: told from what each has open."""
    reached: set[int] = set()
    deadline = time.monotonic() + within_s
    while reached != set(gateway.worker_pids().values()):
        assert time.monotonic() < deadline, f"only {reached} of {gateway.worker_pids()} were reached"
        with httpx.Client(base_url=gateway.base_url, timeout=30, trust_env=False) as client:
            ask(client)
            reached.add(_owner(client, gateway))


def _owner(client: httpx.Client, gateway: Gateway) -> int:
    """The worker at the other end of the client's one connection."""
    [connection] = client._transport._pool.connections  # type: ignore[attr-defined]
    stream = connection._connection._network_stream
    return owner_of(stream.get_extra_info("client_addr")[1], gateway)


def owner_of(ours: int, gateway: Gateway) -> int:
    """The worker at the other end of the connection from that port of ours, once it has accepted it."""
    wanted = f"0100007F:{gateway.port:04X} 0100007F:{ours:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    # The kernel may tell a line twice while others come and go.
    [inode] = {line.split()[9] for line in lines if " ".join(line.split()[1:3]) == wanted}
    for pid in gateway.worker_pids().values():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            if fd.is_symlink() and os.readlink(fd) == f"socket:[{inode}]":  # noqa: PTH115
                return pid
    raise AssertionError("no worker has the connection")


def token_in(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


def refused(key: Key) -> Callable[[httpx.Client], None]:
    def ask(client: httpx.Client) -> None:
        answer = client.get("/v1/key", headers=key.bearer)
        assert answer.status_code == 401, f"{answer.status_code} {answer.text}"

    return ask


def honoured(key: Key) -> Callable[[httpx.Client], None]:
    def ask(client: httpx.Client) -> None:
        answer = client.get("/v1/key", headers=key.bearer)
        assert answer.status_code == 200, answer.text

    return ask


def test_a_key_counts_in_every_worker_when_its_creation_answers_and_in_none_when_its_deletion_does(
    directory: Path, one: Provider, two: Provider, database: str
) -> None:
    with running(directory, configured(one, two), database) as gateway:
        key = gateway.create_key()
        each_worker(gateway, honoured(key))
        gateway.admin("DELETE", f"keys/{key.id}", 200)
        each_worker(gateway, refused(key))
        # What the greeting made in one worker is everybody's too.
        first = re.search(r"First key +(\S+)", gateway.logs())
        assert first is not None
        assert gateway.logs().count("Turnpike is serving on") == 1

        def with_first(client: httpx.Client) -> None:
            assert client.get("/v1/key", headers={"authorization": f"Bearer {first[1]}"}).status_code == 200

        each_worker(gateway, with_first)


def test_any_worker_signs_in_reports_and_counts_for_all_of_them(
    directory: Path, one: Provider, two: Provider, database: str
) -> None:
    with running(directory, configured(one, two), database) as gateway:
        key = gateway.create_key()
        for _ in range(12):
            assert gateway.ask(key, chat(MODEL)).status_code == 200
        bearer = {"authorization": f"Bearer {gateway.admin_key}"}

        def reported(client: httpx.Client) -> None:
            rows = client.get("/admin/v1/usage", params={"group_by": "key"}, headers=bearer).json()["data"]
            assert [row["requests"] for row in rows] == [12]

        def counted(client: httpx.Client) -> None:
            lines = client.get("/metrics").text.splitlines()
            served = [line for line in lines if line.startswith("turnpike_requests_total{") and 'status="200"' in line]
            assert sum(int(line.rpartition(" ")[2]) for line in served) == 12
            assert len([line for line in lines if line.startswith("turnpike_build_info")]) == 1

        form = gateway.client.get("/admin/login").text
        fields = {"token": token_in(form), "key": gateway.admin_key}
        signed = gateway.client.post("/admin/login", data=fields, headers={"origin": gateway.base_url})
        assert signed.headers.get("location") == "/admin", signed.text
        cookie = {"cookie": signed.headers["set-cookie"].partition(";")[0]}

        def signed_in(client: httpx.Client) -> None:
            assert client.get("/admin", headers=cookie).status_code == 200

        def signed_out(client: httpx.Client) -> None:
            assert client.get("/admin", headers=cookie).status_code == 303

        for ask in (reported, counted, signed_in):
            each_worker(gateway, ask)
        page = gateway.client.get("/admin", headers=cookie).text
        left = gateway.client.post(
            "/admin/logout", data={"token": token_in(page)}, headers={**cookie, "origin": gateway.base_url}
        )
        assert left.headers.get("location") == "/admin/login", left.text
        each_worker(gateway, signed_out)


def test_what_one_worker_holds_shows_in_every_other(directory: Path, one: Provider, two: Provider) -> None:
    one.queue(MODEL, broken_stream(Says(), Pause(FOREVER_S), after=3))
    with running(directory, configured(one, two, server={"drain_seconds_max": 1})) as gateway:
        key = gateway.create_key()
        bearer = {"authorization": f"Bearer {gateway.admin_key}"}

        def held(client: httpx.Client) -> None:
            pending = client.get("/admin/v1/health", headers=bearer).json()["pending_usd"]
            assert Decimal(pending) > 0

        with RawClient(gateway.port) as client:
            client.send(request_bytes(json.dumps(chat(MODEL, stream=True, max_tokens=50)).encode(), key.secret))
            client.read_until(b"Hello")
            each_worker(gateway, held)
        eventually(
            lambda: gateway.admin("GET", "health", 200).json()["pending_usd"] == "0.000000000", "the hold is settled"
        )


def test_a_worker_that_is_killed_under_load_is_back_at_once_and_nothing_is_lost(
    directory: Path, one: Provider, two: Provider, database: str
) -> None:
    one.always(MODEL, reply(Says()))
    with running(directory, configured(one, two), database) as gateway:
        key = gateway.create_key()
        before = len(one.asked(MODEL))
        with Load(gateway, key) as load:
            for index in (0, 2):
                _more_served(load)
                victim = gateway.worker_pids()[index]
                os.kill(victim, signal.SIGKILL)
                _replaced(gateway, index, victim)
            eventually(lambda: len(set(gateway.worker_pids())) == WORKERS, "all are there again")
            _more_served(load)
        each_worker(gateway, honoured(key))
        # What was in it, and what the kernel gave it while it died: a thread may be so unlucky more than once.
        assert load.broken < len(load.served) / 2
        reached = len(one.asked(MODEL)) - before
        [row] = gateway.usage_of(key, requests=reached)
        # Whoever was killed between its note and its first byte is charged as unknown.
        booked = int(str(row["requests"]))
        assert reached <= booked <= reached + load.broken, "what the provider has seen is in the books, once"
        assert booked >= len(load.served)
        for request_id in load.served[-10:] + load.served[:10]:
            # 0 where its worker was killed before the log had it: the page then says that it was recovered.
            assert gateway.request_row(request_id)["status"] in {200, 0}
        eventually(lambda: gateway.admin("GET", "health", 200).json()["pending_usd"] == "0.000000000", "nothing pends")


def test_a_worker_that_is_stopped_holds_up_neither_changes_nor_reports(
    directory: Path, one: Provider, two: Provider
) -> None:
    with running(directory, configured(one, two)) as gateway:
        key = gateway.create_key()
        pids = gateway.worker_pids()
        os.kill(pids[1], signal.SIGSTOP)
        try:
            key = _reaching(gateway, pids[1], lambda: gateway.create_key("meanwhile"))
            began = time.monotonic()
            _reaching(gateway, pids[1], lambda: gateway.admin("DELETE", f"keys/{key.id}", 200))
            assert time.monotonic() - began < 15
        finally:
            os.kill(pids[1], signal.SIGCONT)
        # What it missed it finds by itself.
        eventually(lambda: _all_refuse(gateway, key), "the one that was stopped refuses the key too")


def _more_served(load: Load) -> None:
    served = len(load.served)
    eventually(lambda: len(load.served) > served + 20, "requests are served")


def _replaced(gateway: Gateway, index: int, victim: int) -> None:
    eventually(lambda: gateway.worker_pids().get(index, victim) != victim, "another takes its place")


def _reaching(gateway: Gateway, stopped: int, act: Callable[[], T]) -> T:
    """Acts through a worker that runs: a connection that the kernel gave to the stopped one is given up."""
    usual = gateway.client
    try:
        for _ in range(40):
            with httpx.Client(base_url=gateway.base_url, timeout=30, trust_env=False) as gateway._local.client:
                try:
                    gateway.client.get("/healthz", timeout=0.5)
                except httpx.TimeoutException:
                    continue
                return act()
    finally:
        gateway._local.client = usual
    raise AssertionError(f"only the stopped worker {stopped} was reached")


def _all_refuse(gateway: Gateway, key: Key) -> bool:
    try:
        each_worker(gateway, refused(key))
    except AssertionError:
        return False
    return True


def test_all_drain_together_and_the_last_stream_is_settled(
    directory: Path, one: Provider, two: Provider, database: str
) -> None:
    one.queue(MODEL, *[broken_stream(Says(), Pause(1.0), Close(), after=3)] * 6)
    with running(directory, configured(one, two), database) as gateway:
        key = gateway.create_key()
        clients = [RawClient(gateway.port) for _ in range(6)]
        for client in clients:
            client.send(request_bytes(json.dumps(chat(MODEL, stream=True, max_tokens=50)).encode(), key.secret))
        for client in clients:
            client.read_until(b"Hello")
        gateway.terminate()
        for client in clients:
            client.rest()
            client.close()
        assert gateway.wait() == 0
        assert not (gateway.state / "bus").exists()
        assert not (gateway.state / "gateway.address").exists()
        assert list((gateway.state / "journal").rglob("*.tpj")) == []
    with running(directory, configured(one, two), database, workers=1) as again:
        [row] = again.usage_of(key, requests=6)
        assert row["requests"] == 6


def test_a_parent_that_is_killed_takes_its_workers_along_and_fewer_ones_book_what_was_left(
    directory: Path, one: Provider, two: Provider, database: str
) -> None:
    stalls = [broken_stream(Says(), Pause(FOREVER_S), after=3)] * 8
    one.queue(MODEL, *stalls)
    gateway = Gateway(directory, {**configured(one, two), "state": {"database": database}}, workers=WORKERS)
    gateway.cli("migrate")
    gateway.start()
    key = gateway.create_key()
    clients = [RawClient(gateway.port) for _ in stalls]
    for client in clients:
        client.send(request_bytes(json.dumps(chat(MODEL, stream=True, max_tokens=50)).encode(), key.secret))
        client.read_until(b"Hello")
    workers = gateway.worker_pids()
    gateway.kill()
    eventually(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in workers.values()), "the workers are gone")
    for client in clients:
        client.close()
    with running(directory, configured(one, two), database, workers=1) as again:
        [row] = again.usage_of(key, requests=len(stalls))
        assert row["requests"] == len(stalls)
        assert row["estimated_usd"] == row["cost_usd"] != "0.000000000"


def test_a_port_that_another_gateway_has_is_refused_though_both_would_share(directory: Path, tmp_path: Path) -> None:
    with Gateway(directory, workers=2) as gateway:
        second = Gateway(tmp_path / "second", {"server": {"port": gateway.port}}, workers=2)
        with pytest.raises(AssertionError, match="exited with 1"):
            second.start()
        [line] = second.logs().splitlines()
        assert line.startswith(f"turnpike: cannot listen on 127.0.0.1:{gateway.port}")


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1), (2, 2)])
def test_one_state_directory_has_one_gateway_with_however_many_workers(
    directory: Path, tmp_path: Path, first: int, then: int
) -> None:
    with Gateway(directory, workers=first) as gateway:
        second = Gateway(tmp_path / "second", {"state": {"directory": str(gateway.state)}}, workers=then)
        second.state = tmp_path
        with pytest.raises(AssertionError, match="exited with 1"):
            second.start()
        [line] = second.logs().splitlines()
        assert line.startswith("turnpike: ")
        assert "belongs to a gateway that is running" in line
        assert gateway.client.get("/readyz").status_code == 200


def test_told_to_stop_while_it_starts_it_ends_as_it_should(directory: Path) -> None:
    gateway = Gateway(directory, workers=WORKERS)
    with pytest.raises(AssertionError, match="exited with 0"), _told_once_workers_start(gateway):
        gateway.start()
    assert not (gateway.state / "bus").exists()


@contextmanager
def _told_once_workers_start(gateway: Gateway) -> Iterator[None]:
    def tell() -> None:
        eventually(lambda: gateway._process is not None and gateway.worker_pids(), "a worker starts")
        gateway.terminate()

    teller = threading.Thread(target=tell)
    teller.start()
    yield
    teller.join()


def test_a_worker_that_keeps_dying_is_started_ever_more_slowly(directory: Path) -> None:
    with Gateway(directory, workers=2) as gateway:
        for _ in range(3):
            victim = eventually(lambda: gateway.worker_pids().get(1), "it runs")
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            _replaced(gateway, 1, victim)
        pauses = eventually(
            lambda: re.findall(r"worker 1 was ended by SIGKILL: it is started again in (\S+) s", gateway.logs())[2:],
            "the third death is told",
        )
        assert pauses == ["0.5"]
        eventually(lambda: len(gateway.worker_pids()) == 2, "both run again")
        with socket.create_connection(("127.0.0.1", gateway.port)):
            pass


def test_a_budget_that_is_changed_in_the_database_binds_all_workers_within_a_second_and_is_spent_to_the_last_cent(
    directory: Path, one: Provider, two: Provider, database: str
) -> None:
    price = {"input": 0, "output": 100}
    config = configured(one, two, models={MODEL: [{"provider": "one", "model": MODEL, "price": price}]})
    one.always(MODEL, reply(Says(tokens=Tokens(input=10, output=100))))
    with running(directory, config, database, workers=4) as gateway:
        key = gateway.create_key(team_id=gateway.create_team("spenders"))
        for _ in range(8):
            assert gateway.ask(key, chat(MODEL, max_tokens=100)).status_code == 200
        url = f"sqlite:///{gateway.state}/turnpike.db" if database == "sqlite" else database
        give_budget(url, scope_id=key.team_id, limit_nano_usd=500_000_000)
        time.sleep(1.0)  # what is promised of a change that no gateway was told of
        with ThreadPoolExecutor(32) as threads:
            asked = [threads.submit(gateway.ask, key, chat(MODEL, max_tokens=100)) for _ in range(150)]
            answers = [each.result() for each in asked]
        refused = [each for each in answers if each.status_code != 200]
        # Of the fifty that fit, eight were had before there was a budget, in its window all the same.
        assert len(answers) - len(refused) == 50 - 8, [each.text for each in refused[:3]]
        assert {each.status_code for each in refused} == {429}
        assert {each.json()["error"]["code"] for each in refused} <= {"insufficient_quota", "budget_busy"}
        last = gateway.ask(key, chat(MODEL, max_tokens=100))
        assert error_of(last, 429, "insufficient_quota")


def test_a_local_model_is_started_once_for_all_workers_outlives_one_of_them_and_ends_with_the_gateway(
    directory: Path,
) -> None:
    diary = directory / "diary"
    args = {"fake-diary": str(diary)}
    config = {"local": {"command": list(FAKE), "models": {"tiny": {"model": "a/model", "args": args}}}}
    with Gateway(directory, config, workers=WORKERS) as gateway:
        key = gateway.create_key()

        def answered(client: httpx.Client) -> None:
            answer = client.post("/v1/chat/completions", headers=key.bearer, json=chat("local/tiny"))
            assert answer.status_code == 200, answer.text

        each_worker(gateway, answered)
        victim = gateway.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        _replaced(gateway, 0, victim)
        eventually(lambda: len(gateway.worker_pids()) == WORKERS, "all are there again")
        each_worker(gateway, answered)
        [replica] = gateway.admin("GET", "local", 200).json()["data"]
        assert (replica["model"], replica["state"], replica["restarts"]) == ("tiny", "ready", 0)
        assert len(diary.read_text().splitlines()) == 1
        assert "pid=" in gateway.cli("local", "logs", "tiny")
    assert list((gateway.state / "replicas").glob("*.json")) == [], "no process is left"
