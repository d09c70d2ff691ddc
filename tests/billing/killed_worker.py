"""A worker under load, to be killed: says on standard output what a provider would have on its bill."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from billing.books import Books, EntryKind, JournalFull, Usage
from tests.billing.conftest import now_us
from tests.billing.makers import USAGE, hold

if TYPE_CHECKING:
    from billing.books import Hold

# Small, so that segments fill, are used again and long attempts move up while the kill comes.
SEGMENT_BYTES = 256 * 1024


def send(books: Books, held: Hold) -> None:
    steps = [books.reserve_and_dispatch] if int(held.request_id[4:]) % 3 else [books.reserve, books.dispatch]
    while steps:
        try:
            steps[0](held)
        except JournalFull:
            books.flush()
        else:
            del steps[0]
    # From here on the provider may bill it: the ledger must know it, whatever comes.
    sys.stdout.write(f"sent {held.request_id}\n")


def main(url: str, directory: str, first: int) -> None:
    books = Books(url, Path(directory), clock=now_us, segment_bytes=SEGMENT_BYTES)
    books.open()
    send(books, hold(first))  # a stream that outlives many segments
    in_flight = []
    for number in range(first + 1, first + 10_000_000):
        held = hold(number)
        send(books, held)
        in_flight.append(held)
        if number % 5 == 0:
            books.progress(held, Usage(input_tokens=1000, output_tokens=100))
        if len(in_flight) > 20:
            done = in_flight.pop(0)
            books.settle(done, USAGE, number % 1000, EntryKind.ACTUAL)
            sys.stdout.write(f"paid {done.request_id} {number % 1000}\n")
        if number % 50 == 0:
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
