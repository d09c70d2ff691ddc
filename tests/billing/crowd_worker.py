"""One of several processes that reserve and settle against the same five budgets, in a hurry.

`python -m tests.billing.crowd_worker URL DIRECTORY NUMBER REQUESTS` prints what it spent, in nano-dollars.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from billing.books import Books, EntryKind, Usage
from billing.holds import Hold, charge_of
from billing.journal import RECORD_BYTES_MAX
from tests.billing.makers import AT_US, hold

if TYPE_CHECKING:
    from billing.wallets import Wallet

HOUR_US: Final = 3_600_000_000
# After so many requests an hour is over, for all of them at about the same time: each makes the next one's accounts.
IN_AN_HOUR: Final = 40
MOST: Final = 1_000_000


def asked(books: Books, wallets: tuple[Wallet, ...]) -> int:
    """From the database, however long others stand before it; 0 where there is no room."""
    answers: list[Any] = []
    books.wallets.ask(wallets, MOST, MOST // 2, answers.append)
    while not answers:
        time.sleep(0.005)
        books.wallets.pump()
    return answers[0] if isinstance(answers[0], int) else 0


def main(url: str, directory: Path, number: int, requests: int) -> int:
    draw = random.Random(number)
    done = 0
    books = Books(
        *(url, directory / f"journal{number}"),
        clock=lambda: AT_US + done // IN_AN_HOUR * HOUR_US + done,
        writer=number,
        boot_id=f"{number}-crowd",
        workers=8,
        segment_bytes=4 * RECORD_BYTES_MAX,
        state=directory,
    )
    books.open()
    spent = 0
    flying: list[tuple[Hold, tuple[Wallet, ...]]] = []
    for done in range(requests):
        at_us = AT_US + done // IN_AN_HOUR * HOUR_US + done
        held = hold(number * 1_000_000 + done, user_id="user_1", amount_nano_usd=MOST, opened_at_us=at_us)
        wallets = books.wallets.of(charge_of(held), at_us)
        if draw.random() < 0.5 or not books.wallets.take(wallets, MOST, MOST):
            amount = asked(books, wallets)
            if not amount:
                continue
            held = held._replace(amount_nano_usd=amount)
        books.reserve_and_dispatch(held, wallets)
        flying.append((held, wallets))
        while len(flying) > draw.randrange(8):
            ended, _ = flying.pop(0)
            cost = draw.randrange(ended.amount_nano_usd + 1)
            books.settle(ended, Usage(output_tokens=1), cost, EntryKind.ACTUAL)
            spent += cost
        if done % 10 == 0:
            books.tend()
        if done % 25 == 0:
            books.reload()
    for ended, _ in flying:
        books.release(ended)
    books.flush(60)
    books.close()
    return spent


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
