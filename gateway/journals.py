"""Which journal is whose: each worker has one of its own, and those that nobody has any more are read and posted.

A journal is read by its owner, or by who holds its lock: what another worker works on is left alone.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from billing.books import Books, JournalInUse
from billing.journal import segments

JOURNAL: Final = "journal"

log = logging.getLogger("turnpike")

BooksFor = Callable[[Path, int], Books]
"""Opens the books on a journal, as the writer of that number."""


def journal_of(state: Path, index: int) -> Path:
    return state / JOURNAL / str(index)


def recover_first(state: Path, books_for: BooksFor) -> None:
    """What a release that knew one worker left, in the directory itself. By worker 0, before its own books open: both
    write as the same writer. Raises `JournalInUse` where that release still runs.
    """
    if (state / JOURNAL).is_dir() and segments(state / JOURNAL):
        _recover(books_for(state / JOURNAL, 0))


def recover_left(state: Path, count: int, books_for: BooksFor) -> None:
    """What workers left of whom there are no longer so many; by worker 0, on a thread."""
    for index, directory in left_behind(state, count):
        try:
            _recover(books_for(directory, index))
        except JournalInUse:
            log.warning("the journal in %s is in use: its owner will post what is in there", directory)
        except Exception:
            # Kept as it is, for the next start; those beside it are no worse for it.
            log.exception("the journal in %s was not posted", directory)


def left_behind(state: Path, count: int) -> tuple[tuple[int, Path], ...]:
    """Journals with something in them whose number no worker has, oldest numbers first."""
    found = [path for path in (state / JOURNAL).glob("*") if path.name.isdecimal() and path.is_dir()]
    numbered = sorted((int(path.name), path) for path in found)
    return tuple((index, path) for index, path in numbered if index >= count and segments(path))


def _recover(books: Books) -> None:
    books.open()
    # Posts what was found; where the database is away, the journal stays for the next start.
    books.close()
