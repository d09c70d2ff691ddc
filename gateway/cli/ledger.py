"""`turnpike ledger`: proves the books, shows them, compares them with a provider's bill, closes a lost lease.

Works on the database itself, with or without a gateway: a proof does not go through what it proves.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.exc import SQLAlchemyError

from billing.audit import Actor
from billing.corrections import Corrections
from billing.cost_export import EXPORT_BYTES_MAX, ExportUnreadable, read_export
from billing.database import UnsupportedDatabase, open_engine
from billing.heads import read_heads
from billing.holds import EntryKind
from billing.ledger_costs import compared
from billing.lost_leases import demand_lost
from billing.migrating import MigrationFailed, behind
from billing.money import usd_text
from billing.price_book import PriceBook
from billing.price_list import PriceList
from billing.price_table import PriceTable
from billing.queries import ENTRY_COLUMNS
from billing.queries import corrections as q
from billing.reconcile import NoRate, Reconciliation
from billing.refusals import Conflict, Invalid, NotFound
from billing.verify import Problem, verify
from gateway.cli.refusal import Refused
from gateway.cli.tables import csv_text, fields, json_text, table
from gateway.configured_prices import configured_prices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from gateway.cli.situation import Situation
    from gateway.config.schema import Settings

BATCH_COLUMNS: Final = ("id", "last_id", "writer", "rows", "from_us", "to_us", "at_us", "prev_hash", "hash", "seal")
LEASE_COLUMNS: Final = ("lease", "budget", "subject", "amount_usd", "requests", "taken_at", "journal")
CHAIN_COLUMNS: Final = ("writer", "batches", "entries", "last_batch", "last_entry", "at", "head")
SHOWN_COLUMNS: Final = ("id", "batch_id", "request_id", "attempt", "kind", "sequence", "amount_usd", "at")
RECONCILE_COLUMNS: Final = (
    "from",
    "to",
    "model",
    "provider_usd",
    "ledger_usd",
    "difference_usd",
    "why",
    "part_usd",
    "says",
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def verify_ledger(here: Situation) -> int:
    """Status 1 where anything does not fit."""
    settings = here.settings()
    with books(settings) as engine:
        verdict = verify(engine, settings.state.directory)
    if here.option("json"):
        problems = [
            {"kind": p.kind, "batch_id": p.batch_id, "entry_ids": list(p.entry_ids), "detail": p.sentence}
            for p in verdict.problems
        ]
        said = {"ok": verdict.ok, "batches": verdict.batches, "entries": verdict.entries, "problems": problems}
        print(json_text(said))
    else:
        for problem in verdict.problems:
            print(_told(problem))
        told = "whole" if verdict.ok else f"NOT whole: {len(verdict.problems)} problems"
        print(f"{verdict.entries} entries in {verdict.batches} batches: the ledger is {told}")
    return 0 if verdict.ok else 1


def _told(problem: Problem) -> str:
    if not problem.entry_ids:
        return f"{problem.kind}: {problem.sentence}"
    return f"{problem.kind}: {problem.sentence}; its rows as stored: {' '.join(map(str, problem.entry_ids))}"


def show(here: Situation) -> None:
    """The chains and the open leases; or one request's entries; or a batch with its rows as stored."""
    settings = here.settings()
    wanted = here.option("id")
    with books(settings) as engine:
        shown = _overview(engine, settings) if wanted is None else _one(engine, wanted)
    if here.option("json"):
        print(json_text(shown))
        return
    for name, rows in shown.items():
        print(f"{name}:")
        columns = {"chains": CHAIN_COLUMNS, "leases": LEASE_COLUMNS, "entries": SHOWN_COLUMNS}.get(name)
        print(fields(rows) if columns is None else table(rows, columns))


def _overview(engine: Engine, settings: Settings) -> dict[str, Any]:
    heads = {head.writer: head for head in read_heads(settings.state.directory).values() if head is not None}
    with engine.begin() as tx:
        chains, leases = q.last_batches(tx), q.list_leases(tx)
    return {
        "chains": [
            {
                **dict(zip(CHAIN_COLUMNS[:4], map(int, row[:4]), strict=True)),
                "last_entry": row[4],
                "at": _time(row[5]),
                "head": heads[row[0]].last_id if row[0] in heads else None,
            }
            for row in chains
        ],
        "leases": [
            {
                "lease": lease.id,
                "budget": lease.budget_id,
                "subject": lease.subject,
                "amount_usd": usd_text(lease.amount_nano_usd),
                "requests": lease.holds,
                "taken_at": _time(lease.taken_at_us),
                "journal": lease.journal,
            }
            for lease in leases
        ],
    }


def _one(engine: Engine, wanted: str) -> dict[str, Any]:
    with engine.begin() as tx:
        if not wanted.isdecimal():
            rows = [each.row for each in q.entries_of_attempts(tx, [wanted])]
            batch = None
        else:
            batch = q.batch_of(tx, int(wanted)) if int(wanted) < 2**63 else None
            rows = q.batch_rows(tx, batch[0]) if batch is not None else []
    if not rows and batch is None:
        raise Refused(f"the ledger has no request, batch or entry {wanted!r}")
    entries = [_entry(dict(zip(ENTRY_COLUMNS, row, strict=True))) for row in rows]
    if batch is None:
        return {"entries": entries}
    stored = {name: _hex(value) for name, value in zip(BATCH_COLUMNS, batch, strict=True)}
    return {"batch": stored, "entries": entries}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    kind = row["kind"]
    known = kind in set(EntryKind)
    return {
        **row,
        "kind": EntryKind(kind).name.lower() if known else kind,
        "amount_usd": usd_text(row["amount_nano_usd"]),
        "at": _time(row["at_us"]),
    }


def _hex(value: Any) -> Any:
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


def _time(at_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")


def compare(here: Situation) -> int:
    """`ledger reconcile`. Status 1 where something stays unexplained."""
    zone = here.option("timezone") or "UTC"
    try:
        ZoneInfo(zone)
        export = read_export(_read(here.option("export")), zone)
        settings = here.settings()
        with books(settings) as engine:
            book = PriceBook(PriceTable(), PriceList(engine).live(), configured_prices(settings))
            found = compared(engine, export, here.option("provider"), book.find, _rates(here.option("rate")))
    except (ZoneInfoNotFoundError, ValueError) as error:
        if not isinstance(error, ExportUnreadable | NoRate | ZoneInfoNotFoundError):
            raise
        known = isinstance(error, ExportUnreadable | NoRate)
        raise Refused(str(error) if known else f"{zone!r} is no time zone: write it as Europe/Berlin") from None
    rows = _rows(found)
    match here.option("format"):
        case "json":
            print(json_text({"data": rows, **_totals(found)}))
        case "csv":
            sys.stdout.write(csv_text(rows, RECONCILE_COLUMNS))
        case _:
            print(table(rows, RECONCILE_COLUMNS))
            print(fields(_totals(found)))
    return 1 if found.unexplained_usd else 0


def _rows(found: Reconciliation) -> list[dict[str, Any]]:
    """A line for each part of a difference; one for what agrees."""
    rows = []
    for row in found.rows:
        amounts = (row.provider_usd, row.ledger_usd, row.difference_usd)
        whole = {
            "from": _time(row.from_at_us),
            "to": _time(row.to_at_us),
            "model": row.model,
            **dict(zip(RECONCILE_COLUMNS[3:6], (f"{amount:f}" for amount in amounts), strict=True)),
        }
        parts = [(part.why.value, f"{part.amount_usd:f}", part.sentence) for part in row.parts]
        rows += [
            {**whole, "why": why, "part_usd": amount, "says": says}
            for why, amount, says in parts or [("agrees", "0", "")]
        ]
    return rows


def _totals(found: Reconciliation) -> dict[str, Any]:
    return {
        "provider_usd": f"{found.provider_usd:f}",
        "ledger_usd": f"{found.ledger_usd:f}",
        **{f"{why.value}_usd": f"{amount:f}" for why, amount in found.by_reason.items()},
    }


def _read(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            return file.read(EXPORT_BYTES_MAX + 1)
    except OSError as error:
        raise Refused(f"the export cannot be read from {name}: {error.strerror}") from None


def _rates(given: list[str] | None) -> dict[str, Decimal]:
    rates = {}
    for word in given or []:
        name, _, rate = word.partition("=")
        try:
            rates[name] = Decimal(rate)
        except InvalidOperation:
            raise Refused(f"{word!r} is no rate: give USD per unit, as in EUR=1.08") from None
    return rates


def close(here: Situation) -> None:
    """Ends a lease of which nobody will ever know what became."""
    settings = here.settings()
    directory = settings.state.directory
    with books(settings) as engine:
        with engine.begin() as tx:
            leases = {lease.id: lease for lease in q.list_leases(tx)}
        lease = leases.get(here.option("lease"))
        try:
            if lease is not None and not here.option("force"):
                demand_lost(directory, lease.journal)
            amount = Corrections(engine, directory).close_lease(
                here.option("lease"),
                here.option("reason"),
                Actor("command"),
                time.time_ns() // 1000,  # noqa: TID251
            )
        except (Conflict, Invalid, NotFound) as error:
            raise Refused(str(error)) from None
    said = {"lease": here.option("lease"), "amount_usd": usd_text(amount), "posted_as": "unknown"}
    print(json_text(said) if here.option("json") else fields(said))


@contextmanager
def books(settings: Settings) -> Iterator[Engine]:
    """The database, at this release's schema."""
    try:
        engine = open_engine(settings.state.database_url)
    except (UnsupportedDatabase, SQLAlchemyError) as error:
        raise Refused(str(error)) from None
    try:
        try:
            with engine.begin() as tx:
                missing = behind(tx)
        except (SQLAlchemyError, MigrationFailed) as error:
            reason = getattr(error, "orig", None) or error
            raise Refused(f"the database in {settings.state.directory} cannot be opened: {reason}") from None
        if missing:
            raise Refused("the database is not at this release's schema: run `turnpike migrate` first")
        yield engine
    finally:
        engine.dispose()
