"""Compares a provider's charges with the ledger, day by day and model by model, and explains each difference. Pure.

The parts of a difference add up to it exactly, and all differences to that of the totals: Decimal throughout, and an
inexact step is an error rather than a rounding.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, localcontext
from enum import StrEnum
from typing import Final

from billing.cost_export import USD, Charge, Export

_NANO: Final = Decimal("1e-9")
_HALF_NANO: Final = Decimal("0.5e-9")
_ZERO: Final = Decimal(0)
_EXACT: Final = Context(prec=200, traps=[Inexact])
_OF_ITEM: Final = re.compile(r"\s*[,|].*", re.DOTALL)
_DATED: Final = re.compile(r"-(?:\d{4}-\d\d-\d\d|\d{8}|latest)$", re.ASCII)


class Why(StrEnum):
    ROUNDING = "rounding"
    CURRENCY = "currency"
    REPRICE = "reprice"
    UNPRICED = "unpriced"
    ESTIMATED = "estimated"
    DAY_BOUNDARY = "day_boundary"
    NOT_IN_LEDGER = "not_in_ledger"
    ONLY_IN_LEDGER = "only_in_ledger"
    UNEXPLAINED = "unexplained"


class NoRate(ValueError):
    """A rate that is no number above zero."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What the ledger has for one span and model. `first` and `last` are its cost in the hours at the span's ends."""

    from_at_us: int
    to_at_us: int
    model: str
    cost_nano_usd: int
    estimated_nano_usd: int = 0  # the part of the cost that is a bound: estimated, or unknown and charged whole
    requests: int = 0
    unpriced_requests: int = 0
    repriced_nano_usd: int = 0  # what the cost would change by at the prices in force now
    first_nano_usd: int = 0
    last_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    why: Why
    amount_usd: Decimal
    sentence: str


@dataclass(frozen=True, slots=True)
class Difference:
    """`difference_usd` is what the provider charged beyond the ledger; its parts add up to it."""

    from_at_us: int
    to_at_us: int
    model: str | None
    provider_usd: Decimal
    ledger_usd: Decimal
    difference_usd: Decimal
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    rows: tuple[Difference, ...]
    provider_usd: Decimal
    ledger_usd: Decimal
    by_reason: Mapping[Why, Decimal]

    @property
    def unexplained_usd(self) -> Decimal:
        return self.by_reason.get(Why.UNEXPLAINED, _ZERO)


@dataclass(slots=True)
class _Pair:
    """One span and model on both sides, while its difference is being explained."""

    span: tuple[int, int]
    model: str | None
    charges: list[Charge] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    provider_usd: Decimal = _ZERO
    rest: Decimal = _ZERO
    parts: list[Part] = field(default_factory=list)

    def ledger(self, name: str) -> Decimal:
        return self.count(name) * _NANO

    def count(self, name: str) -> int:
        return sum(int(getattr(cell, name)) for cell in self.cells)

    def explain(self, why: Why, amount: Decimal, sentence: str) -> None:
        if amount:
            self.rest -= amount
            self.parts.append(Part(why, amount, sentence))


def reconcile(export: Export, cells: Iterable[Cell], rates: Mapping[str, Decimal] | None = None) -> Reconciliation:
    """`rates` are USD per unit of another currency; without one, its lines are shown and not converted."""
    rates = {name.lower(): rate for name, rate in (rates or {}).items()}
    for name, rate in rates.items():
        if not (rate.is_finite() and rate > 0 and -20 < rate.adjusted() < 20 and len(rate.as_tuple().digits) < 40):
            raise NoRate(f"{name}={rate} is no rate: give USD per unit, as in EUR=1.08")
    with localcontext(_EXACT):
        pairs = list(_pairs(export, cells))
        for pair in pairs:
            _begin(pair, rates)
        _over_midnight(pairs)
        for pair in pairs:
            _end(pair)
        return _answer(pairs)


def base_name(name: str) -> str:
    """A model's name without what one side has and the other has not: its kind of tokens, a path, a date."""
    plain = _OF_ITEM.sub("", name).strip().lower().replace(" ", "-").rpartition("/")[2]
    return _DATED.sub("", plain)


def _pairs(export: Export, cells: Iterable[Cell]) -> Iterator[_Pair]:
    charges: dict[tuple[int, int], list[Charge]] = defaultdict(list)
    for charge in export.charges:
        charges[charge.from_at_us, charge.to_at_us].append(charge)
    kept: dict[tuple[int, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        kept[cell.from_at_us, cell.to_at_us].append(cell)
    for span in sorted({*export.spans, *charges, *kept}):
        yield from _of_span(span, charges[span], kept[span])


def _of_span(span: tuple[int, int], charges: Sequence[Charge], cells: Sequence[Cell]) -> Iterator[_Pair]:
    by_model: dict[str | None, _Pair] = {}
    # A line that names no model can only be compared with the sum of all of them.
    whole = any(charge.item is None for charge in charges)
    for charge in charges:
        name = None if charge.item is None or whole else base_name(charge.item)
        by_model.setdefault(name, _Pair(span, name)).charges.append(charge)
    for cell in cells:
        name = None if whole else base_name(cell.model)
        by_model.setdefault(name, _Pair(span, name)).cells.append(cell)
    yield from (by_model[name] for name in sorted(by_model, key=str))


def _begin(pair: _Pair, rates: Mapping[str, Decimal]) -> None:
    converted = [(charge, rates.get(charge.currency)) for charge in pair.charges]
    pair.provider_usd = sum(
        (charge.amount if charge.currency == USD else charge.amount * (rate or _ZERO) for charge, rate in converted),
        _ZERO,
    )
    pair.rest = pair.provider_usd - pair.ledger("cost_nano_usd")
    if abs(pair.rest) <= _rounding(pair):
        return
    foreign = [charge for charge, rate in converted if charge.currency != USD and rate is None and charge.amount]
    if foreign and pair.rest < 0:
        said = ", ".join(f"{charge.amount:f} {charge.currency.upper()}" for charge in foreign)
        pair.explain(Why.CURRENCY, pair.rest, f"the export has {said} here, which no rate converts: give its rate")
    told = "at the prices known now for that time the ledger would have this: `turnpike prices reprice` posts it"
    _known(pair, Why.REPRICE, pair.ledger("repriced_nano_usd"), told)
    unpriced = pair.count("unpriced_requests")
    if unpriced and pair.rest > 0:
        told = f"{unpriced} attempts had no price: import one, then run `turnpike prices reprice`"
        pair.explain(Why.UNPRICED, pair.rest, told)
    estimated = pair.ledger("estimated_nano_usd")
    if pair.rest < 0:
        told = f"{estimated:f} USD of the ledger's are bounds of attempts whose usage never arrived"
        pair.explain(Why.ESTIMATED, max(pair.rest, -estimated), told)


def _known(pair: _Pair, why: Why, amount: Decimal, sentence: str) -> None:
    """As much of a known amount as the rest has room for, and nothing where it points the other way."""
    if amount * pair.rest > 0:
        pair.explain(why, min(amount, pair.rest) if amount > 0 else max(amount, pair.rest), sentence)


def _over_midnight(pairs: Sequence[_Pair]) -> None:
    """The ledger dates an attempt by its start, a provider by its own clock: near a day's end they may differ."""
    by_start = {(pair.span[0], pair.model): pair for pair in pairs}
    for pair in pairs:
        after = by_start.get((pair.span[1], pair.model))
        if after is None or pair.rest * after.rest >= 0:
            continue
        if pair.rest < 0:
            near, told = pair.ledger("last_nano_usd"), "begun in the day's last hour and charged to the next"
        else:
            near, told = after.ledger("first_nano_usd"), "begun in the next day's first hour and charged to this"
        moved = min(abs(pair.rest), abs(after.rest), max(near, _ZERO))
        if moved:
            signed = moved if pair.rest > 0 else -moved
            pair.explain(Why.DAY_BOUNDARY, signed, told)
            after.explain(Why.DAY_BOUNDARY, -signed, f"the other side of: {told}")


def _end(pair: _Pair) -> None:
    if abs(pair.rest) <= _rounding(pair):
        pair.explain(Why.ROUNDING, pair.rest, "the export's last decimals, and a nano-dollar's rounding per attempt")
    elif not pair.cells:
        pair.explain(Why.NOT_IN_LEDGER, pair.rest, "the ledger has no attempt of this: the account serves others too")
    elif not pair.charges:
        pair.explain(Why.ONLY_IN_LEDGER, pair.rest, "the export has no line for this: it may not be billed yet")
    else:
        pair.explain(Why.UNEXPLAINED, pair.rest, "compare the prices, and the attempts of that day with the provider")


def _rounding(pair: _Pair) -> Decimal:
    steps = sum((charge.half_step for charge in pair.charges), _ZERO)
    return steps + _HALF_NANO * pair.count("requests")


def _answer(pairs: Sequence[_Pair]) -> Reconciliation:
    rows = tuple(
        Difference(
            *pair.span,
            pair.model,
            pair.provider_usd,
            pair.ledger("cost_nano_usd"),
            pair.provider_usd - pair.ledger("cost_nano_usd"),
            tuple(pair.parts),
        )
        for pair in pairs
    )
    by_reason: dict[Why, Decimal] = {}
    for part in (part for row in rows for part in row.parts):
        by_reason[part.why] = by_reason.get(part.why, _ZERO) + part.amount_usd
    return Reconciliation(
        rows,
        sum((row.provider_usd for row in rows), _ZERO),
        sum((row.ledger_usd for row in rows), _ZERO),
        by_reason,
    )
