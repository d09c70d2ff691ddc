"""A worker under load, to be killed: says on standard output what a provider would have on its bill."""

from __future__ import annotations

import sys
from pathlib import Path

from billing.books import Books, EntryKind, Usage
from tests.billing.conftest import now_us
from tests.billing.makers import USAGE, hold


def main(url: str, directory: str, first: int) -> None:
    books = Books(url, Path(directory), clock=now_us)
    books.open()
    say = sys.stdout.write
    in_flight = []
    for number in range(first, first + 10_000_000):
        held = hold(number)
        if number % 3:
            books.reserve_and_dispatch(held)
        else:
            books.reserve(held)
            books.dispatch(held)
        # From here on the provider may bill it: the ledger must know it, whatever comes.
        say(f"sent {number}\n")
        in_flight.append(held)
        if number % 5 == 0:
            books.progress(held, Usage(input_tokens=1000, output_tokens=100))
        if len(in_flight) > 20:
            done = in_flight.pop(0)
            books.settle(done, USAGE, number % 1000, EntryKind.ACTUAL)
            say(f"paid {done.request_id} {number % 1000}\n")
        if number % 50 == 0:
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
