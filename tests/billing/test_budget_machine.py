"""Whatever workers do in whatever order, crash and come back: the accounts are what a simple sum says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.billing.blank_books import blank_books
from tests.billing.budget_machine import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.billing.blank_books import Blank
    from tests.fixtures.figures import Tell

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def blank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blank]:
    server = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    with blank_books(server, tmp_path) as made:
        yield made


def test_no_order_of_events_breaks_an_account(blank: Blank) -> None:
    assert run(blank, 400) >= 400


def in_processes(blank: Blank, steps: int) -> int:
    """Two processes for each processor, since each waits half of the time; answers how many steps they took."""
    count = 2 * (os.cpu_count() or 1)
    command = [sys.executable, "-m", "tests.billing.budget_machine", blank.url, str(-(-steps // count))]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, "\n".join(said)
    return sum(map(int, said))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(20_000, marks=pytest.mark.slow),
        pytest.param(200_000, marks=pytest.mark.long),
    ],
)
def test_no_order_of_very_many_events_breaks_an_account(
    blank: Blank, steps: int, request: pytest.FixtureRequest, figure: Tell
) -> None:
    began_s = time.monotonic()
    taken = in_processes(blank, steps)
    assert taken >= steps
    engine = request.node.callspec.params["blank"]
    figure(
        "state machine over reserve, settle, release, crash, recover, window's end, price and limit change",
        f"{engine}, {taken} steps",
        f"0 violations in {time.monotonic() - began_s:.0f} s",
    )
