"""What people and commands post: adjustments, refunds, opening balances, new prices for old attempts, leases closed as
unknown. In the control plane's own chain of batches, one transaction each, and each told in the audit log.

An entry is never changed: what was wrong gets another entry with the difference, at the instant of what it corrects, so
that days and windows keep what belongs to them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

from billing import queries
from billing.audit import Actor, record
from billing.audit_head import AuditHead
from billing.budget_events import Watch
from billing.database import writing
from billing.entry_rows import WRITERS_MAX, quarter_rows, quarter_sums
from billing.heads import Heads
from billing.holds import REQUEST_ID_CHARS_MAX, EntryKind
from billing.interned import CostDimensions, cost_row, other_row, tags_of
from billing.ledger import EPOCH_US
from billing.money import AMOUNT_NANO_USD_MAX
from billing.price import UNPRICED, Price, Usage
from billing.queries import corrections as q
from billing.refusals import AlreadyExists, Invalid, NotFound
from billing.repricing import ATTEMPTS_IN_ONE, BY_HAND, FindPrice, differences
from billing.scopes import Account, Dimensions, Rule, Rulebook
from billing.seal import WHOLE, account_digest, batch_hash, closing_name, head_of, price_digest
from billing.usage_span import QUARTER_US

if TYPE_CHECKING:
    from billing.alerts import BudgetEvent

WRITER: Final = WRITERS_MAX - 1  # the control plane's; workers count from 0
REASON_CHARS_MAX: Final = 1000
KINDS: Final = frozenset({EntryKind.ADJUSTMENT, EntryKind.REFUND, EntryKind.OVERRUN, EntryKind.OPENING})
CREDITS: Final[Mapping[EntryKind, str]] = {EntryKind.OPENING: "opening"}  # the others: payable

_AT, _KIND, _SEQUENCE = 18, 4, 5
_json: Final = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount for whoever `charge` names. The id is the caller's, and used once."""

    id: str
    charge: Dimensions
    amount_nano_usd: int
    kind: EntryKind
    reason: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Repriced:
    attempts: int
    amount_nano_usd: int  # what the ledger has more than before, or would have
    unpriceable: int


@dataclass(frozen=True, slots=True)
class _Line:
    """An entry to be, and the charge by which budgets know it; None: of no budget that a charge matches."""

    request_id: str
    attempt: int
    kind: int
    sequence: int
    debit: int
    credit: int
    amount_nano_usd: int
    price_id: int
    at_us: int
    charge: Dimensions | None


class _Made(NamedTuple):
    """What a correction comes to, for the transaction that it is made in."""

    lines: list[_Line]
    object_id: str
    told: int = 0  # its maker's own: what a lease held, how many attempts have no price


class Corrections:
    def __init__(self, engine: Engine, state: Path | None = None, watch: Watch | None = None) -> None:
        """The chain's head is kept below `state`, as a worker's is. `watch` hears of what crosses a threshold."""
        self._engine = writing(engine)
        self._heads = Heads(state, engine) if state is not None else None
        self._audit_head = AuditHead(state, engine) if state is not None else None
        self._watch = watch

    def transfer(self, transfer: Transfer, actor: Actor, now_at_us: int) -> int:
        """Posts it; answers the entry's id."""
        _demand(transfer)
        make = partial(_transferred, transfer=transfer, now_at_us=now_at_us)
        return self._append(make, actor, "ledger.transfer", transfer.reason, now_at_us)[0]

    def adjust(
        self,
        request_id: str,
        attempt: int,
        amount_nano_usd: int,
        kind: EntryKind,
        reason: str,
        actor: Actor,
        now_at_us: int,
    ) -> int:
        """The difference to what an attempt was charged, to the same accounts at the same instant."""
        _demand_amount(amount_nano_usd, kind, reason)

        def make(tx: Connection) -> _Made:
            found = [each for each in q.entries_of_attempts(tx, [request_id]) if each.row[3] == attempt]
            if not found:
                raise NotFound(
                    f"the ledger has no attempt {attempt} of {request_id!r}: `turnpike ledger show` lists them"
                )
            price_id = _price_id(tx, BY_HAND, now_at_us)
            return _Made([_after(tx, found, int(kind), amount_nano_usd, price_id)], f"{request_id}/{attempt}")

        return self._append(make, actor, "ledger.adjust", reason, now_at_us)[0]

    def close_lease(self, lease_id: int, reason: str, actor: Actor, now_at_us: int) -> int:
        """What it still holds is posted as unknown to a suspense account of its budget and pends no longer; answers
        the amount. For a lease whose owner is gone and whose journal cannot be read: nobody checks that here.
        """
        _demand_reason(reason)
        make = partial(_closed, lease_id=lease_id, now_at_us=now_at_us)
        return self._append(make, actor, "ledger.close_lease", reason, now_at_us)[1].told

    def reprice(
        self,
        span: tuple[int, int],
        find: FindPrice,
        actor: Actor,
        now_at_us: int,
        *,
        provider: str | None = None,
        model: str | None = None,
        everything: bool = False,
        dry_run: bool = False,
    ) -> Repriced:
        """Attempts of that span at the prices in force at their time; those alone that had none, or `everything`. A
        second time changes nothing. What was posted by hand stays beside it.
        """
        attempts = amount = unpriceable = 0
        with self._engine.begin() as tx:
            ids = q.span_of_entries(tx, *span)
        version = None if everything else UNPRICED.version
        while ids is not None:
            with self._engine.begin() as tx:
                stretch = q.priceable(tx, ids, span, (provider, model), version, ATTEMPTS_IN_ONE)
            if not stretch:
                break
            ids = stretch[-1][0] + 1, ids[1]
            make = partial(_repriced, stretch=stretch, find=find, now_at_us=now_at_us)
            reason = "prices in force at the attempts' time"
            _, made = self._append(make, actor, "ledger.reprice", reason, now_at_us, dry_run=dry_run)
            attempts += len(made.lines)
            amount += sum(line.amount_nano_usd for line in made.lines)
            unpriceable += made.told
        return Repriced(attempts, amount, unpriceable)

    def _append(
        self,
        make: Callable[[Connection], _Made],
        actor: Actor,
        action: str,
        reason: str,
        now_at_us: int,
        *,
        dry_run: bool = False,
    ) -> tuple[int, _Made]:
        """One batch in one transaction; answers its first entry's id, 0 where there was nothing to post."""
        with self._engine.connect() as tx:
            queries.share_budgets(tx)
            q.own_chain(tx)
            made = make(tx)
            lines = made.lines
            before = end = queries.chain_end(tx, WRITER)
            first_id = 0
            crossed: tuple[BudgetEvent, ...] = ()
            if lines:
                posted = _posted_to(tx, lines)
                first_id = max(((now_at_us - EPOCH_US) << 12) | WRITER, end[0] + WRITERS_MAX)
                end = _write(tx, lines, first_id, end[1], now_at_us)
                queries.post_to_accounts(tx, posted, {}, "")
                if self._watch is not None:
                    crossed = self._watch.alerts.crossed(tx, posted, queries.budget_rules(tx), now_at_us)
            if lines or action == "ledger.close_lease":
                after = {
                    "reason": reason,
                    "entries": [first_id + place * WRITERS_MAX for place in range(len(lines))],
                    "amount_nano_usd": sum(line.amount_nano_usd for line in lines),
                }
                record(tx, actor, action, made.object_id, None, after, now_at_us)
            if dry_run:
                tx.rollback()
                return first_id, made
            tx.commit()
        if self._heads is not None and end != before:
            self._heads.put(WRITER, end, before[1], now_at_us, shared=True)
        if self._audit_head is not None:
            self._audit_head.put(now_at_us)
        if self._watch is not None and crossed:
            self._watch.on_crossed(crossed)
        return first_id, made


def _transferred(tx: Connection, transfer: Transfer, now_at_us: int) -> _Made:
    if q.request_named(tx, transfer.id):
        raise AlreadyExists(f"{transfer.id!r} is posted already: take another id for another transfer")
    c = transfer.charge
    dimensions = (c.key_id, c.team_id, c.user_id, c.end_user, c.provider, c.model, c.tags, c.organization_id)
    line = _Line(
        *(transfer.id, 0, int(transfer.kind), 0, _cost_account(tx, dimensions)),
        _other_account(tx, CREDITS.get(transfer.kind, "payable"), c.provider),
        transfer.amount_nano_usd,
        _price_id(tx, BY_HAND, now_at_us),
        transfer.at_us,
        c,
    )
    return _Made([line], transfer.id)


def _closed(tx: Connection, lease_id: int, now_at_us: int) -> _Made:
    lease = q.lease_locked(tx, lease_id)
    if lease is None:
        raise NotFound(f"there is no lease {lease_id}: `turnpike ledger show` lists those that there are")
    lines = [_closing(tx, lease, now_at_us)] if lease.amount_nano_usd else []
    q.end_lease(tx, lease)
    return _Made(lines, str(lease_id), lease.amount_nano_usd)


def _repriced(tx: Connection, stretch: Sequence[tuple[int, str]], find: FindPrice, now_at_us: int) -> _Made:
    """The differences, and how many attempts nobody has a price for."""
    found, without = differences(tx, stretch, find)
    lines = []
    for one in found:
        # What was an estimate stays one; what was exact is adjusted.
        estimated = one.first.row[_KIND] == EntryKind.ESTIMATED
        kind = int(EntryKind.ESTIMATED if estimated else EntryKind.ADJUSTMENT)
        price_id = _price_id(tx, one.price, now_at_us)
        lines.append(_after(tx, [one.first, *one.entries], kind, one.more_nano_usd, price_id))
    return _Made(lines, f"{stretch[0][0]}..{stretch[-1][0]}", without)


def _demand(transfer: Transfer) -> None:
    _demand_amount(transfer.amount_nano_usd, transfer.kind, transfer.reason)
    if not 0 < len(transfer.id) <= REQUEST_ID_CHARS_MAX:
        raise Invalid(f"an id has 1 to {REQUEST_ID_CHARS_MAX} characters: {transfer.id[:60]!r} has {len(transfer.id)}")
    if transfer.at_us <= EPOCH_US:
        raise Invalid("a transfer is dated after 2025 began: give the instant that it belongs to")


def _demand_amount(amount_nano_usd: int, kind: EntryKind, reason: str) -> None:
    _demand_reason(reason)
    if kind not in KINDS:
        known = ", ".join(sorted(kind.name.lower() for kind in KINDS))
        raise Invalid(f"{kind.name.lower()} is not posted by hand: use one of {known}")
    if not 0 < abs(amount_nano_usd) <= AMOUNT_NANO_USD_MAX // 1000:
        raise Invalid(f"{amount_nano_usd} nano-USD cannot be posted: give an amount that is not nothing, in reason")
    if kind is EntryKind.REFUND and amount_nano_usd > 0:
        raise Invalid("a refund takes from the cost: give it with a minus")
    if kind in {EntryKind.OVERRUN, EntryKind.OPENING} and amount_nano_usd < 0:
        raise Invalid(f"{kind.name.lower()} adds to the cost: give it without a minus")


def _demand_reason(reason: str) -> None:
    if not 0 < len(reason.strip()) <= REASON_CHARS_MAX:
        raise Invalid(f"say why, in 1 to {REASON_CHARS_MAX} characters: the audit log keeps it")


def _cost_account(tx: Connection, dimensions: CostDimensions) -> int:
    row = cost_row(dimensions)
    account_id = queries.intern_accounts(tx, [row])[row[0]]
    queries.insert_account_tags(tx, [(account_id, *tag) for tag in tags_of(dimensions).items()])
    return account_id


def _other_account(tx: Connection, side: str, provider: str | None) -> int:
    row = other_row(side, provider)
    return queries.intern_accounts(tx, [row])[row[0]]


def _price_id(tx: Connection, price: Price, now_at_us: int) -> int:
    return int(queries.intern_price(tx, price.version, _json.encode(price).decode(), now_at_us)[0])


def _after(tx: Connection, found: Sequence[q.Posted], kind: int, amount: int, price_id: int) -> _Line:
    """Another entry of the same attempt: to its accounts, at its instant, by the next number of its kind."""
    first = found[0]
    _, _, request_id, attempt, _, _, debit, _, *_ = first.row
    sequence = 1 + max((each.row[_SEQUENCE] for each in found if each.row[_KIND] == kind), default=-1)
    (_, _, _, key, team, user, end_user, provider, model, organization) = first.account
    tags = tuple(f"{name}={value}" if value else name for name, value in q.tags_by_account(tx, [debit]).get(debit, ()))
    return _Line(
        *(request_id, attempt, kind, sequence, debit, _other_account(tx, "payable", provider), amount, price_id),
        first.row[_AT],
        Dimensions(organization, team, user, key, end_user, provider, model, tags),
    )


def _closing(tx: Connection, lease: q.Lease, now_at_us: int) -> _Line:
    name = closing_name(lease.budget_id, lease.subject, lease.window_start_us)
    row = (name, "suspense", None, None, None, None, None, None, None)
    return _Line(
        *(f"lease_{lease.id}_{now_at_us}", 0, int(EntryKind.UNKNOWN), 0),
        queries.intern_accounts(tx, [row])[name],
        _other_account(tx, "payable", None),
        lease.amount_nano_usd,
        _price_id(tx, BY_HAND, now_at_us),
        lease.taken_at_us,
        None,
    )


def _posted_to(tx: Connection, lines: Sequence[_Line]) -> dict[int, int]:
    """What the lines add to which budget accounts, made where missing; so it goes first."""
    rulebook = Rulebook(tuple(queries.budget_rules(tx)))
    posted: dict[Account, int] = {}
    rules: dict[Account, Rule] = {}
    for line in lines:
        if line.charge is not None:
            for rule, account in rulebook.accounts(line.charge, line.at_us - line.at_us % QUARTER_US):
                rules[account] = rule
                posted[account] = posted.get(account, 0) + line.amount_nano_usd
    ids = queries.account_ids(tx, [(rule, account) for account, rule in rules.items()])
    return {ids[account]: amount for account, amount in posted.items()}


def _write(
    tx: Connection, lines: Sequence[_Line], first_id: int, prev_hash: bytes, now_at_us: int
) -> tuple[int, bytes]:
    rows = [
        (
            *(first_id + place * WRITERS_MAX, first_id, line.request_id, line.attempt, line.kind, line.sequence),
            *(line.debit, line.credit, line.amount_nano_usd, 0, *Usage(), line.price_id, line.at_us),
        )
        for place, line in enumerate(lines)
    ]
    queries.insert_entries(tx, rows)
    named = {line.debit for line in lines} | {line.credit for line in lines}
    tags = q.tags_by_account(tx, named)
    accounts = {row[0]: account_digest(row, tags.get(row[0], ())) for row in q.accounts_by_id(tx, named)}
    prices = {row[0]: price_digest(row) for row in q.prices_by_id(tx, {line.price_id for line in lines})}
    head = head_of(rows, WRITER, now_at_us)
    batch = queries.BatchRow(*head, prev_hash, batch_hash(prev_hash, head, rows, accounts, prices), WHOLE)
    queries.insert_batch(tx, batch)
    if any(line.charge is not None for line in lines):
        # A closed lease, which is nobody's charge, bounds what a budget may have lost: no cost of anybody's.
        queries.add_to_usage(tx, quarter_rows(quarter_sums(rows)))
    return batch.last_id, batch.hash
