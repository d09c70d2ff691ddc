"""The paid path, walked by a process that dies at its n-th step: every statement, every commit, every write of the
journal and of a chain's head, before it and after it.

`python -m tests.billing.crash_path URL DIRECTORY FIRST EVERY` forks one such process for n = FIRST, FIRST + EVERY, …
on the same books, recovers after each, and compares what the ledger has with what the dead one had said.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect

from billing.books import Books, EntryKind, Usage
from billing.database import open_engine
from billing.heads import Heads
from billing.holds import Hold, charge_of
from billing.journal import RECORD_BYTES_MAX, Journal
from billing.price import cost_nano_usd
from billing.verify import verify
from tests.billing.budget_rows import give_budget
from tests.billing.crew import kill
from tests.billing.ledger_rows import query
from tests.billing.makers import PRICE, hold, row

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_US: Final = 3_600_000_000
START_US: Final = 1_764_000_000_000_000 - 1_764_000_000_000_000 % HOUR_US
HELD: Final = 1_000_000
DIED: Final = 9
DONE: Final = 0
SEGMENT_BYTES: Final = 4 * RECORD_BYTES_MAX
SO_FAR: Final = Usage(output_tokens=100)
ESTIMATE: Final = cost_nano_usd(SO_FAR, PRICE)


class Fuse:
    """Counts steps, on whatever thread, and ends the process at the one that it is set to."""

    def __init__(self, dies_at: int, say: Callable[..., None]) -> None:
        self.steps = 0
        self._dies_at, self._say = dies_at, say
        self._one = threading.Lock()

    def step(self, label: str) -> None:
        with self._one:
            self.steps += 1
            if self.steps == self._dies_at:
                self._say("died", label)
                os._exit(DIED)

    def around(self, owner: Any, name: str) -> None:
        """From now on two steps lead through that method: before it and after it."""
        real, label = getattr(owner, name), f"{owner.__name__}.{name}"

        def stepped(*given: Any, **named: Any) -> Any:
            self.step(f"before {label}")
            answer = real(*given, **named)
            self.step(f"after {label}")
            return answer

        setattr(owner, name, stepped)

    def arm(self) -> None:
        def before(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.step(f"before {brief(statement)}")

        def after(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.step(f"after {brief(statement)}")

        event.listen(Engine, "before_cursor_execute", before)
        event.listen(Engine, "after_cursor_execute", after)
        self.around(DefaultDialect, "do_commit")
        for name in ("_write", "_roll", "_new", "_reuse", "sync", "discard"):
            self.around(Journal, name)
        self.around(Heads, "put")
        self.around(Path, "unlink")


def brief(statement: str) -> str:
    return " ".join(statement.split())[:60]


class Walk:
    """One process's way, and what it says of it: that it is about to do a thing, and that the thing is done."""

    def __init__(self, url: str, directory: Path, number: int, say: Callable[..., None]) -> None:
        self.now_us = START_US + number * 4 * HOUR_US
        self.url, self.directory, self.number, self.say = url, directory, number, say
        self.books = self.boot("a")

    def boot(self, name: str) -> Books:
        books = opened(self.url, self.directory, f"{self.number}{name}", lambda: self.now_us)
        books.open()
        return books

    def whole(self) -> None:
        self.settled(self.sent(1, apart=True), 400_000)
        self.books.flush()
        self.progress(self.sent(2))
        self.released(self.reserved(3))
        self.sent(4)
        self.released(self.sent(5))
        self.settled(self.sent(6), HELD + 7)
        self.books.flush()
        self.books.tend()
        # The hour's window ends.
        self.now_us += HOUR_US
        self.settled(self.sent(7), 500_000)
        self.books.wallets.drain(lambda: None)
        self.settled(self.sent(8, apart=True), 0)
        kill(self.books)
        self.books = self.boot("b")
        self.books.flush()
        self.settled(self.sent(9), 600_000)
        for _ in range(6):
            self.books.tend()
        self.books.flush()
        self.books.close()

    def _held(self, place: int) -> tuple[Hold, Any]:
        held = hold(self.number * 100 + place, amount_nano_usd=HELD, opened_at_us=self.now_us)
        wallets = self.books.wallets.of(charge_of(held), self.now_us)
        if not self.books.wallets.take(wallets, HELD, HELD):
            answers: list[Any] = []
            self.books.wallets.ask(wallets, HELD, HELD, answers.append)
            assert answers == [HELD], answers
        return held, wallets

    def reserved(self, place: int) -> Hold:
        held, wallets = self._held(place)
        self.books.reserve(held, wallets)
        return held

    def sent(self, place: int, *, apart: bool = False) -> Hold:
        held, wallets = self._held(place)
        self.say("sending", held.request_id)
        if apart:
            self.books.reserve(held, wallets)
            self.books.dispatch(held)
        else:
            self.books.reserve_and_dispatch(held, wallets)
        self.say("sent", held.request_id)
        return held

    def progress(self, held: Hold) -> None:
        self.say("telling", held.request_id)
        self.books.progress(held, SO_FAR)
        self.say("told", held.request_id)

    def settled(self, held: Hold, cost: int) -> None:
        self.say("paying", held.request_id, cost)
        self.books.settle(held, SO_FAR, cost, EntryKind.ACTUAL)
        self.say("paid", held.request_id, cost)
        self.books.request(row(held, cost_nano_usd=cost))

    def released(self, held: Hold) -> None:
        self.say("releasing", held.request_id)
        self.books.release(held)
        self.say("released", held.request_id)


def opened(url: str, directory: Path, boot_id: str, clock: Callable[[], int]) -> Books:
    return Books(
        *(url, directory / "journal"),
        clock=clock,
        boot_id=boot_id,
        segment_bytes=SEGMENT_BYTES,
        journal_sync="always",
        state=directory,
    )


@dataclass(slots=True)
class Said:
    """What a process had said of one request before it died."""

    words: set[str] = field(default_factory=set)
    cost: int = 0

    def outcomes(self) -> list[list[tuple[int, int]]]:
        """The rows that the ledger may have: kinds and amounts."""
        nothing: list[tuple[int, int]] = []
        unknown = [(int(EntryKind.UNKNOWN), HELD)]
        estimated = [(int(EntryKind.ESTIMATED), ESTIMATE)]
        exact = [(int(EntryKind.ACTUAL), min(self.cost, HELD))]
        if self.cost > HELD:
            exact.append((int(EntryKind.OVERRUN), self.cost - HELD))
        told, telling = "told" in self.words, "telling" in self.words
        flying = [*([] if told else [unknown]), *([estimated] if told or telling else [])]
        match self.words:
            case words if "paid" in words:
                return [exact]
            case words if "paying" in words:
                return [exact, *flying]
            case words if "released" in words:
                return [nothing]
            case words if "releasing" in words:
                return [nothing, *(flying if "sent" in words else [])]
            case words if "sent" in words:
                return flying
            case _:
                return [nothing, *flying]


def child(url: str, directory: Path, number: int, dies_at: int, out: int) -> NoReturn:
    def say(*words: object) -> None:
        os.write(out, json.dumps(words).encode() + b"\n")

    fuse = Fuse(dies_at, say)
    fuse.arm()
    status = 1
    try:
        Walk(url, directory, number, say).whole()
        say("steps", fuse.steps)
        status = DONE
    finally:
        os._exit(status)


def walked(url: str, directory: Path, number: int, dies_at: int) -> list[list[Any]]:
    """What a process that dies at that step said."""
    back, out = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(url, directory, number, dies_at, out)
    os.close(out)
    with os.fdopen(back, "rb") as said:
        lines = [json.loads(line) for line in said]
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (DIED, DONE), f"walk {number} fell over: {lines[-3:]}"
    return lines


def recovered(url: str, directory: Path, number: int) -> None:
    """The next start finds what the dead one left; then nothing pends."""
    books = opened(url, directory, f"{number}c", lambda: START_US + (number * 4 + 2) * HOUR_US)
    books.open()
    books.flush()
    assert pending(url) == leased(url), "what pends is what is leased"
    books.close()
    assert (pending(url), leased(url)) == (0, 0)


def pending(url: str) -> int:
    return int(query(url, "SELECT COALESCE(SUM(pending_nano_usd), 0) FROM budget_accounts")[0][0])


def leased(url: str) -> int:
    return int(query(url, "SELECT COALESCE(SUM(amount_nano_usd), 0) FROM leases")[0][0])


def compare(url: str, directory: Path, number: int, lines: list[list[Any]]) -> None:
    said: dict[str, Said] = {}
    for word, name, *cost in (line for line in lines if line[0] not in {"died", "steps"}):
        one = said.setdefault(name, Said())
        one.words.add(word)
        one.cost = cost[0] if cost else one.cost
    first, last = hold(number * 100).request_id, hold(number * 100 + 99).request_id
    rows: dict[str, list[tuple[int, int]]] = {}
    span = f"BETWEEN '{first}' AND '{last}'"
    for name, kind, amount in query(
        url, f"SELECT request_id, kind, amount_nano_usd FROM entries WHERE request_id {span} ORDER BY id"
    ):
        rows.setdefault(name, []).append((kind, amount))
    assert rows.keys() <= said.keys(), "a row of what was never sent"
    for name, one in said.items():
        assert rows.get(name, []) in one.outcomes(), (name, rows.get(name, []), one)
    pages = {name for (name,) in query(url, f"SELECT request_id FROM requests WHERE request_id {span}")}
    assert pages >= rows.keys(), "a row without its request's page"
    engine = open_engine(url)
    problems = verify(engine, directory).problems
    engine.dispose()
    assert problems == (), problems


def main(url: str, directory: Path, first: int, every: int) -> dict[str, Any]:
    give_budget(url, "team", limit_nano_usd=10**15)
    give_budget(url, "key", scope_type="key", scope_id="*", window="hour", limit_nano_usd=10**15)
    lines = walked(url, directory, 0, 0)
    recovered(url, directory, 0)
    compare(url, directory, 0, lines)
    ((_, steps),) = [line for line in lines if line[0] == "steps"]
    died: Counter[str] = Counter()
    for dies_at in range(first, steps + 1, every):
        lines = walked(url, directory, dies_at, dies_at)
        where = [line[1] for line in lines if line[0] == "died"]
        # One walk takes a step more or less than another: what it finds made already, how often a thread comes around.
        assert where or [line for line in lines if line[0] == "steps" and line[1] < dies_at], "it did neither"
        try:
            recovered(url, directory, dies_at)
            compare(url, directory, dies_at, lines)
        except AssertionError as error:
            raise AssertionError(f"died at step {dies_at}, {where}: {error}") from error
        died.update(where)
    return {"steps": steps, "deaths": died.total(), "places": sorted(died)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
