"""Prices that people gave, as the database keeps them: added, imported, retired, never changed.

Each change is in the audit log, and the version of `prices` in `control` tells every worker to read the list anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from billing import queries
from billing.audit import Actor, record
from billing.database import writing
from billing.price_rows import ListedPrice, document_of, fields_of, rates_in, utc_text
from billing.refusals import AlreadyExists, Invalid, NotFound

IMPORT_ROWS_MAX: Final = 10_000
FILTERS: Final = frozenset({"provider", "model", "team_id"})


@dataclass(frozen=True, slots=True)
class PricePage:
    data: tuple[ListedPrice, ...]
    has_more: bool
    next: str | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made, and what stood there already: brought twice, a file changes nothing."""

    created: tuple[ListedPrice, ...]
    unchanged: int


class PriceList:
    def __init__(self, engine: Engine) -> None:
        self._reading = engine
        self._writing = writing(engine)

    def list(
        self, limit: int, after: str | None = None, filters: Mapping[str, str] | None = None, *, retired: bool = False
    ) -> PricePage:
        filters = filters or {}
        for name in filters:
            if name not in FILTERS:
                raise Invalid(f"{name!r} is no filter here: use {', '.join(sorted(FILTERS))}")
        with self._reading.begin() as tx:
            found = [_row(row) for row in queries.list_prices(tx, limit + 1, after, filters, retired=retired)]
        data, more = tuple(found[:limit]), len(found) > limit
        return PricePage(data, more, data[-1].id if more else None)

    def live(self) -> tuple[ListedPrice, ...]:
        """Every row that is not retired, for the book."""
        with self._reading.begin() as tx:
            return tuple(_row(row) for row in queries.live_prices(tx))

    def get(self, price_id: str) -> ListedPrice | None:
        with self._reading.begin() as tx:
            row = queries.get_price(tx, price_id)
        return _row(row) if row else None

    def create(self, price: ListedPrice, actor: Actor) -> ListedPrice:
        """Adds a row, as of its `created_at_us`."""
        try:
            with self._writing.begin() as tx:
                self._add(tx, [price], actor)
        except IntegrityError:
            raise AlreadyExists(f"a price {price.id!r} exists or existed: take another id") from None
        return price

    def retire(self, price_id: str, actor: Actor, now_at_us: int) -> ListedPrice:
        """From now on it prices nothing. What it has priced keeps its version; a second time changes nothing."""
        with self._writing.begin() as tx:
            row = queries.get_price(tx, price_id, locked=True)
            if row is None:
                raise NotFound(f"no price {price_id!r}: list them to see which there are")
            price = _row(row)
            if price.deleted_at_us is not None:
                return price
            queries.retire_price(tx, price_id, now_at_us)
            record(tx, actor, "price.retire", price_id, told(price), None, now_at_us)
            queries.bump_control(tx, "prices")
            retired = queries.get_price(tx, price_id)
        assert retired is not None
        return _row(retired)

    def import_(self, prices: Sequence[ListedPrice], actor: Actor, *, dry_run: bool = False) -> Imported:
        """All of them or none, less those that say what is in force at their time anyway."""
        if len(prices) > IMPORT_ROWS_MAX:
            raise Invalid(f"{len(prices)} prices at once are too many: bring at most {IMPORT_ROWS_MAX}")
        with self._writing.begin() as tx:
            known = _by_name([_row(row) for row in queries.live_prices(tx)])
            new = [price for price in prices if not _stands(known.get(_name(price), ()), price)]
            if new and not dry_run:
                self._add(tx, new, actor)
            elif new:
                _demand_teams(tx, new)
        return Imported(tuple(new), len(prices) - len(new))

    def _add(self, tx: Connection, prices: Sequence[ListedPrice], actor: Actor) -> None:
        """Each takes the place of what there was for the same name and instant."""
        _demand_teams(tx, prices)
        replaced = []
        for price in prices:
            for row in queries.rows_at(tx, _name(price), price.effective_at_us):
                queries.retire_price(tx, row[0], price.created_at_us)
                replaced.append(_row(row))
        queries.insert_prices(tx, [_values(price) for price in prices])
        before = {"prices": [{"id": price.id, **told(price)} for price in replaced]} if replaced else None
        if len(prices) == 1:
            action, after = "price.create", told(prices[0])
        else:
            action, after = "price.import", {"prices": [{"id": price.id, **told(price)} for price in prices]}
        record(tx, actor, action, prices[0].id, before, after, prices[0].created_at_us)
        queries.bump_control(tx, "prices")


def told(price: ListedPrice) -> dict[str, Any]:
    """A row as the audit log has it."""
    return {
        "provider": price.provider,
        "model": price.model,
        "team_id": price.team_id,
        **fields_of(price.rates),
        "effective_at": utc_text(price.effective_at_us),
        "source": price.source,
    }


def _demand_teams(tx: Connection, prices: Sequence[ListedPrice]) -> None:
    for team_id in sorted({price.team_id for price in prices if price.team_id is not None}):
        if queries.get_team(tx, team_id) is None:
            raise NotFound(f"no team {team_id!r}: list them to see which there are")


def _name(price: ListedPrice) -> tuple[str, str, str | None]:
    return price.provider, price.model, price.team_id


def _by_name(prices: Sequence[ListedPrice]) -> dict[tuple[str, str, str | None], list[ListedPrice]]:
    found: dict[tuple[str, str, str | None], list[ListedPrice]] = {}
    for price in prices:
        found.setdefault(_name(price), []).append(price)
    return found


def _stands(rows: Sequence[ListedPrice], price: ListedPrice) -> bool:
    """Whether the list says the same for this price's time already."""
    in_force = [row for row in rows if row.effective_at_us <= price.effective_at_us]
    newest = max(in_force, key=lambda row: (row.effective_at_us, row.created_at_us, row.id), default=None)
    return newest is not None and newest.rates == price.rates


def _values(price: ListedPrice) -> queries.Row:
    return (
        *(price.id, price.provider, price.model, price.team_id, document_of(price.rates)),
        *(price.effective_at_us, price.source, price.created_at_us, price.deleted_at_us),
    )


def _row(row: queries.Row) -> ListedPrice:
    price_id, provider, model, team_id, document, effective_at_us, source, created_at_us, deleted_at_us = row
    rates = rates_in(document)
    return ListedPrice(price_id, provider, model, team_id, rates, effective_at_us, source, created_at_us, deleted_at_us)
