"""What was appended is there after a crash; room for what was promised never runs out; nothing else is read."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.journal import (
    RECORD_BYTES_MAX,
    SPARES,
    USAGE_RECORD_BYTES_MAX,
    Journal,
    JournalFull,
    JournalInUse,
    JournalRecordTooLarge,
    read,
    segment_number,
    segments,
)
from billing.journal_records import FRAME, MAGIC, Mark, Record, records

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT = 4 * RECORD_BYTES_MAX
QUOTA = (1 + SPARES) * SEGMENT
BIG = b"x" * 10_000


def opened(directory: Path, quota: int = QUOTA) -> Journal:
    journal = Journal(directory, segment_bytes=SEGMENT, journal_bytes_max=quota)
    journal.open()
    return journal


def written(directory: Path) -> list[Record]:
    return list(read(segments(directory)))


def fill(journal: Journal) -> int:
    """Promises until it refuses; answers how often."""
    for count in range(10_000):
        try:
            journal.append_promising(Mark.R | Mark.D, BIG)
        except JournalFull:
            return count
    pytest.fail("the journal never refused")


def test_what_was_appended_is_read_back_without_a_close(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(Mark.R, b"hold")
    journal.append_promising(Mark.D, b"name")
    journal.append_promised(Mark.U | Mark.S, b"usage")
    # The file as another process sees it: the page cache, not this process's memory.
    assert written(tmp_path) == [(Mark.R, b"hold"), (Mark.D, b"name"), (Mark.U | Mark.S, b"usage")]
    journal.close()


def test_records_go_on_in_the_next_segment(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    payloads = [bytes([65 + n]) * 9000 for n in range(15)]
    numbers = [journal.append(Mark.R, payload) for payload in payloads]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 1
    assert [payload for _, payload in written(tmp_path)] == payloads
    assert journal.full_numbers() == (1, 2)
    journal.close()


def test_one_process_has_a_journal(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(JournalInUse, match="stop it"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_a_full_journal_refuses_what_is_new_and_takes_what_was_promised(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    promised = fill(journal)
    assert promised > 10
    longest = b"u" * (USAGE_RECORD_BYTES_MAX - FRAME.size)
    for _ in range(promised):
        journal.append_promised(Mark.U | Mark.S, longest)
    assert [mark for mark, _ in written(tmp_path)].count(Mark.U | Mark.S) == promised
    journal.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, RECORD_BYTES_MAX)), max_size=60))
def test_whatever_was_promised_can_be_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = opened(directory)
    open_promises, count = 0, 0
    try:
        for step, size in steps:
            try:
                if step == 0:
                    journal.append(Mark.R, b"r" * size)
                elif step == 1:
                    journal.append_promising(Mark.D, b"d" * size)
                    open_promises += 1
                elif open_promises:
                    journal.append_promised(Mark.U, b"u" * (size % 300 + 1))
                    open_promises -= 1
                else:
                    continue
                count += 1
            except (JournalFull, JournalRecordTooLarge):
                continue
        for _ in range(open_promises):
            journal.append_promised(Mark.U, b"u" * (USAGE_RECORD_BYTES_MAX - FRAME.size))
        assert len(written(directory)) == count + open_promises
    finally:
        journal.discard()


def test_a_usage_record_that_outgrew_its_promise_is_a_mistake(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(AssertionError, match="promise"):
        journal.append_promised(Mark.U, b"u" * USAGE_RECORD_BYTES_MAX)
    journal.close()


@pytest.mark.parametrize("promising", [True, False])
def test_a_record_too_large_for_any_segment_is_refused(tmp_path: Path, promising: bool) -> None:
    journal = opened(tmp_path)
    append = journal.append_promising if promising else journal.append
    with pytest.raises(JournalRecordTooLarge, match="tags"):
        append(Mark.R, b"x" * RECORD_BYTES_MAX)
    append(Mark.R, b"x" * (RECORD_BYTES_MAX - FRAME.size))
    assert len(written(tmp_path)) == 1
    journal.close()


def test_segments_that_are_done_are_used_again_and_never_read_again(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal)
    inodes = {path.stat().st_ino for path in segments(tmp_path)}
    full = journal.full_numbers()
    journal.tend(full[-1] + 1)
    assert journal.full_numbers() == ()
    names = [segment_number(path) for path in segments(tmp_path)]
    assert names == [3, 4, 5], "new numbers for old pages"
    assert {path.stat().st_ino for path in segments(tmp_path)} == inodes
    assert {segment_number(path): len(list(read([path]))) for path in segments(tmp_path)}[4] == 0
    assert fill(journal) > 1
    journal.close()


def test_leavings_behind_a_reused_segments_records_are_not_read(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal)
    journal.tend(journal.full_numbers()[-1] + 1)
    while journal.number < 4:
        journal.append(Mark.R, BIG)
    journal.append(Mark.R, b"short")
    reused = tmp_path / "000000000004.tpj"
    assert BIG in reused.read_bytes()[20_200:], "there are leavings"
    assert [len(payload) for _, payload in read([reused])] == [10_000, 5]
    journal.close()


def test_a_done_segment_beyond_the_spares_goes_away(tmp_path: Path) -> None:
    journal = opened(tmp_path, 10 * SEGMENT)
    while len(journal.full_numbers()) < 4:
        journal.append(Mark.R, BIG)
        journal.tend(0)
    journal.tend(journal.full_numbers()[-1] + 1)
    assert len(segments(tmp_path)) == 1 + SPARES
    journal.close()


def test_spares_are_made_ahead_of_need_up_to_the_quota(tmp_path: Path) -> None:
    journal = opened(tmp_path, 5 * SEGMENT)
    assert len(segments(tmp_path)) == 3
    for _ in range(7):
        journal.append(Mark.R, BIG)
    journal.tend(0)
    assert len(segments(tmp_path)) == 4
    for _ in range(100):
        journal.tend(0)
        try:
            journal.append(Mark.R, BIG)
        except JournalFull:
            break
    assert len(segments(tmp_path)) == 5
    journal.close()


def test_a_disk_without_room_leaves_no_half_made_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path, 5 * SEGMENT)
    for _ in range(7):
        journal.append(Mark.R, BIG)
    before = segments(tmp_path)

    def refuse(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space"):
        journal.tend(0)
    assert segments(tmp_path) == before
    journal.close()


def test_a_journal_that_finds_no_room_to_begin_lets_go_of_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(OSError, match="No space"):
            opened(tmp_path)
    opened(tmp_path).close()


def test_numbers_go_on_after_what_an_earlier_boot_left(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append(Mark.R, b"left")
    first.close()
    second = Journal(tmp_path, segment_bytes=SEGMENT, journal_bytes_max=QUOTA)
    left = second.open()
    assert list(read(left)) == [(Mark.R, b"left")]
    assert second.append(Mark.R, b"new") == 4
    second.discard()
    assert segments(tmp_path) == left


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sync": "never"}, "is not known"),
        ({"segment_bytes": SEGMENT - 1}, "too small"),
        ({"segment_bytes": SEGMENT, "journal_bytes_max": QUOTA - 1}, "too small"),
    ],
)
def test_what_cannot_be_kept_is_refused_at_once(tmp_path: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Journal(tmp_path, **given)  # type: ignore[arg-type]


def test_a_journal_closes_twice_and_unopened(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.close()
    journal.close()


@given(st.binary(max_size=300), st.integers(1, 10))
def test_any_bytes_are_read_without_harm(noise: bytes, number: int) -> None:
    assert list(records(noise, number)) == []
    assert list(records(MAGIC + noise, number)) == []


def test_a_segment_under_another_number_is_not_read(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(Mark.R, b"hold")
    image = segments(tmp_path)[0].read_bytes()
    assert len(list(records(image, 1))) == 1
    assert list(records(image, 2)) == []
    journal.close()


def test_a_torn_record_ends_what_is_read_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = opened(tmp_path)
    journal.append(Mark.R, b"whole")
    journal.append(Mark.R, b"torn")
    path = segments(tmp_path)[0]
    assert len(list(read([path]))) == 2
    assert caplog.text == ""
    at = path.read_bytes().index(b"torn")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"T")
    assert list(read([path])) == [(Mark.R, b"whole")]
    assert f"at byte {at - FRAME.size} is not whole" in caplog.text
    journal.close()
