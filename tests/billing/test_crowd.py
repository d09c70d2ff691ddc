"""Eight processes against five budgets that they share: no deadlock, no update lost, whatever changes meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from billing.audit import Actor
from billing.budget_store import Budgets
from billing.database import open_engine
from tests.billing.blank_books import blank_books
from tests.billing.budget_rows import give_budget
from tests.billing.ledger_rows import chain_is_whole, query
from tests.billing.makers import AT_US

if TYPE_CHECKING:
    from tests.fixtures.figures import Tell

ROOT: Final = Path(__file__).parents[2]
WORKERS: Final = 8
SCOPES: Final = (("team", "team_1"), ("key", "*"), ("user", "user_1"), ("tag", "feature=*"), ("model", "gpt-5-mini"))
LIMIT: Final = 200_000_000


def refused_for_locks(url: str) -> int:
    """Deadlocks that PostgreSQL has had to break in this database."""
    return int(query(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0])


@pytest.mark.slow
@pytest.mark.parametrize("requests", [150, pytest.param(1500, marks=pytest.mark.long)])
def test_a_crowd_on_the_same_budgets_neither_deadlocks_nor_loses_an_update(
    postgres_url: str, tmp_path: Path, requests: int, figure: Tell
) -> None:
    with blank_books(postgres_url, tmp_path) as blank, blank.copied(tmp_path) as url:
        for number, (scope_type, scope_id) in enumerate(SCOPES):
            # Hours are made anew all the time; a total is one row that everybody wants.
            window = ("hour", "total")[number % 2]
            given = {"scope_type": scope_type, "scope_id": scope_id, "window": window}
            give_budget(url, f"b{number}", limit_nano_usd=LIMIT * 100, **given)
        began_s = time.monotonic()
        command = [sys.executable, "-m", "tests.billing.crowd_worker", url, str(tmp_path)]
        crowd = [
            subprocess.Popen([*command, str(number), str(requests)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for number in range(WORKERS)
        ]
        engine = open_engine(url)
        budgets, changes = Budgets(engine), 0
        while any(worker.poll() is None for worker in crowd):
            changes += 1
            limit = LIMIT * (60 + changes % 40)
            budgets.update(f"b{changes % 5}", {"limit_nano_usd": limit}, None, Actor("command"), AT_US + changes)
            time.sleep(0.05)
        engine.dispose()
        said = [worker.communicate()[0] for worker in crowd]
        assert [worker.returncode for worker in crowd] == [0] * WORKERS
        spent = sum(map(int, said))
        took_s = time.monotonic() - began_s
        ((rows, total),) = query(url, "SELECT COUNT(*), SUM(amount_nano_usd) FROM entries")
        assert total == spent > 0
        by_budget = query(
            url,
            "SELECT budget_id, SUM(posted_nano_usd), SUM(pending_nano_usd) FROM budget_accounts"
            " GROUP BY budget_id ORDER BY budget_id",
        )
        assert by_budget == [(f"b{number}", spent, 0) for number in range(len(SCOPES))]
        assert query(url, "SELECT COUNT(*) FROM leases WHERE amount_nano_usd <> 0") == [(0,)]
        assert chain_is_whole(url, tmp_path)
        assert refused_for_locks(url) == 0
    figure(
        f"{WORKERS} processes, {len(SCOPES)} shared scopes, limits changed {changes} times, PostgreSQL",
        f"{WORKERS * requests} requests",
        f"deadlocks 0, updates lost 0, {rows} rows in {took_s:.0f} s",
    )
