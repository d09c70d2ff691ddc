"""Proves the ledger: every hash of every chain from the rows as stored, the chains' ends against their signed heads,
the sums that reports read against the entries, each budget's posted amount against its own; and with it the audit log.

Streams in the order of ids and remembers one batch a writer, whatever the ledger's size.
"""

import sqlite3
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError

from billing import queries
from billing.audit import wrong_rows
from billing.audit_head import lost, read_audit_heads
from billing.entry_rows import WRITERS_MAX
from billing.heads import Head, read_heads
from billing.queries import verify as q
from billing.seal import ROWS_ALONE, WHOLE, account_digest, batch_hash, head_of, price_digest, rows_hash

PROBLEMS_MAX: Final = 1000  # told one by one; the rest would say no more
_ID, _BATCH_ID = 0, 1


@dataclass(frozen=True, slots=True)
class Problem:
    """`entry_ids` are those of the batch's rows as stored."""

    kind: str
    batch_id: int | None
    entry_ids: tuple[int, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    ok: bool
    batches: int
    entries: int
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _Chain:
    """One writer's, as far as it was read."""

    batch: queries.BatchRow | None = None
    rows: list[queries.Row] = field(default_factory=list)
    end: tuple[int, bytes] = (0, queries.HASH_START)
    sealed_whole: bool = False


@dataclass(slots=True)
class _Reading:
    accounts: Mapping[int, bytes]
    prices: Mapping[int, bytes]
    heads: dict[int, list[tuple[str, Head]]]
    chains: dict[int, _Chain] = field(default_factory=dict)
    batches: int = 0
    entries: int = 0
    problems: list[Problem] = field(default_factory=list)

    def tell(
        self, kind: str, sentence: str, batch_id: int | None = None, rows: list[queries.Row] | None = None
    ) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(kind, batch_id, tuple(row[_ID] for row in rows or ()), sentence))


def verify(engine: Engine, state: Path | None) -> Verdict:
    """`state` is the directory with the ledger's key and heads; without it a cut tail cannot show."""
    # Heads first: they follow the database, so every one of them must be found in what is read after.
    kept = read_heads(state) if state is not None else {}
    audit_heads = read_audit_heads(state) if state is not None else {}
    heads: dict[int, list[tuple[str, Head]]] = {}
    for name, head in kept.items():
        if head is not None:
            heads.setdefault(head.writer, []).append((name, head))
    reading = _Reading({}, {}, heads)
    for name in (name for name, head in kept.items() if head is None):
        reading.tell("head", f"the head {name} is not signed with this ledger's key: restore it, or look who wrote it")
    try:
        with q.one_moment(engine) as tx:
            reading.accounts, reading.prices = _account_digests(tx), _price_digests(tx)
            _read(tx, reading)
            _compare(reading, demanded=state is not None)
            _sums(tx, reading)
            _audit(tx, reading, audit_heads)
    except (DatabaseError, sqlite3.Error, UnicodeError) as error:
        # The last two: SQLite found its schema in shreds, and the driver could not even say so.
        reason = getattr(error, "orig", None) or error
        reading.tell("unreadable", f"the database cannot be read: {reason}: restore it from a backup")
    return Verdict(not reading.problems, reading.batches, reading.entries, tuple(reading.problems))


def _account_digests(tx: Connection) -> dict[int, bytes]:
    tags: dict[Any, list[Any]] = {}
    for account_id, name, value in q.all_account_tags(tx):
        tags.setdefault(account_id, []).append((name, value))
    digests = {}
    for row in q.all_accounts(tx):
        # Tags that are no text any more have no order; without a digest every batch that names them shows.
        with suppress(TypeError):
            digests[row[0]] = account_digest(row, tags.get(row[0], ()))
    return digests


def _price_digests(tx: Connection) -> dict[int, bytes]:
    return {row[0]: price_digest(row) for row in q.all_prices(tx)}


def _read(tx: Connection, reading: _Reading) -> None:
    """Entries belong to the batch whose ids they lie between: a flipped `batch_id` is found, not followed."""
    with closing(_batches(tx, reading)) as coming, closing(q.all_entries(tx)) as rows:
        _group(reading, coming, rows)


def _group(reading: _Reading, coming: Iterator[queries.BatchRow], rows: Iterator[queries.Row]) -> None:
    following = next(coming, None)
    for row in rows:
        reading.entries += 1
        while following is not None and following.id <= row[_ID]:
            _begin(reading, following)
            following = next(coming, None)
        chain = reading.chains.get(row[_ID] % WRITERS_MAX)
        if chain is None or chain.batch is None:
            reading.tell("stray", f"entry {row[_ID]} belongs to no batch: somebody put it in", None, [row])
        else:
            chain.rows.append(row)
    while following is not None:
        _begin(reading, following)
        following = next(coming, None)
    for chain in reading.chains.values():
        _end(reading, chain)


def _batches(tx: Connection, reading: _Reading) -> Generator[queries.BatchRow, None, None]:
    for batch in q.all_batches(tx):
        if isinstance(batch.id, int):
            yield batch
        else:
            reading.batches += 1
            reading.tell("batch", f"a batch has {batch.id!r} for an id: it was changed")


def _begin(reading: _Reading, batch: queries.BatchRow) -> None:
    reading.batches += 1
    chain = reading.chains.setdefault(batch.id % WRITERS_MAX, _Chain())
    _end(reading, chain)
    chain.batch, chain.rows = batch, []


def _end(reading: _Reading, chain: _Chain) -> None:
    """All rows of the chain's batch are here."""
    batch, rows = chain.batch, chain.rows
    if batch is None:
        return
    prev_hash, stored = _bytes(batch.prev_hash), _bytes(batch.hash)
    if prev_hash != chain.end[1]:
        told = "does not follow the one before it: one between them was taken out, or one of the two was changed"
        reading.tell("chain", f"batch {batch.id} {told}", batch.id, rows)
    wrong = _wrong(reading, batch, rows, prev_hash, stored)
    if wrong:
        reading.tell("batch", f"batch {batch.id} is not as it was written: {wrong}", batch.id, rows)
    chain.end = batch.last_id, stored
    chain.sealed_whole = chain.sealed_whole or batch.seal == WHOLE
    for _, head in reading.heads.get(batch.id % WRITERS_MAX, ()):
        if head.last_id == batch.last_id and head.hash == stored.hex():
            reading.heads[head.writer] = [kept for kept in reading.heads[head.writer] if kept[1] != head]


def _wrong(reading: _Reading, batch: queries.BatchRow, rows: list[queries.Row], prev_hash: bytes, stored: bytes) -> str:
    if len(rows) != batch.rows:
        return f"it has {len(rows)} of its {batch.rows} rows"
    if not rows:
        return "no batch is empty"
    if any(row[_BATCH_ID] != batch.id for row in rows):
        return "a row says that it is another batch's"
    try:
        head = head_of(rows, batch.id % WRITERS_MAX, batch.at_us)
        if tuple(batch[:7]) != head:
            return "its own row does not fit its entries"
        if batch.seal == WHOLE:
            fits = batch_hash(prev_hash, head, rows, reading.accounts, reading.prices) == stored
        else:
            fits = batch.seal == ROWS_ALONE and rows_hash(prev_hash, rows) == stored
    except (TypeError, ValueError, OverflowError) as error:
        return f"a value is of another kind ({error})"
    return "" if fits else "its hash fits neither its rows nor the accounts and prices that they name"


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else repr(value).encode()


def _compare(reading: _Reading, *, demanded: bool) -> None:
    """Heads that no batch fits: the chain's end was cut, or changed."""
    signed = {writer for writer, kept in reading.heads.items() if kept is not None}
    for writer, chain in reading.chains.items():
        if demanded and chain.sealed_whole and writer not in signed:
            reading.tell("head", f"writer {writer}'s chain has no signed head: restore it, or its end proves nothing")
    for writer, kept in reading.heads.items():
        for name, head in kept:
            found = reading.chains.get(writer, _Chain()).end[0]
            told = f"writer {writer}'s chain was signed up to entry {head.last_id} and ends at {found or 'nothing'}"
            reading.tell("tail", f"{told}, or its end is another one now: rows are missing ({name})")


def _audit(tx: Connection, reading: _Reading, heads: Mapping[str, Head | None]) -> None:
    """The log of who changed what stands beside the ledger, and is proved with it."""
    for row_id in wrong_rows(tx):
        told = f"row {row_id} of the audit log is not as it was written, or does not follow on the row before it"
        reading.tell("audit", told)
    for sentence in lost(tx, heads):
        reading.tell("audit", sentence)


def _sums(tx: Connection, reading: _Reading) -> None:
    for quarter, account_id in q.usage_that_differs(tx, PROBLEMS_MAX):
        reading.tell("usage", f"the sums of account {account_id} in quarter hour {quarter} are not its entries'")
    for day, account_id in q.days_that_differ(tx, PROBLEMS_MAX):
        reading.tell("usage", f"the sums of account {account_id} on day {day} are not its quarter hours'")
    for account_id, subject, posted, summed in q.budget_accounts_that_differ(tx):
        told = f"budget account {account_id} ({subject}) says {posted} nano-USD are posted"
        reading.tell("budget", f"{told}, its entries say {summed}")
