"""What is held, sent and settled stands in the ledger, once, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import DBAPIError

from billing import books as billing_books
from billing import ledger
from billing.books import (
    COST_NANO_USD_MAX,
    TOKENS_MAX,
    Books,
    EntryKind,
    FlushTimedOut,
    HoldNotOpen,
    JournalFull,
    Usage,
)
from billing.database import open_engine
from billing.journal import RECORD_BYTES_MAX, Journal, read, segments
from billing.journal_records import Mark
from billing.migrating import migrate
from billing.price import UNPRICED
from billing.recovery import JournalUnreadable
from tests.billing.conftest import now_us
from tests.billing.ledger_rows import chain_is_whole, entries, page_of, query, usage_of
from tests.billing.makers import PRICE, USAGE, hold, row

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from tests.billing.conftest import Opened


def test_a_settled_attempt_stands_in_the_ledger_once(url: str, opened: Opened) -> None:
    with opened(url) as books:
        books.reserve(hold())
        books.dispatch(hold())
        books.settle(hold(), USAGE, 850_000, EntryKind.ACTUAL)
        books.flush()
        assert entries(url) == [(hold().request_id, 1, EntryKind.ACTUAL, 850_000, 1)]
    assert chain_is_whole(url)


def test_an_entry_debits_the_cost_and_credits_the_provider(url: str, opened: Opened) -> None:
    with opened(url) as books:
        books.reserve_and_dispatch(hold(end_user="nul\0s"))
        books.settle(hold(), USAGE, 850_000, EntryKind.ACTUAL)
        books.request(row(hold()))
    found = page_of(url, hold().request_id)
    (entry,) = found.entries
    assert json.loads(entry.debit)[:3] == ["cost", "key_1", "team_1"]
    assert json.loads(entry.credit) == ["payable", "openai"]
    assert (entry.kind, entry.amount_nano_usd, entry.usage) == ("actual", 850_000, USAGE)
    assert entry.price_version == PRICE.version
    assert found.row == row(hold())


def test_a_price_that_was_pinned_can_be_read_back(url: str, opened: Opened) -> None:
    with opened(url) as books:
        # Equal, not the same: what says that a call has no price is its version, also after a recovery.
        for number, price in enumerate((PRICE, PRICE, replace(UNPRICED))):
            books.reserve_and_dispatch(hold(number, price=price))
            books.settle(hold(number, price=price), USAGE, 0, EntryKind.ACTUAL)
    documents = [json.loads(document) for (document,) in query(url, "SELECT document FROM prices ORDER BY id")]
    assert [document["version"] for document in documents] == [PRICE.version, "unpriced"]
    assert documents[0]["cached_input_pico_usd"] == PRICE.cached_input_pico_usd
    assert [side for (side,) in query(url, "SELECT side FROM accounts ORDER BY side")] == [
        "cost",
        "payable",
        "suspense",
    ]


def test_an_unknown_outcome_charges_its_whole_hold(url: str, opened: Opened) -> None:
    with opened(url) as books:
        books.reserve_and_dispatch(hold())
        books.settle(hold(), Usage(), 0, EntryKind.UNKNOWN)
    assert [(entry.kind, entry.amount_nano_usd) for entry in entries(url)] == [(EntryKind.UNKNOWN, 1_500_000)]


def test_what_is_released_leaves_nothing(sqlite_url: str, opened: Opened) -> None:
    with opened(sqlite_url) as books:
        books.reserve(hold(1))
        books.release(hold(1))
        books.reserve_and_dispatch(hold(2))
        books.progress(hold(2), Usage(5))
        books.release(hold(2))
        assert books.pending_nano_usd() == 0
    assert entries(sqlite_url) == []


def test_pending_is_what_is_held_and_neither_settled_nor_released(sqlite_url: str, opened: Opened) -> None:
    with opened(sqlite_url) as books:
        books.reserve(hold(1))
        books.reserve_and_dispatch(hold(2))
        books.reserve_and_dispatch(hold(3))
        books.settle(hold(3), USAGE, 1, EntryKind.ACTUAL)
        assert books.pending() == (hold(1), hold(2))
        assert books.pending_nano_usd() == 3_000_000
        books.release(hold(1))
        books.settle(hold(2), USAGE, 1, EntryKind.ACTUAL)
        assert (books.pending(), books.pending_nano_usd()) == ((), 0)


def test_each_step_needs_the_one_before_it(sqlite_url: str, opened: Opened) -> None:
    with opened(sqlite_url) as books:
        for step in (books.dispatch, books.release):
            with pytest.raises(HoldNotOpen):
                step(hold())
        with pytest.raises(HoldNotOpen):
            books.progress(hold(), USAGE)
        books.reserve(hold())
        for step in (books.reserve, books.reserve_and_dispatch):
            with pytest.raises(HoldNotOpen, match="number the attempts"):
                step(hold())
        with pytest.raises(HoldNotOpen):
            books.settle(hold(), USAGE, 1, EntryKind.ACTUAL)
        books.dispatch(hold())
        with pytest.raises(HoldNotOpen):
            books.dispatch(hold())
        books.settle(hold(), USAGE, 1, EntryKind.ACTUAL)
        with pytest.raises(HoldNotOpen):
            books.settle(hold(), USAGE, 1, EntryKind.ACTUAL)
        with pytest.raises(HoldNotOpen):
            books.release(hold())
    assert len(entries(sqlite_url)) == 1


def test_a_request_id_that_does_not_fit_its_promise_is_refused(sqlite_url: str, opened: Opened) -> None:
    with opened(sqlite_url) as books, pytest.raises(ValueError, match="too long"):
        books.reserve(hold(request_id="r" * 49))


def test_a_request_tried_twice_counts_once(url: str, opened: Opened) -> None:
    with opened(url) as books:
        for attempt in (1, 2):
            books.reserve_and_dispatch(hold(attempt=attempt))
            books.settle(hold(attempt=attempt), USAGE, 5, EntryKind.ESTIMATED)
            books.flush()
        # The first was released: the second stands for the request. Both in one batch, too.
        for number, attempt in ((2, 2), (4, 1), (3, 1), (3, 2), (3, 3)):
            books.reserve_and_dispatch(hold(number, attempt))
            books.settle(hold(number, attempt), USAGE, 5, EntryKind.ACTUAL)
    assert [entry.requests for entry in entries(url)] == [1, 0, 1, 1, 1, 0, 0]
    assert usage_of(url)[()].requests == 4


def test_a_saving_is_a_memo_and_no_spend(url: str, opened: Opened) -> None:
    with opened(url) as books:
        books.saving(hold(attempt=0), USAGE, 850_000)
    line = usage_of(url)[()]
    assert (line.requests, line.cost_nano_usd, line.saved_nano_usd, line.input_tokens) == (1, 0, 850_000, 0)
    assert [side for (side,) in query(url, "SELECT side FROM accounts ORDER BY side")] == ["cost", "memo"]


def test_requests_are_told_line_by_line_and_kept(url: str, opened: Opened) -> None:
    told: list[bytes] = []
    with opened(url, sink=told.append) as books:
        for number in (1, 2):
            books.request(row(hold(number)))
    lines = b"".join(told).decode().splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == [hold(1).request_id, hold(2).request_id]
    assert json.loads(lines[0])["event"] == "request"
    assert page_of(url, hold(2).request_id).row == row(hold(2))


def test_a_log_that_is_full_keeps_no_row_from_the_ledger(
    sqlite_url: str, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_lines: bytes) -> None:
        raise OSError("No space left on device")

    with opened(sqlite_url, sink=full) as books:
        books.request(row(hold()))
        books.flush()
        assert len(query(sqlite_url, "SELECT 1 FROM requests")) == 1
    assert "log takes no lines" in caplog.text


@pytest.mark.parametrize("statement", ["UPDATE entries SET amount_nano_usd = 0", "DELETE FROM entries"])
def test_an_entry_is_never_changed(url: str, opened: Opened, statement: str) -> None:
    with opened(url) as books:
        books.reserve_and_dispatch(hold())
        books.settle(hold(), USAGE, 850_000, EntryKind.ACTUAL)
    engine = open_engine(url)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as tx:
        tx.exec_driver_sql(statement)
    engine.dispose()
    assert len(entries(url)) == 1


def test_a_ledger_cannot_be_emptied_at_a_stroke(empty_postgres_url: str) -> None:
    migrate(empty_postgres_url)
    engine = open_engine(empty_postgres_url)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as tx:
        tx.exec_driver_sql("TRUNCATE entries")
    engine.dispose()


def test_an_absurd_report_is_cut_and_told(sqlite_url: str, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    with opened(sqlite_url) as books:
        for number, usage, cost in ((1, Usage(2**70, -1), 1), (2, Usage(1), -5), (3, Usage(1), 2**80)):
            books.reserve_and_dispatch(hold(number))
            books.settle(hold(number), usage, cost, EntryKind.ACTUAL)
    assert [entry.amount_nano_usd for entry in entries(sqlite_url)] == [1, 0, COST_NANO_USD_MAX]
    assert usage_of(sqlite_url)[()].input_tokens == TOKENS_MAX + 2
    assert caplog.text.count("cannot be") == 3


class Breaking:
    """A database that refuses for a while: a trigger that raises, as a full or broken one would."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)

    def __enter__(self) -> Self:
        with self.engine.begin() as tx:
            tx.exec_driver_sql(
                "CREATE TRIGGER broken BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
        return self

    def __exit__(self, *_: object) -> None:
        with self.engine.begin() as tx:
            tx.exec_driver_sql("DROP TRIGGER broken")
        self.engine.dispose()


def test_rows_wait_for_a_database_that_refuses_them(
    sqlite_url: str, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[bytes] = []
    with opened(sqlite_url, sink=told.append) as books:
        with Breaking(sqlite_url):
            books.reserve_and_dispatch(hold())
            books.settle(hold(), USAGE, 850_000, EntryKind.ACTUAL)
            books.request(row(hold()))
            with pytest.raises(FlushTimedOut, match="nothing is lost"):
                books.flush(1)
            assert "takes no rows" in books.troubles()[0]
            assert len(told) == 1, "the log does not wait for the database"
        books.flush()
        assert books.troubles() == ()
    assert [entry.amount_nano_usd for entry in entries(sqlite_url)] == [850_000]
    assert usage_of(sqlite_url)[()].requests == 1
    assert len(told) == 1
    assert chain_is_whole(sqlite_url)
    assert "broken" in caplog.text


def test_closing_while_the_database_is_away_leaves_the_journal_to_the_next_start(
    sqlite_url: str, opened: Opened, tmp_path: Path
) -> None:
    with Breaking(sqlite_url), opened(sqlite_url) as books:
        books.reserve_and_dispatch(hold())
        books.settle(hold(), USAGE, 850_000, EntryKind.ACTUAL)
    assert entries(sqlite_url) == []
    assert segments(tmp_path / "journal")
    with opened(sqlite_url) as books:
        books.flush()
    assert [entry.amount_nano_usd for entry in entries(sqlite_url)] == [850_000]
    assert segments(tmp_path / "journal") == ()


def test_a_journal_is_recovered_once_however_often_it_is_read(url: str, opened: Opened, tmp_path: Path) -> None:
    with opened(url) as books:
        for number, kind in ((1, EntryKind.ACTUAL), (2, EntryKind.ESTIMATED)):
            books.reserve_and_dispatch(hold(number))
            books.settle(hold(number), USAGE, 850_000, kind)
        books.flush()
        kept = {path: path.read_bytes() for path in segments(tmp_path / "journal")}
    for path, image in kept.items():
        path.write_bytes(image)
    before = (entries(url), usage_of(url, "team"))
    with opened(url) as books:
        books.flush()
    assert (entries(url), usage_of(url, "team")) == before
    assert chain_is_whole(url)


def test_an_attempt_in_flight_at_a_close_is_settled_by_the_next_start(sqlite_url: str, opened: Opened) -> None:
    with opened(sqlite_url) as books:
        books.reserve(hold(1))
        books.reserve_and_dispatch(hold(2))
        books.reserve_and_dispatch(hold(3))
        books.progress(hold(3), Usage(100, output_tokens=10))
    with opened(sqlite_url) as books:
        books.flush()
        assert books.pending_nano_usd() == 0
    found = {entry.request_id: (entry.kind, entry.amount_nano_usd) for entry in entries(sqlite_url)}
    assert found == {
        hold(2).request_id: (EntryKind.UNKNOWN, 1_500_000),
        hold(3).request_id: (EntryKind.ESTIMATED, 100 * 250 + 10 * 2000),
    }
    page = page_of(sqlite_url, hold(3).request_id)
    assert page.row.error_code == "interrupted"


def small(url: str, directory: Path, segment_count: int = 3) -> Books:
    segment = 4 * RECORD_BYTES_MAX
    return Books(url, directory, clock=now_us, segment_bytes=segment, journal_bytes_max=segment_count * segment)


def test_a_journal_that_is_full_refuses_new_attempts_and_settles_the_others(sqlite_url: str, tmp_path: Path) -> None:
    books = small(sqlite_url, tmp_path / "journal")
    books.open()
    with Breaking(sqlite_url):
        for number in range(10_000):
            try:
                books.reserve_and_dispatch(hold(number))
            except JournalFull:
                break
        books.progress(hold(0), Usage(1))
        with pytest.raises(JournalFull, match="journal_bytes_max"):
            books.reserve_and_dispatch(hold(20_000))
        assert len(books.pending()) == number
        for done in range(number):
            books.settle(hold(done), USAGE, 1, EntryKind.ACTUAL)
    books.flush()
    books.reserve_and_dispatch(hold(20_000))
    books.settle(hold(20_000), USAGE, 1, EntryKind.ACTUAL)
    books.close()
    assert len(entries(sqlite_url)) == number + 1


def test_one_long_stream_keeps_no_old_segment_alive(sqlite_url: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    books = small(sqlite_url, journal, 6)
    books.open()
    books.reserve(hold(0))
    books.reserve_and_dispatch(hold(1))
    books.progress(hold(1), Usage(100))
    for number in range(2, 6000):
        books.reserve_and_dispatch(hold(number))
        books.settle(hold(number), USAGE, 1, EntryKind.ACTUAL)
        if number % 200 == 0:
            books.flush()
    assert len(segments(journal)) <= 6
    assert int(segments(journal)[0].stem) > 2
    assert books.pending() == (hold(0), hold(1))
    books._journal.close()  # as a kill would leave it
    books.close()
    again = small(sqlite_url, journal, 6)
    again.open()
    again.flush()
    again.close()
    kept = {entry.request_id: entry for entry in entries(sqlite_url)}
    assert hold(0).request_id not in kept
    assert kept[hold(1).request_id].kind == EntryKind.ESTIMATED
    assert len(kept) == 5999


def test_two_writers_have_two_chains_in_one_ledger(sqlite_url: str, tmp_path: Path) -> None:
    both = [Books(sqlite_url, tmp_path / f"journal{n}", clock=lambda: 1_800_000_000_000_000, writer=n) for n in (0, 1)]
    for number, books in enumerate(both):
        books.open()
        for attempt in (1, 2, 3):
            books.reserve_and_dispatch(hold(number, attempt))
            books.settle(hold(number, attempt), USAGE, 1, EntryKind.ACTUAL)
            books.flush()
    for books in both:
        books.close()
    assert len(entries(sqlite_url)) == 6
    assert query(sqlite_url, "SELECT writer, COUNT(*) FROM batches GROUP BY writer") == [(0, 3), (1, 3)]


@pytest.mark.parametrize("writer", [-1, 4096])
def test_a_writer_has_a_number_that_fits_into_an_id(sqlite_url: str, tmp_path: Path, writer: int) -> None:
    with pytest.raises(ValueError, match="0 to 4095"):
        Books(sqlite_url, tmp_path / "journal", clock=now_us, writer=writer)


def test_flushing_from_many_threads_while_the_loop_works_loses_nothing(sqlite_url: str, opened: Opened) -> None:
    with opened(sqlite_url) as books:

        def flush_often() -> None:
            for _ in range(5):
                books.flush()

        threads = [threading.Thread(target=flush_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(2000):
            books.reserve_and_dispatch(hold(number))
            books.settle(hold(number), USAGE, 1, EntryKind.ACTUAL)
        for thread in threads:
            thread.join()
    assert len(entries(sqlite_url)) == 2000
    assert chain_is_whole(sqlite_url)


def test_the_flusher_flushes_by_itself(sqlite_url: str, opened: Opened) -> None:
    with opened(sqlite_url) as books:
        books.reserve_and_dispatch(hold())
        books.settle(hold(), USAGE, 1, EntryKind.ACTUAL)
        deadline = time.monotonic() + 10
        while not entries(sqlite_url) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(entries(sqlite_url)) == 1


def test_logs_say_nothing_when_all_is_well(sqlite_url: str, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), opened(sqlite_url) as books:
        books.reserve_and_dispatch(hold())
        books.settle(hold(), USAGE, 1, EntryKind.ACTUAL)
        books.request(row(hold()))
    assert caplog.text == ""


def test_what_recovery_cannot_finish_waits_for_the_next_start(sqlite_url: str, opened: Opened, tmp_path: Path) -> None:
    with opened(sqlite_url) as books:
        books.reserve_and_dispatch(hold())
    left = segments(tmp_path / "journal")
    with Breaking(sqlite_url), opened(sqlite_url):
        pass
    assert set(left) <= set(segments(tmp_path / "journal"))
    with opened(sqlite_url) as books:
        books.flush()
    assert [entry.kind for entry in entries(sqlite_url)] == [EntryKind.UNKNOWN]
    assert segments(tmp_path / "journal") == ()


def test_books_that_cannot_be_recovered_do_not_open_and_hold_no_lock(sqlite_url: str, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal = Journal(directory)
    journal.open()
    journal.append(Mark.X, b"not of this release")
    journal.close()
    for _ in range(2):
        books = Books(sqlite_url, directory, clock=now_us)
        with pytest.raises(JournalUnreadable):
            books.open()
        books.close()
    assert list(read(segments(directory))) == [(Mark.X, b"not of this release")]


def test_a_disk_without_room_is_said_once_and_until_it_has_room(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    books = small(sqlite_url, tmp_path / "journal", 8)
    books.open()
    books.reserve_and_dispatch(hold(0))  # keeps its segment, so that new ones are needed

    def refuse(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "posix_fallocate", refuse)
        for number in range(1, 200):
            books.reserve_and_dispatch(hold(number, tags=("x" * 2000,)))
            books.settle(hold(number), USAGE, 1, EntryKind.ACTUAL)
            if books.troubles():
                break
            books.flush()
        assert books.troubles() == (f"the journal gets no room in {tmp_path}/journal: No space left on device",)
        books.flush()
    books.flush()
    assert books.troubles() == ()
    assert caplog.text.count("free the disk") == 1
    books.release(hold(0))
    books.close()
    assert len(entries(sqlite_url)) == number


@pytest.mark.source
def test_memory_of_accounts_and_prices_is_bounded(
    sqlite_url: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "ACCOUNTS_MAX", 3)
    monkeypatch.setattr(ledger, "PRICES_MAX", 3)
    monkeypatch.setattr(billing_books, "PRICES_MAX", 3)
    with opened(sqlite_url) as books:
        for number in range(20):
            held = hold(number, end_user=f"user {number % 7}", price=replace(PRICE, version=f"v{number % 7}"))
            books.reserve_and_dispatch(held)
            books.settle(held, USAGE, 1, EntryKind.ACTUAL)
            books.flush()
        known = books._flusher._ledger._known
        assert max(len(known.debits), len(known.prices), len(books._prices)) <= 5
    assert len(entries(sqlite_url)) == 20
    assert query(sqlite_url, "SELECT COUNT(*) FROM accounts WHERE side = 'cost'") == [(7,)]
    assert query(sqlite_url, "SELECT COUNT(*) FROM prices") == [(7,)]
