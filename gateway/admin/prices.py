"""`/admin/v1/prices`: prices by date and team, beside the table that ships with us."""

from collections.abc import Sequence
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import FastAPI, Header, Query

from billing.corrections import Corrections
from billing.money import usd_text
from billing.price_book import PriceBook
from billing.price_rows import ListedPrice
from billing.price_table import PriceTable
from gateway.admin import price_shapes as shapes
from gateway.admin.by import By
from gateway.admin.desks.counter import Counter, not_found
from gateway.admin.door import Caller
from gateway.admin.instant import bound_at_us
from gateway.admin.paging import seen
from gateway.admin.problem import Problem

CHANGED: Final = frozenset({"prices"})
SOURCE: Final = "admin"
_UTC: Final = ZoneInfo("UTC")


class PriceDesk:
    """Where the list is changed: the rows, and with them every worker's book."""

    def __init__(self, counter: Counter) -> None:
        self._counter: Final = counter
        self._rooms: Final = counter.rooms
        self._list: Final = counter.store.price_list
        self._table: Final = PriceTable()
        self._corrections: Final = Corrections(counter.store.engine, counter.rooms.state, counter.store.watch)

    def page(self, by: Caller, asked: shapes.PricesAsked) -> shapes.Prices:
        given = {"provider": asked.provider, "model": asked.model, "team_id": asked.team_id}
        filters = {name: value for name, value in given.items() if value is not None}
        data, rest = seen(
            lambda rows, behind: self._list.list(rows, behind, filters, retired=asked.retired),
            lambda row: sees(by, row.team_id),
            lambda row: row.id,
            asked.limit,
            asked.after,
        )
        return shapes.Prices(data=[shapes.price_shown(row) for row in data], **rest._asdict())

    def get(self, by: Caller, price_id: str) -> shapes.Price:
        found = self._list.get(price_id)
        if found is None or not sees(by, found.team_id):
            raise Problem("not_found", f"No price has the id `{price_id[:100]}`; GET /admin/v1/prices lists them.")
        return shapes.price_shown(found)

    def in_force(self, by: Caller, asked: shapes.InForceAsked) -> shapes.PriceInForce:
        """What a request of that team would pin at that time, by the list, the configuration, the shipped table."""
        if not sees(by, asked.team_id):
            raise not_found("team", asked.team_id or "", "/admin/v1/teams")
        at_us = self._rooms.clock() if asked.at is None else bound_at_us(asked.at, _UTC)
        book = PriceBook(self._table, self._list.live(), self._rooms.configured_prices())
        price = book.find(asked.provider, asked.model, asked.team_id, at_us)
        if price is None:
            raise Problem(
                "not_found",
                f"Nobody knows what `{asked.provider}/{asked.model}` costs then: give it a price with"
                " POST /admin/v1/prices, or `price` in the configuration.",
            )
        return shapes.in_force_shown(asked, price, at_us)

    def create(self, by: Caller, asked: shapes.NewPriceAsked, idempotency_key: str | None) -> shapes.Price:
        def make(by: Caller) -> shapes.Price:
            made = self._list.create(self._listed(asked, asked.id, None, None, self._rooms.clock()), by.actor)
            self._rooms.changed(CHANGED)
            return shapes.price_shown(made)

        return self._counter.once(by, "prices", idempotency_key, asked, make, shapes.Price)

    def import_(self, by: Caller, asked: shapes.ImportAsked, idempotency_key: str | None) -> shapes.Imported:
        def make(by: Caller) -> shapes.Imported:
            now_at_us = self._rooms.clock()
            rows = [self._listed(row, None, asked.effective_at, asked.source, now_at_us) for row in asked.prices]
            demand_distinct(rows)
            done = self._list.import_(rows, by.actor, dry_run=asked.dry_run)
            if done.created and not asked.dry_run:
                self._rooms.changed(CHANGED)
            shown = [shapes.price_shown(row) for row in done.created]
            return shapes.Imported(created=len(shown), unchanged=done.unchanged, dry_run=asked.dry_run, data=shown)

        return self._counter.once(by, "price-imports", idempotency_key, asked, make, shapes.Imported)

    def reprice(self, by: Caller, asked: shapes.RepriceAsked) -> shapes.Repriced:
        """Posts what attempts without a price should have cost, by the prices in force at their time."""
        now_at_us = self._rooms.clock()
        span = bound_at_us(asked.since, _UTC), now_at_us if asked.until is None else bound_at_us(asked.until, _UTC)
        if span[0] >= span[1]:
            raise Problem("invalid", "`until` must be later than `since`.")
        # What is settled and not yet in the ledger cannot be priced anew.
        self._rooms.flush()
        book = PriceBook(self._table, self._list.live(), self._rooms.configured_prices())
        done = self._corrections.reprice(
            span,
            book.find,
            by.actor,
            now_at_us,
            provider=asked.provider,
            model=asked.model,
            everything=asked.everything,
            dry_run=asked.dry_run,
        )
        if done.attempts and not asked.dry_run:
            self._rooms.changed(frozenset({"budgets"}))
        return shapes.Repriced(
            attempts=done.attempts,
            amount_usd=usd_text(done.amount_nano_usd),
            unpriceable=done.unpriceable,
            dry_run=asked.dry_run,
        )

    def retire(self, by: Caller, price_id: str) -> shapes.Price:
        retired = self._list.retire(price_id, by.actor, self._rooms.clock())
        self._rooms.changed(CHANGED)
        return shapes.price_shown(retired)

    def _listed(
        self, asked: shapes.PriceAsked, price_id: str | None, effective_at: str | None, source: str | None, now: int
    ) -> ListedPrice:
        when = asked.effective_at or effective_at
        return ListedPrice(
            price_id or self._counter.new_id("price"),
            asked.provider,
            asked.model,
            asked.team_id,
            asked.rates(),
            now if when is None else bound_at_us(when, _UTC),
            asked.source or source or SOURCE,
            now,
        )


def sees(by: Caller, team_id: str | None) -> bool:
    """Everybody's prices are everybody's to read, a team's its own."""
    return team_id is None or by.sight.team(team_id)


def demand_distinct(rows: Sequence[ListedPrice]) -> None:
    """Two prices of one name for one instant would leave it to chance which counts."""
    seen = set()
    for row in rows:
        name = (row.provider, row.model, row.team_id, row.effective_at_us)
        if name in seen:
            raise Problem("invalid", f"`{row.provider}/{row.model}` comes twice for the same team and time: keep one.")
        seen.add(name)


def add(app: FastAPI, prices: PriceDesk) -> None:
    @app.get("/admin/v1/prices", tags=["prices"])
    def list_prices(by: By, asked: Annotated[shapes.PricesAsked, Query()]) -> shapes.Prices:
        return prices.page(by, asked)

    @app.post("/admin/v1/prices", status_code=201, tags=["prices"])
    def create_price(
        by: By, asked: shapes.NewPriceAsked, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shapes.Price:
        """Give a model a price, from `effective_at` on; a team's own goes before everybody's."""
        return prices.create(by, asked, idempotency_key)

    @app.post("/admin/v1/prices/import", tags=["prices"])
    def import_prices(
        by: By, asked: shapes.ImportAsked, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shapes.Imported:
        """Bring a whole list, or none of it. What the list says already is left as it is."""
        return prices.import_(by, asked, idempotency_key)

    @app.post("/admin/v1/prices/reprice", tags=["prices"])
    def reprice(by: By, asked: shapes.RepriceAsked) -> shapes.Repriced:
        """Price attempts that had no price, or all of them, by what is in force for their time. Twice is once."""
        return prices.reprice(by, asked)

    @app.get("/admin/v1/prices/in-force", tags=["prices"])
    def price_in_force(by: By, asked: Annotated[shapes.InForceAsked, Query()]) -> shapes.PriceInForce:
        """The price that a request would be held to at that time."""
        return prices.in_force(by, asked)

    @app.get("/admin/v1/prices/{price_id}", tags=["prices"])
    def get_price(by: By, price_id: str) -> shapes.Price:
        return prices.get(by, price_id)

    @app.delete("/admin/v1/prices/{price_id}", tags=["prices"])
    def retire_price(by: By, price_id: str) -> shapes.Price:
        """Retire it: it prices nothing any more. What it has priced keeps its price, and it stays to be read."""
        return prices.retire(by, price_id)
