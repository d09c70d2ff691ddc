"""What a batch of settlements is made of: the entries as stored, what they add to their quarter hours, what they take
out of which slices. Pure, compiled, and dense: it runs once for each request.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from billing.holds import EntryKind, Posting
from billing.price import UNPRICED, Price, Usage
from billing.usage_span import QUARTER_US
from billing.wallets import Wallet

WRITERS_MAX: Final = 4096  # an id's last 12 bits, so that writers never meet
OVERRUN: Final = int(EntryKind.OVERRUN)
SAVING: Final = int(EntryKind.SAVING)

_ACTUAL: Final = int(EntryKind.ACTUAL)
_ESTIMATED: Final = int(EntryKind.ESTIMATED)
_UNKNOWN: Final = int(EntryKind.UNKNOWN)

Row = tuple[Any, ...]
Debit = tuple[str, str | None, str | None, str | None, str, str, tuple[str, ...], str | None]
Credit = tuple[str, str]  # side and provider


class QuarterSums:
    """What one account's entries add to one quarter hour, in the order of the roll-up's columns."""

    __slots__ = ("cached", "cost", "estimated", "given", "heard", "reasoning", "requests", "saved")

    def __init__(self) -> None:
        self.requests = 0
        self.given = self.cached = self.heard = self.reasoning = 0
        self.cost = self.estimated = self.saved = 0


def debit_of(posting: Posting) -> Debit:
    """The dimensions of the account that is charged."""
    hold = posting[0]
    return hold[3], hold[4], hold[5], hold[6], hold[7], hold[8], hold[10], hold[13]


def credit_of(posting: Posting) -> Credit:
    return _side(posting[3], posting[0][11]), posting[0][7]


def entry_rows(
    postings: Sequence[Posting],
    first_id: int,
    counted: Mapping[str, int],
    debits: Mapping[Debit, int],
    credited: Mapping[Credit, int],
    prices: Mapping[int, tuple[Price, int]],
) -> list[Row]:
    """The entries as stored. `counted`: of requests that were tried again, the attempt that counts as the request.
    Raises KeyError when an account or a price (by its identity) has no id yet.
    """
    rows: list[Row] = []
    row_id = first_id
    for posting in postings:
        hold, usage, amount, kind, _, _ = posting
        (
            request_id, attempt, at_us, key, team, user, end_user, provider, model, _, tags, price, _, organization, _,
        ) = hold  # fmt: skip
        fresh, cached, cache_write, output, reasoning, heard, spoken = usage
        debit = debits[(key, team, user, end_user, provider, model, tags, organization)]
        credit = credited[(_side(kind, price), provider)]
        counts = counted.get(request_id, attempt) == attempt if counted else True
        requests = 1 if counts and kind != OVERRUN else 0
        price_id = prices[id(price)][1]
        rows.append(
            (
                *(row_id, first_id, request_id, attempt, kind, 0, debit, credit, amount, requests),
                *(fresh, cached, cache_write, output, reasoning, heard, spoken, price_id, at_us),
            )
        )
        row_id += WRITERS_MAX
    return rows


def quarter_sums(rows: Sequence[Row]) -> dict[tuple[int, int], QuarterSums]:
    """By quarter hour and debited account. A kept answer's tokens were not bought again, its cost not paid again."""
    sums: dict[tuple[int, int], QuarterSums] = {}
    for row in rows:
        at_us: int = row[18]
        debit: int = row[6]
        kind: int = row[4]
        amount: int = row[8]
        place = at_us // QUARTER_US, debit
        of = sums.get(place)
        if of is None:
            of = sums[place] = QuarterSums()
        requests: int = row[9]
        of.requests += requests
        if kind == SAVING:
            of.saved += amount
            continue
        given: int = row[10]
        cached: int = row[11]
        heard: int = row[13]
        reasoning: int = row[14]
        of.given += given
        of.cached += cached
        of.heard += heard
        of.reasoning += reasoning
        of.cost += amount
        if kind in (_ESTIMATED, _UNKNOWN):
            of.estimated += amount
    return sums


def quarter_rows(sums: Mapping[tuple[int, int], QuarterSums]) -> list[Row]:
    """As the roll-up stores them, in the order of its key: two writers never wait for each other in a circle."""
    return [
        (*place, of.requests, of.given, of.cached, of.heard, of.reasoning, of.cost, of.estimated, of.saved)
        for place, of in sorted(sums.items(), key=_place)
    ]


def _place(item: tuple[tuple[int, int], QuarterSums]) -> tuple[int, int]:
    return item[0]


def parted(postings: Sequence[Posting]) -> Sequence[Posting]:
    """The same with each overrun as two: what the hold covered, and what was billed beyond it."""
    if all(posting[3] != OVERRUN for posting in postings):
        return postings
    return [part for posting in postings for part in _split(posting)]


def _split(posting: Posting) -> tuple[Posting, ...]:
    held = posting.hold.amount_nano_usd
    if posting.kind != OVERRUN:
        return (posting,)
    return (
        posting._replace(amount_nano_usd=held, kind=_ACTUAL),
        posting._replace(amount_nano_usd=posting.amount_nano_usd - held, usage=Usage(), wallets=()),
    )


def taken_from(postings: Iterable[Posting]) -> dict[Wallet, int]:
    """What comes out of which slice: of each hold what it cost, at most all of it."""
    # Equal charges share one tuple, so its wallets are gone through once a batch, not once a row.
    sums: dict[int, int] = {}
    tuples: dict[int, tuple[Wallet, ...]] = {}
    for posting in postings:
        wallets = posting[5]
        if wallets:
            amount = min(posting[2], posting[0][12])
            at = id(wallets)
            if at in sums:
                sums[at] += amount
            else:
                sums[at], tuples[at] = amount, wallets
    taken: dict[Wallet, int] = {}
    for at, amount in sums.items():
        for wallet in tuples[at]:
            taken[wallet] = taken.get(wallet, 0) + amount
    return taken


def _side(kind: int, price: Price) -> str:
    if kind == SAVING:
        return "memo"
    # Nobody has said yet what this costs: it waits in suspense to be repriced.
    return "suspense" if price.version == UNPRICED.version else "payable"
