"""The ledger's side of a reconciliation: what it has for each span and model of one provider."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from billing.cost_export import Export
from billing.queries import corrections as q
from billing.reconcile import Cell, Reconciliation, Why, reconcile
from billing.repricing import FindPrice, would_change
from billing.usage import UsageLine, usage

HOUR_US = 3_600_000_000
_UTC = ZoneInfo("UTC")


def compared(
    engine: Engine, export: Export, provider: str, find: FindPrice, rates: Mapping[str, Decimal] | None = None
) -> Reconciliation:
    """A provider's export with the ledger. Attempts are priced anew, one by one, of those days alone that differ."""
    first = reconcile(export, cells(engine, export.spans, provider), rates)
    apart = (row for row in first.rows if any(part.why is not Why.ROUNDING for part in row.parts))
    differing = sorted({(row.from_at_us, row.to_at_us) for row in apart})
    repriced = would_change(engine, differing, provider, find)
    if not any(repriced.values()):
        return first
    return reconcile(export, cells(engine, export.spans, provider, repriced), rates)


def cells(
    engine: Engine,
    spans: Sequence[tuple[int, int]],
    provider: str,
    repriced: Mapping[tuple[int, str], int] | None = None,
) -> list[Cell]:
    """`repriced` is by a span's begin and a model: what the cost would change by at the prices in force now."""
    found: list[Cell] = []
    if not spans:
        return found
    with engine.begin() as tx:
        unpriced = q.unpriced_attempts(tx, (spans[0][0], spans[-1][1]), provider)
        for begin, end in spans:
            first, last = begin + HOUR_US, end - HOUR_US
            in_first = _by_model(tx, (begin, min(first, end)), provider)
            in_last = _by_model(tx, (max(last, begin), end), provider)
            for model, line in _by_model(tx, (begin, end), provider).items():
                found.append(
                    Cell(
                        begin,
                        end,
                        model,
                        line.cost_nano_usd,
                        line.estimated_nano_usd,
                        line.requests,
                        sum(count for at_us, name, count in unpriced if begin <= at_us < end and name == model),
                        (repriced or {}).get((begin, model), 0),
                        in_first.get(model, UsageLine()).cost_nano_usd,
                        in_last.get(model, UsageLine()).cost_nano_usd,
                    )
                )
    return found


def _by_model(tx: Connection, span: tuple[int, int], provider: str) -> dict[str, UsageLine]:
    lines = usage(tx, ("model",), span, _UTC, {"provider": provider})
    return {model or "": line for (model,), line in lines.items()}
