"""What a request costs in the books, in microseconds of CPU: `python bench/books.py [requests]`."""

import gc
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from billing.books import AttemptRow, Books, EntryKind, Hold, RequestRow
from billing.migrating import migrate
from billing.price import Price, Usage

PRICE = Price("openai/gpt-5-mini 2026-11-01", 250_000, 2_000_000, 25_000, 250_000, 2_000_000, 250_000, 2_000_000)
USAGE = Usage(input_tokens=1200, cached_input_tokens=200, output_tokens=300)
AT_US = 1_764_000_000_000_000
FLUSH_EVERY = 6000  # what 0.25 s hold at 24,000 requests a second


def now_us() -> int:
    return time.time_ns() // 1000  # noqa: TID251


def hold(number: int) -> Hold:
    return Hold(
        f"req_{number:026d}",
        1,
        AT_US + number,
        f"key_{number % 20}",
        f"team_{number % 5}",
        None,
        None,
        "openai",
        "gpt-5-mini",
        "chat",
        ("feature=search",),
        PRICE,
        1_500_000,
    )


def row(held: Hold) -> RequestRow:
    attempt = AttemptRow(
        1, "openai", "gpt-5-mini", "weight 3 of 4", 200, "answered", None, held.opened_at_us, 61_000, USAGE, 850_000
    )
    return RequestRow(
        held.request_id,
        held.opened_at_us,
        held.key_id,
        held.team_id,
        None,
        "chat",
        "gpt-5-mini",
        "openai",
        "pool",
        "weight 3 of 4",
        "miss",
        False,
        200,
        None,
        61_500,
        None,
        850_000,
        (attempt,),
        held.tags,
        None,
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/books.db"
        migrate(url)
        with (Path(directory) / "log").open("ab", buffering=0) as log:
            books = Books(url, Path(directory) / "journal", clock=now_us, sink=log.write)
            measure(books, count)


def measure(books: Books, count: int) -> None:
    flusher, journal = books._flusher, books._journal  # noqa: SLF001
    # The thread's own turns would mix into the figures: this thread takes them.
    journal.open()
    spent = {"reserve_and_dispatch": 0, "settle": 0, "request": 0, "flusher": 0}
    gc.freeze()  # as gateway/app.py does it
    gc.set_threshold(50_000, 20, 50)
    for start in range(0, count, FLUSH_EVERY):
        holds = [hold(n) for n in range(start, start + FLUSH_EVERY)]
        rows = [row(held) for held in holds]
        marks = [time.thread_time_ns()]
        for held in holds:
            books.reserve_and_dispatch(held)
        marks.append(time.thread_time_ns())
        for held in holds:
            books.settle(held, USAGE, 850_000, EntryKind.ACTUAL)
        marks.append(time.thread_time_ns())
        for told in rows:
            books.request(told)
        marks.append(time.thread_time_ns())
        flusher.turn()
        marks.append(time.thread_time_ns())
        for name, (before, after) in zip(spent, pairwise(marks), strict=True):
            spent[name] += after - before
    done = -(-count // FLUSH_EVERY) * FLUSH_EVERY
    for name, ns in spent.items():
        print(f"{name:22} {ns / done / 1000:6.2f} us per request")
    journal.discard()


if __name__ == "__main__":
    main()
