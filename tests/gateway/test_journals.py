"""Journals of workers that are no more: found, posted once, and left alone while somebody has them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from billing.books import Books, JournalInUse
from gateway.journals import journal_of, left_behind, recover_first, recover_left
from tests.billing.ledger_rows import entries, query
from tests.billing.makers import AT_US
from tests.e2e.gateway import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.books import EmptyBooks

# Settles one request and is gone before it is posted.
KILLED: Final = """
import os, sys
from pathlib import Path
from billing.books import Books, EntryKind
from tests.billing.makers import AT_US, USAGE, hold

url, journal, writer, number = sys.argv[1:]
books = Books(url, Path(journal), clock=lambda: AT_US, writer=int(writer))
books.open()
books.reserve_and_dispatch(hold(int(number)))
books.settle(hold(int(number)), USAGE, 500, EntryKind.ACTUAL)
os._exit(9)
"""


@pytest.fixture
def url(tmp_path: Path, empty_books: EmptyBooks) -> str:
    return empty_books(tmp_path / "books.db")


class Shelf:
    """Opens books, and remembers on which journals."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.opened: list[tuple[str, int]] = []

    def __call__(self, journal: Path, writer: int) -> Books:
        self.opened.append((journal.name, writer))
        return Books(self._url, journal, clock=lambda: AT_US, writer=writer)


def killed(url: str, journal: Path, writer: int, number: int) -> None:
    words = [sys.executable, "-c", KILLED, url, str(journal), str(writer), str(number)]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == 9


@pytest.mark.process
def test_journals_whose_number_no_worker_has_are_posted_by_their_own_writer_and_given_up(
    url: str, tmp_path: Path
) -> None:
    for index in range(4):
        killed(url, journal_of(tmp_path, index), index, index + 1)
    (tmp_path / "journal" / "notes").mkdir()
    assert [index for index, _ in left_behind(tmp_path, 2)] == [2, 3]
    shelf = Shelf(url)
    recover_left(tmp_path, 2, shelf)
    assert shelf.opened == [("2", 2), ("3", 3)]
    assert len(entries(url)) == 2
    assert left_behind(tmp_path, 2) == ()
    assert [index for index, _ in left_behind(tmp_path, 0)] == [0, 1]
    recover_left(tmp_path, 0, shelf)
    recover_left(tmp_path, 0, shelf)
    assert len(entries(url)) == 4
    assert {writer for (writer,) in query(url, "SELECT writer FROM batches")} == {0, 1, 2, 3}


@pytest.mark.process
def test_one_that_is_in_use_is_left_alone_and_the_others_are_posted(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in (1, 2):
        killed(url, journal_of(tmp_path, index), index, index)
    # Another gateway with more workers may be starting: the lock says whose it is.
    owner = Books(url, journal_of(tmp_path, 1), clock=lambda: AT_US, writer=1)
    owner.open()
    recover_left(tmp_path, 1, Shelf(url))
    assert "is in use" in caplog.text
    owner.close()
    assert len(entries(url)) == 2


@pytest.mark.process
def test_what_a_release_of_one_worker_left_is_posted_before_the_first_worker_opens(url: str, tmp_path: Path) -> None:
    shelf = Shelf(url)
    recover_first(tmp_path, shelf)
    assert shelf.opened == []
    killed(url, tmp_path / "journal", 0, 1)
    recover_first(tmp_path, shelf)
    assert shelf.opened == [("journal", 0)]
    assert len(entries(url)) == 1
    recover_first(tmp_path, shelf)
    assert len(shelf.opened) == 1


def test_that_release_still_running_keeps_this_one_from_starting(url: str, tmp_path: Path) -> None:
    owner = Books(url, tmp_path / "journal", clock=lambda: AT_US)
    owner.open()
    with pytest.raises(JournalInUse):
        recover_first(tmp_path, Shelf(url))
    owner.close()


@pytest.mark.process
def test_one_that_cannot_be_read_keeps_no_other_from_being_posted(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in (1, 2):
        killed(url, journal_of(tmp_path, index), index, index)

    def books_for(journal: Path, writer: int) -> Books:
        if writer == 1:
            raise OSError("an unreadable disk")
        return Shelf(url)(journal, writer)

    recover_left(tmp_path, 1, books_for)
    assert "was not posted" in caplog.text
    assert len(entries(url)) == 1
    assert [index for index, _ in left_behind(tmp_path, 1)] == [1]
