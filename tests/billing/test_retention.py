"""Old log rows go, entries stay, and whoever writes meanwhile is not kept waiting."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from billing.books import EntryKind
from billing.database import open_engine, writing
from billing.retention import DAY_US, drop_old_requests
from tests.billing.ledger_rows import query
from tests.billing.makers import AT_US, USAGE, hold, row

if TYPE_CHECKING:
    from tests.billing.conftest import Opened

OLD = 8_000


def test_old_requests_go_and_entries_stay(url: str, opened: Opened) -> None:
    with opened(url) as books:
        for number in range(1, 8):
            held = hold(number, opened_at_us=AT_US + number * DAY_US)
            books.reserve_and_dispatch(held)
            books.settle(held, USAGE, 1, EntryKind.ACTUAL)
            books.request(row(held))
    engine = open_engine(url)
    assert drop_old_requests(engine, 3, AT_US + 8 * DAY_US, rows_in_one=2) == 4
    assert drop_old_requests(engine, 3, AT_US + 8 * DAY_US, rows_in_one=2) == 0
    engine.dispose()
    assert query(url, "SELECT request_id FROM requests ORDER BY 1") == [(hold(n).request_id,) for n in (5, 6, 7)]
    assert len(query(url, "SELECT 1 FROM entries")) == 7


def test_a_writer_goes_on_while_rows_are_dropped(url: str) -> None:
    engine = open_engine(url)
    document = b"x" * 600
    with writing(engine).begin() as tx:
        sign = "?" if engine.dialect.name == "sqlite" else "%s"
        sql = f"INSERT INTO requests VALUES ({sign}, {sign}, {sign})"
        tx.exec_driver_sql(sql, [(f"req_{number:028d}", AT_US, document) for number in range(OLD)])
    done = threading.Event()

    def drop() -> None:
        dropped.append(drop_old_requests(engine, 1, AT_US + 2 * DAY_US, rows_in_one=100))
        done.set()

    dropped: list[int] = []
    thread = threading.Thread(target=drop)
    thread.start()
    written = 0
    while not done.is_set():
        with writing(engine).begin() as tx:
            tx.exec_driver_sql(sql, (f"req_{OLD + written:028d}", AT_US + 3 * DAY_US, document))
        written += 1
    thread.join(60)
    engine.dispose()
    assert dropped == [OLD]
    assert written > 10, "it had its turn between two stretches"
    assert len(query(url, "SELECT 1 FROM requests")) == written
