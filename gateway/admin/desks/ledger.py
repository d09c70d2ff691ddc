"""The ledger: proved, corrected by new entries alone, compared with a provider's bill; lost leases closed."""

from decimal import Decimal, InvalidOperation
from typing import Final
from zoneinfo import ZoneInfo

from billing.audit import Actor, AuditRow
from billing.corrections import Corrections, Transfer
from billing.cost_export import ExportUnreadable, read_export
from billing.holds import EntryKind
from billing.ledger_costs import compared
from billing.lost_leases import demand_lost
from billing.money import parse_usd, usd_text
from billing.price_book import PriceBook
from billing.price_table import PriceTable
from billing.queries import corrections as q
from billing.reconcile import Difference, NoRate, Reconciliation
from billing.scopes import Dimensions
from billing.verify import verify
from gateway.admin import audit_shapes
from gateway.admin import ledger_shapes as shapes
from gateway.admin.desks.counter import Counter
from gateway.admin.door import Caller
from gateway.admin.instant import bound_at_us, instant_text
from gateway.admin.paging import seen
from gateway.admin.problem import Problem

_UTC: Final = ZoneInfo("UTC")
BY_HAND: Final = frozenset({"ledger.transfer", "ledger.adjust"})  # actions of the audit log
LEASE_ID_MAX: Final = 2**63 - 1


class LedgerDesk:
    def __init__(self, counter: Counter) -> None:
        self._counter: Final = counter
        self._engine: Final = counter.store.engine
        self._state: Final = counter.rooms.state
        self._corrections: Final = Corrections(self._engine, self._state, counter.store.watch)

    def verify(self) -> shapes.Verdict:
        self._counter.rooms.flush()
        verdict = verify(self._engine, self._state)
        problems = [
            shapes.LedgerProblem(
                kind=one.kind,
                batch_id=None if one.batch_id is None else str(one.batch_id),
                entry_ids=[str(entry_id) for entry_id in one.entry_ids],
                detail=one.sentence,
            )
            for one in verdict.problems
        ]
        return shapes.Verdict(ok=verdict.ok, batches=verdict.batches, entries=verdict.entries, problems=problems)

    def transfer(self, by: Caller, asked: shapes.TransferAsked, key: str | None) -> shapes.Transfer:
        def make(by: Caller) -> shapes.Transfer:
            return self._transfer(by.actor, asked)

        return self._counter.once(by, "transfers", key, asked, make, shapes.Transfer)

    def transfers(self, limit: int, after: str | None) -> shapes.PostedTransfers:
        """What was posted by hand, newest first."""
        data, rest = seen(
            self._counter.store.audit.page, lambda row: row.action in BY_HAND, lambda row: str(row.id), limit, after
        )
        return shapes.PostedTransfers(data=[posted_shown(row) for row in data], **rest._asdict())

    def leases(self) -> shapes.Leases:
        with self._engine.begin() as tx:
            found = q.list_leases(tx)
        return shapes.Leases(data=[lease_shown(one) for one in found])

    def close(self, by: Caller, lease_id: int, asked: shapes.CloseAsked) -> shapes.Closed:
        """For a lease of which nobody will ever know what became: its rest is posted as unknown."""
        with self._engine.begin() as tx:
            leases = {one.id: one for one in q.list_leases(tx)}
        lease = leases.get(lease_id)
        if lease is None:
            raise Problem(
                "not_found", f"There is no lease {lease_id}; GET /admin/v1/ledger/leases lists those that there are."
            )
        if not asked.force and self._state is not None:
            demand_lost(self._state, lease.journal)
        amount = self._corrections.close_lease(lease_id, asked.reason, by.actor, self._counter.now())
        self._counter.changed("budgets")
        return shapes.Closed(id=str(lease_id), amount_usd=usd_text(amount))

    def reconcile(self, export: bytes, asked: shapes.ReconcileAsked) -> shapes.Reconciliation:
        """Against a provider's own export: OpenAI's pages of costs, or a CSV with a header."""
        self._counter.rooms.flush()
        try:
            read = read_export(export, asked.timezone)
            book = PriceBook(
                PriceTable(), self._counter.store.price_list.live(), self._counter.rooms.configured_prices()
            )
            found = compared(self._engine, read, asked.provider, book.find, _rates(asked.rates))
        except (ExportUnreadable, NoRate) as error:
            raise Problem("invalid", f"{error}.") from error
        return reconciliation_shown(found)

    def _transfer(self, actor: Actor, asked: shapes.TransferAsked) -> shapes.Transfer:
        now_us, amount, kind = self._counter.now(), parse_usd(asked.amount_usd), EntryKind[asked.kind.upper()]
        self._counter.rooms.flush()
        if asked.request_id is not None:
            name, at_us = asked.request_id, now_us
            entry_id = self._corrections.adjust(name, asked.attempt or 1, amount, kind, asked.reason, actor, now_us)
        else:
            name = asked.id or self._counter.new_id("transfer")
            at_us = now_us if asked.at is None else _instant(asked.at)
            transfer = Transfer(name, charge_of(asked), amount, kind, asked.reason, at_us)
            entry_id = self._corrections.transfer(transfer, actor, now_us)
        self._counter.changed("budgets")
        return shapes.Transfer(
            id=name,
            entry_id=str(entry_id),
            kind=asked.kind,
            amount_usd=usd_text(amount),
            at=instant_text(at_us),
            reason=asked.reason,
        )


def posted_shown(row: AuditRow) -> shapes.PostedTransfer:
    after = row.after or {}
    return shapes.PostedTransfer(
        id=str(row.id),
        of=row.object_id,
        entry_ids=[str(entry_id) for entry_id in after["entries"]],
        amount_usd=usd_text(after["amount_nano_usd"]),
        reason=after["reason"],
        actor=audit_shapes.Actor(type=row.actor.type, id=row.actor.id),
        posted_at=instant_text(row.at_us),
    )


def charge_of(asked: shapes.TransferAsked) -> Dimensions:
    return Dimensions(
        organization_id=asked.organization_id,
        team_id=asked.team_id,
        user_id=asked.user_id,
        key_id=asked.key_id,
        end_user=asked.end_user,
        provider=asked.provider,
        model=asked.model,
        tags=tuple(sorted(f"{name}={value}" if value else name for name, value in asked.tags.items())),
    )


def lease_shown(lease: q.Lease) -> shapes.Lease:
    return shapes.Lease(
        id=str(lease.id),
        budget_id=lease.budget_id,
        subject=lease.subject,
        amount_usd=usd_text(lease.amount_nano_usd),
        requests=lease.holds,
        taken_at=instant_text(lease.taken_at_us),
        journal=lease.journal,
    )


def reconciliation_shown(found: Reconciliation) -> shapes.Reconciliation:
    return shapes.Reconciliation(
        data=[_difference(row) for row in found.rows],
        provider_usd=f"{found.provider_usd:f}",
        ledger_usd=f"{found.ledger_usd:f}",
        unexplained_usd=f"{found.unexplained_usd:f}",
        by_reason={why.value: f"{amount:f}" for why, amount in found.by_reason.items()},
    )


def _difference(row: Difference) -> shapes.Difference:
    return shapes.Difference(
        from_=instant_text(row.from_at_us),
        to=instant_text(row.to_at_us),
        model=row.model,
        provider_usd=f"{row.provider_usd:f}",
        ledger_usd=f"{row.ledger_usd:f}",
        difference_usd=f"{row.difference_usd:f}",
        parts=[
            shapes.Part(why=part.why.value, amount_usd=f"{part.amount_usd:f}", detail=part.sentence)
            for part in row.parts
        ],
    )


def _rates(given: str) -> dict[str, Decimal]:
    rates = {}
    for word in (part.strip() for part in given.split(",") if part.strip()):
        name, _, rate = word.partition("=")
        try:
            rates[name] = Decimal(rate)
        except InvalidOperation:
            raise Problem("invalid", f"`{word[:60]}` is no rate: give USD per unit, as in `EUR=1.08`.") from None
    return rates


def _instant(text: str) -> int:
    try:
        return bound_at_us(text, _UTC)
    except (ValueError, OverflowError) as error:
        raise Problem("invalid", f"`at` is no time: {error}.") from error
