"""Several processes write to one SQLite file: in turn, nobody starves, and nobody hangs on one that is stopped."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from billing.database import open_engine, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

pytestmark = pytest.mark.process

ROOT: Final = Path(__file__).parents[2]

# Writes in transactions of so many milliseconds, one after the other, and prints the longest it waited for one.
WRITER: Final = """
import sys, time
from sqlalchemy import text
from billing.database import open_engine, writing

url, name, transactions, lasting_ms = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
engine = writing(open_engine(url))
print("ready", flush=True)
sys.stdin.readline()
longest = 0.0
for _ in range(transactions):
    began = time.monotonic()
    with engine.begin() as tx:
        longest = max(longest, time.monotonic() - began)
        count = tx.execute(text("SELECT count FROM counts")).scalar_one()
        time.sleep(lasting_ms / 1000)
        tx.execute(text("UPDATE counts SET count = :count"), {"count": count + 1})
    time.sleep(lasting_ms / 1000)
print(longest, flush=True)
"""


@contextmanager
def opened(url: str, busy_ms: int = 5_000) -> Iterator[Engine]:
    engine = open_engine(url, busy_ms=busy_ms)
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.fixture
def writer(url: str) -> Iterator[Callable[[int], Engine]]:
    """An engine that writes, and waits for its turn for so many milliseconds."""
    with ExitStack() as stack:
        yield lambda busy_ms: writing(stack.enter_context(opened(url, busy_ms)))


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path}/books.db"
    with opened(made) as engine, writing(engine).begin() as tx:
        tx.execute(text("CREATE TABLE counts (count INTEGER)"))
        tx.execute(text("INSERT INTO counts VALUES (0)"))
    return made


class Writers:
    def __init__(self, url: str) -> None:
        self._url = url
        self._started: list[subprocess.Popen[str]] = []

    def start(self, name: str, transactions: int, lasting_ms: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, self._url, name, str(transactions), str(lasting_ms)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def go(self) -> None:
        for process in self._started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in self._started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def longest_s(self) -> list[float]:
        return [float(process.communicate(timeout=60)[0]) for process in self._started]

    def close(self) -> None:
        for process in self._started:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()


@pytest.fixture
def writers(url: str) -> Iterator[Writers]:
    made = Writers(url)
    yield made
    made.close()


def count(url: str) -> int:
    with opened(url) as engine, engine.connect() as tx:
        found: int = tx.execute(text("SELECT count FROM counts")).scalar_one()
        return found


def test_four_processes_write_in_turn_and_none_of_them_starves(url: str, writers: Writers) -> None:
    for name in "abc":
        writers.start(name, 20, 30)
    # One that leases: short and often, beside three that flush for 30 ms at a time.
    writers.start("lease", 100, 1)
    writers.go()
    waited_s = writers.longest_s()
    assert count(url) == 20 * 3 + 100
    # With SQLite's own waiting, which sleeps up to 100 ms between two tries, the unlucky one waits for seconds.
    assert max(waited_s) < 1


def test_one_that_is_stopped_in_mid_transaction_is_not_waited_for_longer_than_the_limit(
    url: str, writers: Writers, writer: Callable[[int], Engine]
) -> None:
    stopped = writers.start("stopped", 1, 1_500)
    writers.go()
    other = writer(200)
    _until_refused(url)
    stopped.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(OperationalError, match="locked"), other.begin():
        pass
    assert 0.2 <= time.monotonic() - began < 2
    stopped.send_signal(signal.SIGCONT)
    writers.longest_s()
    with other.begin() as tx:
        tx.execute(text("UPDATE counts SET count = count + 1"))
    assert count(url) == 2


def test_a_turn_ends_with_its_transaction_however_that_ends(url: str, writer: Callable[[int], Engine]) -> None:
    engine = writer(100)
    with pytest.raises(ZeroDivisionError), engine.begin():
        _ = 1 // 0
    with pytest.raises(OperationalError), engine.begin() as tx:
        tx.execute(text("UPDATE nothing SET count = 1"))
    held = engine.connect()
    held.begin()
    with pytest.raises(OperationalError), engine.begin():
        pass
    held.close()
    with engine.begin() as tx:
        tx.execute(text("UPDATE counts SET count = 7"))
    assert count(url) == 7


def test_threads_of_one_process_take_turns_too_and_one_that_gave_up_holds_nothing(
    url: str, writer: Callable[[int], Engine]
) -> None:
    patient, hasty = writer(5_000), writer(50)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with patient.begin():
            inside.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(10)
    with pytest.raises(OperationalError), hasty.begin():
        pass
    leave.set()
    holder.join()
    with hasty.begin() as tx:
        tx.execute(text("UPDATE counts SET count = 3"))
    assert count(url) == 3


def test_readers_wait_for_nobody(url: str, writer: Callable[[int], Engine]) -> None:
    with writer(5_000).begin() as tx:
        tx.execute(text("UPDATE counts SET count = 5"))
        assert count(url) == 0


def _until_refused(url: str) -> None:
    """Until somebody else writes."""
    path = url.removeprefix("sqlite:///")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        probe = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            probe.execute("BEGIN IMMEDIATE")
            probe.rollback()
        except sqlite3.OperationalError:
            return
        finally:
            probe.close()
        time.sleep(0.005)
    raise AssertionError("nobody writes")
