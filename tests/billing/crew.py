"""Several workers' books on one database, in one thread, that tell each other of recalls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from billing.books import Books, EntryKind, Usage
from billing.holds import Hold, charge_of
from billing.journal import SEGMENT_BYTES
from tests.billing.conftest import now_us
from tests.billing.ledger_rows import query

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from billing.scopes import Rule


USAGE: Final = Usage(output_tokens=1)


class Crew:
    def __init__(
        self,
        url: str,
        directory: Path,
        workers: int,
        clock: Callable[[], int] = now_us,
        patience: Callable[[], None] = lambda: None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.url = url
        self._directory, self._workers, self._clock = directory, workers, clock
        self._boots = 0
        self._patience = patience  # called while a wish waits for others
        self._segment_bytes = segment_bytes
        self.dead: set[int] = set()
        self.books: list[Books] = []
        for number in range(workers):
            self.books.append(self._opened(number))

    def _opened(self, number: int) -> Books:
        self._boots += 1
        books = Books(
            self.url,
            self._directory / f"journal{number}",
            clock=self._clock,
            writer=number,
            boot_id=f"boot{self._boots}",
            workers=self._workers,
            segment_bytes=self._segment_bytes,
        )
        books.open()
        books.wallets.recall = lambda ids: self._recall(ids, books)
        return books

    def kill(self, number: int) -> None:
        """Until it is opened again nobody hears of it."""
        kill(self.books[number])
        self.dead.add(number)

    def reopen(self, number: int) -> None:
        """After a kill: the same journal, another boot, which has recovered when this returns."""
        self.books[number] = self._opened(number)
        self.dead.discard(number)
        self.books[number].flush()

    def close(self) -> None:
        for books in self.books:
            books.close()

    def living(self) -> list[Books]:
        return [books for number, books in enumerate(self.books) if number not in self.dead]

    def rules(self) -> list[Rule]:
        return self.books[0].rules()

    def _recall(self, ids: Any, mine: Books) -> None:
        for books in self.living():
            if books is not mine:
                books.wallets.recalled(ids, lambda: None)

    def admit(self, worker: int, held: Hold, least: int | None = None) -> Hold | Exception:
        """As a request does it: from the slices at hand, else by asking, again until it is answered."""
        books = self.books[worker]
        wallets = books.wallets.of(charge_of(held), held.opened_at_us)
        most = held.amount_nano_usd
        least = most if least is None else least
        if books.wallets.take(wallets, most, least):
            books.reserve_and_dispatch(held, wallets)
            return held
        answers: list[int | Exception] = []
        books.wallets.ask(wallets, most, least, answers.append)
        while not answers:
            self._patience()
            books.wallets.pump()
        answer = answers[0]
        if isinstance(answer, Exception):
            return answer
        held = held._replace(amount_nano_usd=answer)
        books.reserve_and_dispatch(held, wallets)
        return held

    def settle(self, worker: int, held: Hold, cost: int, usage: Usage = USAGE) -> None:
        self.books[worker].settle(held, usage, cost, EntryKind.ACTUAL)

    def flush(self) -> None:
        for books in self.books:
            books.flush()

    def account(self) -> tuple[int, int]:
        ((posted, pending),) = query(self.url, "SELECT posted_nano_usd, pending_nano_usd FROM budget_accounts")
        return posted, pending

    def give_back(self) -> None:
        for books in self.books:
            books.wallets.drain(lambda: None)


def kill(books: Books) -> None:
    """What `kill -9` leaves: the journal's files, and no farewell to anybody."""
    flusher = books._flusher
    flusher.turn = lambda: False  # type: ignore[method-assign]
    with flusher._turn:
        flusher._closing = True
        flusher._turn.notify_all()
    flusher._thread.join()
    books._journal.close()
    books._engine.dispose()
