"""A worker killed in mid-air, under load, again and again: nothing is missing, nothing is twice, nothing is wrong."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from billing.books import Books, EntryKind
from billing.journal import segment_number, segments
from tests.billing.conftest import now_us
from tests.billing.ledger_rows import chain_is_whole, entries, usage_of

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
KILLS = 3
IN_FLIGHT_MAX = 22


def killed(url: str, journal: Path, first: int, lines_min: int) -> list[list[str]]:
    """Runs a worker, kills it once it has said enough, and answers what it had said in whole lines."""
    command = [sys.executable, "-m", "tests.billing.killed_worker", url, str(journal), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as worker:
        assert isinstance(worker.stdout, io.BufferedReader)
        said = b""
        deadline = time.monotonic() + 60
        while said.count(b"\n") < lines_min and time.monotonic() < deadline:
            chunk = worker.stdout.read1()
            assert chunk, "the worker died of itself"
            said += chunk
        worker.send_signal(signal.SIGKILL)
        said += worker.stdout.read()
    assert worker.returncode == -signal.SIGKILL
    return [line.split() for line in said.decode().splitlines(keepends=True) if line.endswith("\n")]


def test_a_killed_workers_ledger_is_whole(sqlite_url: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    sent: set[str] = set()
    paid: dict[str, int] = {}
    for kill in range(KILLS):
        said = killed(sqlite_url, journal, kill * 1_000_000, 3000 + 10_000 * kill)
        last_segment = segments(journal)[-1]
        sent |= {line[1] for line in said if line[0] == "sent"}
        paid |= {line[1]: int(line[2]) for line in said if line[0] == "paid"}

    assert segment_number(last_segment) > 10, "segments were filled and used again"
    books = Books(sqlite_url, journal, clock=now_us)
    books.open()
    books.flush(60)
    assert books.pending_nano_usd() == 0
    books.close()

    found = entries(sqlite_url)
    by_request = {entry.request_id: entry for entry in found}
    assert len(by_request) == len(found), "nothing twice"
    assert sent <= by_request.keys(), "nothing missing"
    assert all(by_request[request_id].kind == EntryKind.ACTUAL for request_id in paid)
    assert {request_id: by_request[request_id].amount_nano_usd for request_id in paid} == paid
    inexact = [entry for entry in found if entry.kind != EntryKind.ACTUAL]
    assert 0 < len(inexact) <= KILLS * IN_FLIGHT_MAX
    assert {entry.kind for entry in inexact} == {EntryKind.UNKNOWN, EntryKind.ESTIMATED}
    line = usage_of(sqlite_url)[()]
    assert line.requests == len(found)
    assert line.cost_nano_usd == sum(entry.amount_nano_usd for entry in found)
    assert line.estimated_nano_usd == sum(entry.amount_nano_usd for entry in inexact)
    assert chain_is_whole(sqlite_url)
