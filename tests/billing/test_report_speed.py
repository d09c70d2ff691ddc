"""A team's month is read from sums: in less than a tenth of a second, over as many entries as a busy year has."""

from __future__ import annotations

import random
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from billing.database import open_engine, writing
from billing.queries import intern_accounts
from billing.queries.rows import insert
from billing.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from tests.fixtures.figures import Tell

MONTH_US = 1_793_491_200_000_000  # 2026-11-01T00:00Z
DAYS = 30
QUARTERS = DAYS * 96
ANSWER_MS_MAX = 100
COLUMNS = (
    *("quarter", "account_id", "requests", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
    *("cost_nano_usd", "estimated_nano_usd", "saved_nano_usd"),
)
MODELS = ("gpt-5-mini", "gpt-5", "claude-haiku-4-5", "llama-70b")


def fill(url: str, entries: int, teams: int, keys_of_each: int) -> int:
    """The roll-ups that so many entries make: each in some quarter hour of some key's account. Answers the cost."""
    chance = random.Random(5)
    first = MONTH_US // 900_000_000
    engine = open_engine(url)
    total = 0
    with writing(engine).begin() as tx:
        ids = accounts(tx, teams, keys_of_each)
        # As the flusher's transactions come: an hour's worth of quarter hours at a time, in the order of time.
        for begin in range(first, first + QUARTERS, 4):
            cells: dict[tuple[int, int], int] = {}
            for _ in range(entries * 4 // QUARTERS):
                cell = begin + chance.randrange(4), chance.choice(ids)
                cells[cell] = cells.get(cell, 0) + 1
            rows = [(*cell, n, n * 900, n * 100, n * 150, 0, n * 1_000_000, 0, 0) for cell, n in cells.items()]
            total += sum(row[7] for row in rows)
            insert(tx, "usage_quarters", COLUMNS, rows)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()
    return total


def accounts(tx: Connection, teams: int, keys_of_each: int) -> list[int]:
    rows = [
        (f"{key} {team} {model}", "cost", f"key_{team}_{key}", f"team_{team}", None, None, "openai", model, None)
        for team in range(teams)
        for key in range(keys_of_each)
        for model in MODELS
    ]
    return sorted(intern_accounts(tx, rows).values())


def spans() -> Iterator[tuple[str, str, int, int]]:
    """A month as UTC has it, and as Berlin has, whose midnights are no days of UTC."""
    yield "a month", "UTC", MONTH_US, MONTH_US + DAYS * 86_400_000_000
    hour = 3_600_000_000
    yield "a month in Berlin", "Europe/Berlin", MONTH_US - hour, MONTH_US + DAYS * 86_400_000_000 - hour


def measured(url: str, total: int) -> dict[str, int]:
    """The best of five, in milliseconds, of each report that a month's end asks for."""
    found: dict[str, int] = {}
    with closing(Store(url)) as store:
        for name, zone, begin, end in spans():
            for what, columns, filters in (
                (f"{name}, each team", ("team",), {}),
                (f"{name}, one team by model", ("model",), {"team_id": "team_1"}),
                (f"{name}, one team by day and model", ("day", "model"), {"team_id": "team_1"}),
            ):
                best = 10**9
                for _ in range(5):
                    start = time.perf_counter_ns()
                    lines = store.usage(columns, begin, end, zone, filters)
                    best = min(best, (time.perf_counter_ns() - start) // 1_000_000)
                found[what] = best
                if columns == ("team",) and zone == "UTC":
                    assert sum(line.cost_nano_usd for line in lines.values()) == total
    return found


def test_a_teams_month_over_half_a_million_entries_is_the_sum_of_them(url: str) -> None:
    """Ten times as many, and how fast, is told by the long test, which has the machine to itself."""
    assert measured(url, fill(url, 500_000, teams=20, keys_of_each=5))


@pytest.mark.long
def test_a_teams_month_over_five_million_entries(url: str, figure: Tell) -> None:
    found = measured(url, fill(url, 5_000_000, teams=100, keys_of_each=5))
    for what, best_ms in found.items():
        figure(f"report over 5 million entries: {what}", url.partition(":")[0], f"{best_ms} ms")
    assert max(found.values()) < ANSWER_MS_MAX, found
