"""A journal that is harmed frees no money that may be spent; one that merely ends in a kill is read as ever."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.audit import Actor
from billing.books import Books, EntryKind
from billing.corrections import Corrections
from billing.database import open_engine
from billing.holds import charge_of
from billing.journal import RECORD_BYTES_MAX, Journal, JournalNotDurable, read, segments
from billing.journal_damage import damage, set_aside
from billing.journal_records import END, FRAME, MAGIC, Mark
from billing.journal_sync import JournalSync
from billing.recovery import outstanding
from tests.billing.budget_rows import give_budget
from tests.billing.conftest import now_us
from tests.billing.ledger_rows import chain_is_whole, entries, query
from tests.billing.makers import USAGE, hold

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT = 4 * RECORD_BYTES_MAX


def written(directory: Path, payloads: list[bytes]) -> tuple[Path, ...]:
    """Segments as a killed process leaves them."""
    journal = Journal(directory, segment_bytes=SEGMENT, journal_bytes_max=8 * SEGMENT)
    journal.open()
    for payload in payloads:
        journal.append(Mark.R, payload)
        journal.tend(0)
    journal.close()
    return segments(directory)


def change(path: Path, at: int, by: int = 1) -> None:
    image = bytearray(path.read_bytes())
    image[at] ^= by
    path.write_bytes(image)


def test_whole_and_torn_journals_are_not_harmed(tmp_path: Path) -> None:
    left = written(tmp_path, [b"a" * 9000] * 10)
    assert damage(left) == ()
    last = next(path for path in reversed(left) if path.read_bytes()[len(MAGIC) :].startswith(END) is False)
    image = last.read_bytes()
    end = len(image.rstrip(b"\0"))
    last.write_bytes(image[: end - 10] + bytes(len(image) - end + 10))
    assert damage(left) == ()
    assert damage(()) == ()


@pytest.mark.parametrize("at", [len(MAGIC) + 2, len(MAGIC) + FRAME.size + 100, 1])
def test_a_flipped_byte_before_the_last_record_is_harm(tmp_path: Path, at: int) -> None:
    left = written(tmp_path, [b"a" * 900] * 10)
    change(left[0], at)
    (harm,) = damage(left)
    assert harm.path == left[0]
    # What is whole is still told of.
    assert len(list(read(left))) == (9 if at > len(MAGIC) else 0) or at == 1


def test_a_segment_that_breaks_off_before_another_or_is_missing_is_harm(tmp_path: Path) -> None:
    left = written(tmp_path, [b"a" * 9000] * 14)
    cut = left[0].read_bytes()
    left[0].write_bytes(cut[: SEGMENT // 2] + b"\1" * (SEGMENT // 2))
    assert "segment follows" in damage(left)[0].sentence
    left[0].write_bytes(bytes(SEGMENT))
    assert "it is empty" in damage(left)[0].sentence
    left[0].write_bytes(cut)
    assert damage(left) == ()
    left[1].unlink()
    assert "missing" in damage(segments(tmp_path))[0].sentence


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=2, max_size=6), st.data())
def test_any_flip_in_any_record_but_the_last_is_harm(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    left = written(directory, payloads)
    before = sum(FRAME.size + len(payload) for payload in payloads[:-1])
    at = data.draw(st.integers(0, before - 1))
    change(left[0], len(MAGIC) + at, 1 << data.draw(st.integers(0, 7)))
    assert damage(left)
    aside = set_aside(left)
    assert damage(segments(directory)) == ()
    assert len(segments(aside)) == len(left)
    shutil.rmtree(directory)


def opened(url: str, directory: Path, boot_id: str, **other: Any) -> Books:
    books = Books(url, directory, clock=now_us, boot_id=boot_id, segment_bytes=SEGMENT, **other)
    books.open()
    return books


def leased(url: str) -> list[tuple[Any, ...]]:
    return query(url, "SELECT amount_nano_usd, boot_id FROM leases ORDER BY id")


def test_leases_of_a_harmed_journal_stay_until_they_are_closed(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    give_budget(url)
    journal = tmp_path / "journal"
    books = opened(url, journal, "first", state=tmp_path)
    at_us = now_us()
    held = [hold(number, opened_at_us=at_us, amount_nano_usd=1_000_000) for number in (1, 2, 3)]
    for each in held:
        wallets = books.wallets.of(charge_of(each), at_us)
        answers: list[Any] = []
        if not books.wallets.take(wallets, 1_000_000, 1_000_000):
            books.wallets.ask(wallets, 1_000_000, 1_000_000, answers.append)
            assert answers == [1_000_000]
        books.reserve_and_dispatch(each, wallets)
    shutil.copytree(journal, tmp_path / "killed")
    for each in held:
        books.release(each)
    books._flusher.close()
    books._journal.close()
    shutil.rmtree(journal)
    shutil.copytree(tmp_path / "killed", journal)
    ((amount, _),) = leased(url)
    change(segments(journal)[0], len(MAGIC) + FRAME.size + 5)

    again = opened(url, journal, "second", state=tmp_path)
    again.flush()
    again.close()
    assert "harmed" in caplog.text
    # The first hold cannot be read; the others are posted, and so much less of the lease is in doubt.
    assert [(entry.kind, entry.amount_nano_usd) for entry in entries(url)] == [(EntryKind.UNKNOWN, 1_000_000)] * 2
    assert leased(url) == [(amount - 2_000_000, "first")]
    ((posted, pending),) = query(url, "SELECT posted_nano_usd, pending_nano_usd FROM budget_accounts")
    assert (posted, pending) == (2_000_000, amount - 2_000_000)
    assert (journal / "unreadable-000000000001").is_dir()

    third = opened(url, journal, "third", state=tmp_path)
    third.close()
    assert leased(url) == [(amount - 2_000_000, "first")], "a later start frees it no more than the first"
    engine = open_engine(url)
    ((lease_id,),) = query(url, "SELECT id FROM leases")
    Corrections(engine, tmp_path).close_lease(int(lease_id), "its journal is harmed", Actor("command"), now_us())
    engine.dispose()
    assert query(url, "SELECT posted_nano_usd, pending_nano_usd FROM budget_accounts") == [(amount, 0)]
    assert chain_is_whole(url, tmp_path)
    books._engine.dispose()


class Syncs:
    """Counts what goes to the disk, and can say that it went wrong."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = os.fdatasync

        def fdatasync(fd: int) -> None:
            self.count += 1
            real(fd)

        monkeypatch.setattr(os, "fdatasync", fdatasync)


@pytest.mark.parametrize(("sync", "expected"), [("os", 0), ("group", 0), ("always", 2)])
def test_always_waits_for_the_disk_at_each_dispatch_and_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: str, expected: int
) -> None:
    journal = Journal(tmp_path, segment_bytes=SEGMENT, journal_bytes_max=4 * SEGMENT, sync=sync)
    journal.open()
    syncs = Syncs(monkeypatch)
    journal.append(Mark.R, b"hold")
    journal.append_promising(Mark.D, b"name")
    journal.append_promised(Mark.U | Mark.S, b"usage")
    assert syncs.count == expected
    journal.close()


@pytest.mark.parametrize(("sync", "expected"), [("os", 0), ("group", 2), ("always", 2)])
def test_a_segment_is_on_the_disk_before_the_next_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: str, expected: int
) -> None:
    journal = Journal(tmp_path, segment_bytes=SEGMENT, journal_bytes_max=4 * SEGMENT, sync=sync)
    journal.open()
    syncs = Syncs(monkeypatch)
    for _ in range(15):
        journal.append(Mark.R, b"a" * 9000)
    assert len(journal.full_numbers()) == 2
    assert syncs.count == expected
    journal.close()


async def test_a_group_waits_for_the_disk_once() -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    done: list[int] = []

    def sync() -> None:
        loop.call_soon_threadsafe(started.set)
        done.append(1)

    group = JournalSync(sync)
    await asyncio.gather(*(group.durable() for _ in range(50)))
    assert 1 <= len(done) <= 3
    assert started.is_set()
    group.close()


@pytest.mark.parametrize(
    ("error", "told"),
    [(JournalNotDurable("the disk of the journal took nothing"), "took nothing"), (ValueError("x"), "see the log")],
)
async def test_a_group_whose_disk_takes_nothing_is_refused(error: Exception, told: str) -> None:
    def sync() -> None:
        raise error

    group = JournalSync(sync)
    for _ in range(2):
        with pytest.raises(JournalNotDurable, match=told):
            await group.durable()
    group.close()
    JournalSync(sync).close()


class Disk:
    """A disk that takes nothing while it is `broken`, and says which pages of a file it was shown after a failure."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broken = False
        self.synced: list[int] = []
        real = os.fdatasync

        def fdatasync(fd: int) -> None:
            if self.broken:
                raise OSError(5, "Input/output error")
            self.synced.append(fd)
            real(fd)

        monkeypatch.setattr(os, "fdatasync", fdatasync)


def test_what_a_disk_did_not_take_is_shown_to_it_again_before_anything_later_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A kernel forgets pages whose write has failed: a later sync alone would say yes to what is not on the disk."""
    disk = Disk(monkeypatch)
    journal = Journal(tmp_path, segment_bytes=SEGMENT, journal_bytes_max=8 * SEGMENT, sync="group")
    journal.open()
    journal.append(Mark.R, b"hold")
    disk.broken = True
    for _ in range(2):
        with pytest.raises(JournalNotDurable, match="Input/output"):
            journal.sync()
    for _ in range(8):
        journal.append(Mark.R, b"a" * 9000)  # a segment is left, and its sync fails: no record is refused for it
    assert len(journal.full_numbers()) == 1
    assert "Input/output" in journal.trouble
    assert caplog.text.count("repair or replace it") == 1, "told once, not at every try"
    disk.broken = False
    journal.sync()
    assert len(set(disk.synced)) == 2, "the segment that was left, and the current one"
    assert journal.trouble == ""
    disk.synced.clear()
    journal.sync()
    assert len(disk.synced) == 1
    journal.close()
    assert len(list(read(segments(tmp_path)))) == 9


def test_a_journal_tries_its_disk_by_itself_and_forgets_what_is_posted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    journal = Journal(tmp_path, segment_bytes=SEGMENT, journal_bytes_max=8 * SEGMENT, sync="group")
    journal.open()
    disk.broken = True
    for _ in range(15):
        journal.append(Mark.R, b"a" * 9000)
    left, later = journal.full_numbers()
    journal.tend(later)
    assert journal.trouble
    disk.broken = False
    journal.tend(left)
    assert journal.trouble == ""
    journal.close()


@pytest.mark.parametrize("apart", [True, False])
def test_always_refuses_what_the_disk_does_not_take_and_holds_nothing(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    disk = Disk(monkeypatch)
    books = Books(sqlite_url, tmp_path / "journal", clock=now_us, journal_sync="always")
    books.open()
    books.reserve_and_dispatch(hold(1))
    disk.broken = True
    if apart:
        books.reserve(hold(2))
        with pytest.raises(JournalNotDurable, match="Input/output"):
            books.dispatch(hold(2))
        books.release(hold(2))
    else:
        with pytest.raises(JournalNotDurable, match="Input/output"):
            books.reserve_and_dispatch(hold(2))
    assert any("Input/output" in trouble for trouble in books.troubles())
    books.settle(hold(1), USAGE, 7, EntryKind.ACTUAL)  # it was served: what it cost is posted whatever the disk does
    assert books.pending_nano_usd() == 0
    assert outstanding(read(segments(tmp_path / "journal")))[0].hold == hold(1)
    books.flush()
    assert books.pending() == ()
    disk.broken = False
    books.close()
    assert [(entry.request_id, entry.amount_nano_usd) for entry in entries(sqlite_url)] == [(hold(1).request_id, 7)]


def test_what_was_refused_for_its_disk_is_not_charged_by_recovery(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    books = Books(sqlite_url, tmp_path / "journal", clock=now_us, journal_sync="always")
    books.open()
    disk.broken = True
    with pytest.raises(JournalNotDurable):
        books.reserve_and_dispatch(hold(1))
    shutil.copytree(tmp_path / "journal", tmp_path / "as a kill leaves it")
    books.close()
    assert outstanding(read(segments(tmp_path / "as a kill leaves it"))) == ()
