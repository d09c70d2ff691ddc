"""Writes settled attempts into the ledger, a batch to a transaction, each batch chained to its writer's last.

Runs on the flusher's thread, beside a busy event loop: what is done per row is as little as can be.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import Connection, Engine

from billing import queries
from billing.database import writing
from billing.entry_rows import (
    WRITERS_MAX,
    Credit,
    Debit,
    QuarterSums,
    credit_of,
    debit_of,
    entry_rows,
    parted,
    quarter_rows,
    quarter_sums,
    taken_from,
)
from billing.heads import Heads
from billing.holds import Posting, charge
from billing.interned import cost_row, other_row, tags_of
from billing.price import Price
from billing.request_log import RequestRow, pack_request
from billing.scopes import Account, Dimensions, Rulebook
from billing.seal import WHOLE, Imprints, account_digest, batch_hash, head_of, price_digest
from billing.usage_span import QUARTER_US
from billing.wallets import Wallet

if TYPE_CHECKING:
    from billing.alerts import BudgetEvent
    from billing.budget_events import Alerts

ACCOUNTS_MAX: Final = 100_000  # remembered; end users may be many
BOUND_MAX: Final = 10_000  # charges whose budget accounts are remembered
PRICES_MAX: Final = 10_000

EPOCH_US: Final = 1_735_689_600_000_000  # 2025: 51 bits of microseconds since then last for 71 years
_json: Final = msgspec.json.Encoder(order="deterministic")


_Place = tuple[int, int]  # a quarter hour, and the account that is charged in it


@dataclass(slots=True)
class _Known:
    """What has an id already. Prices go by identity (and are kept alive by it): hashing one costs more than its row."""

    debits: dict[Debit, int] = field(default_factory=dict)
    charges: dict[int, Dimensions] = field(default_factory=dict)  # by debited account: as budgets see it
    credits: dict[Credit, int] = field(default_factory=dict)
    prices: dict[int, tuple[Price, int]] = field(default_factory=dict)
    budgeted: dict[Account, int] = field(default_factory=dict)
    bound: dict[_Place, tuple[int, ...]] = field(default_factory=dict)  # to which budget accounts it is charged
    imprints: Imprints = field(default_factory=Imprints)


class Ledger:
    """One writer's chain of batches."""

    def __init__(self, engine: Engine, writer: int, boot_id: str = "", heads: Heads | None = None) -> None:
        if not 0 <= writer < WRITERS_MAX:
            raise ValueError(f"writer {writer} is out of range: use 0 to {WRITERS_MAX - 1}")
        self._engine = writing(engine)
        self._writer = writer
        self._boot_id = boot_id
        self._heads = heads
        self.harmed_journal = ""  # while its postings are recovered: what they spent leaves its leases, which stay
        self._rulebook = Rulebook()
        self._rules_version = 0
        self._known = _Known()
        self._end: tuple[int, bytes] | None = None
        self.posted = 0
        # Who is to hear of budgets that a batch brings over a threshold, and what hears of it once it is committed.
        self.alerts: Alerts | None = None
        self.on_crossed: Callable[[Sequence[BudgetEvent]], object] = len
        self._crossed: tuple[BudgetEvent, ...] = ()
        self._met_now: frozenset[int] = frozenset()  # budget accounts that the batch was the first to add to

    def post(self, postings: Sequence[Posting], requests: Iterable[RequestRow], now_at_us: int, *, again: bool) -> None:
        """All of it or nothing. `again`: an earlier try may have gone through, so look before writing."""
        taken = leaving = taken_from(postings)
        postings = parted(postings)
        try:
            with self._engine.begin() as tx:
                if again:
                    postings = _not_yet_posted(tx, postings)
                    leaving = taken_from(postings)
                end = before = self._end or queries.chain_end(tx, self._writer)
                if postings:
                    end = self._write(tx, postings, leaving, end, now_at_us)
                queries.insert_requests(tx, [(row.request_id, row.at_us, pack_request(row)) for row in requests])
        except BaseException:
            # What was learned may have been rolled back, and whether the chain grew is not known.
            self._known, self._end, self._crossed = _Known(), None, ()
            raise
        self._end = end
        if self._heads is not None and end != before:
            self._heads.put(self._writer, end, before[1], now_at_us)
        self.posted += len(postings)
        # Also of those that an earlier try had posted: in the database they have left the lease.
        for wallet, amount in taken.items():
            wallet.posted += amount
        if self._crossed:
            crossed, self._crossed = self._crossed, ()
            self.on_crossed(crossed)

    def take_over(self, journal: str) -> None:
        """What earlier boots of this journal had leased is free: all that they spent is posted."""
        with self._engine.begin() as tx:
            queries.return_leases(tx, journal, self._boot_id)

    def leave(self, journal: str) -> None:
        """The same of this boot, at its end."""
        with self._engine.begin() as tx:
            queries.return_leases(tx, journal, "")

    def _write(
        self,
        tx: Connection,
        postings: Sequence[Posting],
        leaving: Mapping[Wallet, int],
        end: tuple[int, bytes],
        now_at_us: int,
    ) -> tuple[int, bytes]:
        last_id, prev_hash = end
        first_id = max(((now_at_us - EPOCH_US) << 12) | self._writer, last_id + WRITERS_MAX)
        counted = _counted(tx, postings)
        self._read_rules(tx)
        try:
            rows = self._rows(postings, first_id, counted)
        except KeyError:
            self._learn(tx, postings, now_at_us)
            rows = self._rows(postings, first_id, counted)
        sums = quarter_sums(rows)
        posted = self._posted_to(tx, sums)
        queries.insert_entries(tx, rows)
        head = head_of(rows, self._writer, now_at_us)
        imprints = self._known.imprints
        digest = batch_hash(prev_hash, head, rows, imprints.accounts, imprints.prices)
        batch = queries.BatchRow(*head, prev_hash, digest, WHOLE)
        queries.insert_batch(tx, batch)
        queries.add_to_usage(tx, quarter_rows(sums))
        # Last, because from here to the commit nobody else comes to these accounts.
        leased = {wallet.id: amount for wallet, amount in leaving.items()}
        queries.post_to_accounts(tx, posted, leased, self._boot_id)
        if self.alerts is not None:
            # Of an account that this boot has not met yet nobody knows whether what it stood above before was told.
            added = {account: None if account in self._met_now else amount for account, amount in posted.items()}
            self._crossed = self.alerts.crossed(tx, added, self._rulebook.rules, now_at_us)
        if self.harmed_journal:
            queries.take_from_leases(tx, posted, self.harmed_journal)
        return batch.last_id, batch.hash

    def _read_rules(self, tx: Connection) -> None:
        queries.share_budgets(tx)
        version = queries.control_version(tx, "budgets")
        if version != self._rules_version:
            self._rulebook, self._rules_version = Rulebook(tuple(queries.budget_rules(tx))), version
            self._known.bound.clear()

    def _posted_to(self, tx: Connection, sums: Mapping[_Place, QuarterSums]) -> dict[int, int]:
        """What the batch adds to which budget accounts: to all that match now, whatever each hold was taken from."""
        self._met_now = frozenset()
        if not self._rulebook.rules:
            return {}
        bound = self._known.bound
        if len(bound) > BOUND_MAX:
            bound.clear()
        costs = {place: of.cost for place, of in sums.items() if of.cost}
        if not costs.keys() <= bound.keys():
            self._bind(tx, costs.keys() - bound.keys())
        posted: dict[int, int] = {}
        for place, cost in costs.items():
            for account_id in bound[place]:
                posted[account_id] = posted.get(account_id, 0) + cost
        return posted

    def _bind(self, tx: Connection, places: Iterable[_Place]) -> None:
        """Finds the budget accounts of charges that came for the first time in their quarter hour."""
        known, charges = self._known, self._known.charges
        # No window cuts a quarter hour.
        found = {place: self._rulebook.accounts(charges[place[1]], place[0] * QUARTER_US) for place in places}
        rules = {account: rule for bound in found.values() for rule, account in bound}
        if len(known.budgeted) > ACCOUNTS_MAX:
            known.budgeted.clear()
        missing = [(rule, account) for account, rule in rules.items() if account not in known.budgeted]
        met = queries.account_ids(tx, missing)
        self._met_now = frozenset(met.values())
        known.budgeted.update(met)
        for place, accounts in found.items():
            known.bound[place] = tuple(known.budgeted[account] for _, account in accounts)

    def _rows(self, postings: Sequence[Posting], first_id: int, counted: Mapping[str, int]) -> list[queries.Row]:
        known = self._known
        return entry_rows(postings, first_id, counted, known.debits, known.credits, known.prices)

    def _learn(self, tx: Connection, postings: Sequence[Posting], now_at_us: int) -> None:
        known = self._known
        if len(known.debits) > ACCOUNTS_MAX:
            known.debits.clear()
            known.charges.clear()
            known.imprints.keep_accounts(known.credits.values())
        if len(known.prices) > PRICES_MAX:
            known.prices.clear()
        debits = {debit_of(p) for p in postings} - known.debits.keys()
        credit_accounts = {credit_of(p) for p in postings} - known.credits.keys()
        cost_rows = {dimensions: cost_row(dimensions) for dimensions in debits}
        credit_rows = {credit: other_row(*credit) for credit in credit_accounts}
        rows: list[queries.Row] = [*cost_rows.values(), *credit_rows.values()]
        ids = queries.intern_accounts(tx, rows)
        known.debits.update((dimensions, ids[row[0]]) for dimensions, row in cost_rows.items())
        known.charges.update((ids[row[0]], _charge(dimensions)) for dimensions, row in cost_rows.items())
        known.credits.update((credit, ids[row[0]]) for credit, row in credit_rows.items())
        tags = {row[0]: tags_of(dimensions) for dimensions, row in cost_rows.items()}
        queries.insert_account_tags(tx, [(ids[name], *tag) for name in tags for tag in tags[name].items()])
        known.imprints.accounts.update(
            (ids[row[0]], account_digest((ids[row[0]], *row), tags.get(row[0], {}).items())) for row in rows
        )
        for price in {id(p.hold.price): p.hold.price for p in postings}.values():
            if id(price) not in known.prices:
                document = _json.encode(price).decode()
                stored = queries.intern_price(tx, price.version, document, now_at_us)
                known.prices[id(price)] = price, stored[0]
                known.imprints.prices[stored[0]] = price_digest(stored)


def _charge(debit: Debit) -> Dimensions:
    key_id, team_id, user_id, end_user, provider, model, tags, organization_id = debit
    return charge(organization_id, team_id, user_id, key_id, end_user, provider, model, tags)


def _not_yet_posted(tx: Connection, postings: Sequence[Posting]) -> list[Posting]:
    there = queries.posted_attempts(tx, (posting.hold.request_id for posting in postings))
    return [p for p in postings if (p.hold.request_id, p.hold.attempt, p.kind) not in there]


def _counted(tx: Connection, postings: Sequence[Posting]) -> dict[str, int]:
    """For requests that were tried again: the attempt whose entry stands for the request in sums (0: one before)."""
    again = {posting[0][0] for posting in postings if posting[0][1] > 1}
    if not again:
        return {}
    counted = {request_id: 0 for request_id, _, _ in queries.posted_attempts(tx, again)}
    for posting in postings:
        request_id, attempt = posting.hold[:2]
        if request_id in again:
            counted.setdefault(request_id, attempt)
    return counted
