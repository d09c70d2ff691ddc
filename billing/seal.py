"""What a batch's hash covers: its predecessor's hash, its own row, its entries, and the accounts and prices that they
name. Pure; so whoever has the rows can check the chain.

A batch covers what it names, not what it made: then neither a rolled-back try nor another writer's account of the same
name leaves a row that no hash holds, and a reader needs to know nothing but the rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import msgspec

from billing.holds import encode

ROWS_ALONE: Final = 1  # how the first release hashed: entries and nothing else
WHOLE: Final = 2

_GONE: Final = bytes(32)  # stands for an account or a price that is not there; no row's digest is this
_DEBIT, _CREDIT, _PRICE, _AT = 6, 7, 17, 18  # where an entry's row has them

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Imprints:
    """Digests by id of the accounts and prices that entries name, so that a batch's hash costs a look-up for each."""

    accounts: dict[int, bytes] = field(default_factory=dict)
    prices: dict[int, bytes] = field(default_factory=dict)

    def keep_accounts(self, ids: Iterable[int]) -> None:
        """Forgets all others: end users may be many."""
        kept = {account_id: self.accounts[account_id] for account_id in ids}
        self.accounts.clear()
        self.accounts.update(kept)


def account_digest(row: Sequence[Any], tags: Iterable[tuple[str, str]]) -> bytes:
    """Of an account's row as stored, its id first, and of its tags."""
    return sha256(encode((tuple(row), sorted(map(tuple, tags))))).digest()


def price_digest(row: Sequence[Any]) -> bytes:
    return sha256(encode(tuple(row))).digest()


def rows_hash(prev_hash: bytes, rows: Sequence[Row]) -> bytes:
    """A batch's hash as the first release wrote it: over its predecessor's and its rows as stored, by id."""
    return sha256(prev_hash + encode(rows)).digest()


def batch_hash(
    prev_hash: bytes,
    head: Sequence[int],
    rows: Sequence[Row],
    accounts: Mapping[int, bytes],
    prices: Mapping[int, bytes],
) -> bytes:
    """`head` is the batch's own row, up to its hashes."""
    named = sorted({row[_DEBIT] for row in rows} | {row[_CREDIT] for row in rows})
    priced = sorted({row[_PRICE] for row in rows})
    whole = sha256(prev_hash + encode(tuple(head)))
    whole.update(b"".join([accounts.get(account_id, _GONE) for account_id in named]))
    whole.update(b"".join([prices.get(price_id, _GONE) for price_id in priced]))
    whole.update(encode(rows))
    return whole.digest()


def closing_name(budget_id: str, subject: str, window_start_us: int) -> str:
    """The suspense account of one budget account: what leases on it may have spent that nobody will ever know."""
    return msgspec.json.encode(("suspense", "lease", budget_id, subject, window_start_us)).decode()


def head_of(rows: Sequence[Row], writer: int, now_at_us: int) -> tuple[int, int, int, int, int, int, int]:
    """A batch's own row as its entries make it: id, last id, writer, rows, the span of their times, its own time."""
    times = [row[_AT] for row in rows]
    return rows[0][0], rows[-1][0], writer, len(rows), min(times), max(times), now_at_us
