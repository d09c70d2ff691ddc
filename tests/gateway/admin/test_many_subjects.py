"""A budget for each of 100,000 keys: what is read of it does not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import event

from billing.windows import Window, span
from tests.billing.budget_rows import execute
from tests.gateway.admin.house import NOON, House
from tests.gateway.admin.test_sign_in import sign_in

if TYPE_CHECKING:
    import sqlite3

SUBJECTS: Final = 100_000
ROWS_MAX: Final = 600  # what a page names, and what it says of each
START_US, END_US = span(Window.MONTH, "UTC", NOON)


class Rows:
    """Counts what leaves the database."""

    def __init__(self) -> None:
        self.read = 0

    def made(self, _cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
        self.read += 1
        return row


def counted(house: House) -> Rows:
    rows = Rows()

    def watch(connection: Any, *_: object) -> None:
        connection.row_factory = rows.made

    event.listen(house.store.engine, "checkout", watch)
    return rows


async def crowded(house: House) -> None:
    """Key number n has spent n nano-dollars and holds one."""
    scope = {"type": "key", "id": "*"}
    await house.made("budgets", id="each", scope=scope, limit_usd="1", window="month")
    execute(
        house.url,
        "INSERT INTO budget_accounts (budget_id, subject, window_start_us, window_end_us, limit_nano_usd,"
        f" posted_nano_usd, pending_nano_usd, contended_until_us) WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT"
        f" n + 1 FROM n WHERE n < {SUBJECTS}) SELECT 'each', 'key_' || n, {START_US},"
        f" {END_US}, 1000000000, n, 5, 0 FROM n",
    )
    execute(
        house.url,
        "INSERT INTO leases (account_id, journal, boot_id, amount_nano_usd, open_nano_usd, holds, serial, taken_at_us)"
        f" SELECT id, 'journal', 'gone', 5, 1, 1, 1, {NOON} FROM budget_accounts",
    )


@pytest.mark.parametrize(
    "path", ["/admin/budgets", "/admin/budgets/each", "/admin", "/admin/budgets/each?subject=key_7"]
)
async def test_a_page_reads_what_it_shows(house: House, path: str) -> None:
    await crowded(house)
    await sign_in(house)
    rows = counted(house)
    answer = await house.browser.get(path)
    assert answer.status_code == 200
    assert 0 < rows.read <= ROWS_MAX
    assert f"{SUBJECTS}" in answer.text or path == "/admin"
    assert "key_7" in answer.text if "subject" in path else f"key_{SUBJECTS}" in answer.text


@pytest.mark.parametrize("path", ["/admin/v1/budgets", "/admin/v1/budgets/each"])
async def test_the_api_reads_what_it_answers_and_adds_up_the_rest(house: House, path: str) -> None:
    await crowded(house)
    rows = counted(house)
    found = (await house.admin.get(path)).json()
    assert 0 < rows.read <= ROWS_MAX
    (budget,) = found.get("data", [found])
    assert budget["accounts_total"] == SUBJECTS
    assert budget["spent_usd"] == f"{SUBJECTS * (SUBJECTS + 1) // 2 / 10**9:.9f}"
    assert budget["pending_usd"] == f"{SUBJECTS / 10**9:.9f}"
    assert [one["subject"] for one in budget["accounts"][:2]] == [f"key_{SUBJECTS}", f"key_{SUBJECTS - 1}"]
