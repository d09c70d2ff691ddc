"""What a request costs in the books, in microseconds of CPU: `python bench/books.py [requests] [budgets]`.

`budgets`: every hold is taken from a budget on each of nine scopes.
"""

import gc
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from billing.audit import Actor
from billing.books import AttemptRow, Books, EntryKind, Hold, RequestRow
from billing.budgets import Budget
from billing.holds import charge_of
from billing.migrating import migrate
from billing.price import Price, Usage
from billing.store import Store
from billing.wallets import NOTHING, Wallet
from billing.windows import Window

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
        f"user_{number % 20}",
        f"end_{number % 20}",
        "openai",
        "gpt-5-mini",
        "chat",
        ("feature=search",),
        PRICE,
        1_500_000,
        "org_1",
    )


SCOPES = ("organization", "team", "user", "member", "key", "tag", "model", "end_user", "provider")


def budget(scope_type: str) -> Budget:
    each = "feature=*" if scope_type == "tag" else "*"
    return Budget(scope_type, scope_type, each, None, 10**15, None, Window.DAY, "UTC", None)


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
            store = Store(url)
            for scope_type in SCOPES if "budgets" in sys.argv else ():
                store.budgets.create(budget(scope_type), Actor("command"), AT_US)
            store.close()
            books = Books(url, Path(directory) / "journal", clock=lambda: AT_US, sink=log.write)
            measure(books, count)


def take(books: Books, held: Hold) -> tuple[Wallet, ...]:
    """As `gateway.attempt` does it; the first time from the database."""
    if not books.wallets.limited:
        return NOTHING
    wallets = books.wallets.of(charge_of(held), held.opened_at_us)
    if not books.wallets.take(wallets, held.amount_nano_usd, held.amount_nano_usd):
        answers: list[int | Exception] = []
        books.wallets.ask(wallets, held.amount_nano_usd, held.amount_nano_usd, answers.append)
        if answers != [held.amount_nano_usd]:
            raise SystemExit(f"bench: a hold was not let in: {answers}")
    return wallets


def measure(books: Books, count: int) -> None:
    flusher, journal = books._flusher, books._journal  # noqa: SLF001
    # The thread's own turns would mix into the figures: this thread takes them.
    journal.open()
    books.reload()
    spent = {"take": 0, "reserve_and_dispatch": 0, "settle": 0, "request": 0, "flusher": 0}
    gc.freeze()  # as gateway/app.py does it
    gc.set_threshold(50_000, 20, 50)
    for start in range(0, count, FLUSH_EVERY):
        holds = [hold(n) for n in range(start, start + FLUSH_EVERY)]
        rows = [row(held) for held in holds]
        marks = [time.thread_time_ns()]
        taken = [take(books, held) for held in holds]
        marks.append(time.thread_time_ns())
        for held, wallets in zip(holds, taken, strict=True):
            books.reserve_and_dispatch(held, wallets)
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
