"""`/admin/v1/prices`: prices by date and team, beside the table that ships with us."""

import base64
from collections.abc import Sequence
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import FastAPI, Header, Query

from billing.audit import Actor
from billing.corrections import Corrections
from billing.money import usd_text
from billing.price_book import PriceBook
from billing.price_rows import ListedPrice
from billing.price_table import PriceTable
from gateway.admin import price_shapes as shapes
from gateway.admin.desk import ID_BYTES, Desk
from gateway.admin.instant import bound_at_us
from gateway.admin.problem import Problem

CHANGED: Final = frozenset({"prices"})
SOURCE: Final = "admin"
_UTC: Final = ZoneInfo("UTC")
# Whoever passes the door here is the administrator.
_ACTOR: Final = Actor("admin_key")


class PriceDesk:
    """Where the list is changed: the rows, and with them every worker's book."""

    def __init__(self, desk: Desk) -> None:
        self._rooms: Final = desk.rooms
        self._list: Final = desk.store.price_list
        self._idempotency: Final = desk.idempotency
        self._table: Final = PriceTable()
        self._corrections: Final = Corrections(desk.store.engine, desk.rooms.state)

    def page(self, asked: shapes.PricesAsked) -> shapes.Prices:
        given = {"provider": asked.provider, "model": asked.model, "team_id": asked.team_id}
        filters = {name: value for name, value in given.items() if value is not None}
        page = self._list.list(asked.limit, asked.after, filters, retired=asked.retired)
        return shapes.Prices(
            data=[shapes.price_shown(row) for row in page.data], has_more=page.has_more, next=page.next
        )

    def get(self, price_id: str) -> shapes.Price:
        found = self._list.get(price_id)
        if found is None:
            raise Problem("not_found", f"No price has the id `{price_id[:100]}`; GET /admin/v1/prices lists them.")
        return shapes.price_shown(found)

    def in_force(self, asked: shapes.InForceAsked) -> shapes.PriceInForce:
        """What a request of that team would pin at that time, by the list, the configuration, the shipped table."""
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

    def create(self, asked: shapes.NewPriceAsked, idempotency_key: str | None) -> shapes.Price:
        def make() -> shapes.Price:
            made = self._list.create(self._listed(asked, asked.id, None, None, self._rooms.clock()), _ACTOR)
            self._rooms.changed(CHANGED)
            return shapes.price_shown(made)

        return self._idempotency.once("prices", idempotency_key, asked.model_dump_json().encode(), make)

    def import_(self, asked: shapes.ImportAsked, idempotency_key: str | None) -> shapes.Imported:
        def make() -> shapes.Imported:
            now_at_us = self._rooms.clock()
            rows = [self._listed(row, None, asked.effective_at, asked.source, now_at_us) for row in asked.prices]
            demand_distinct(rows)
            done = self._list.import_(rows, _ACTOR, dry_run=asked.dry_run)
            if done.created and not asked.dry_run:
                self._rooms.changed(CHANGED)
            shown = [shapes.price_shown(row) for row in done.created]
            return shapes.Imported(created=len(shown), unchanged=done.unchanged, dry_run=asked.dry_run, data=shown)

        return self._idempotency.once("price-imports", idempotency_key, asked.model_dump_json().encode(), make)

    def reprice(self, asked: shapes.RepriceAsked) -> shapes.Repriced:
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
            _ACTOR,
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

    def retire(self, price_id: str) -> shapes.Price:
        retired = self._list.retire(price_id, _ACTOR, self._rooms.clock())
        self._rooms.changed(CHANGED)
        return shapes.price_shown(retired)

    def _listed(
        self, asked: shapes.PriceAsked, price_id: str | None, effective_at: str | None, source: str | None, now: int
    ) -> ListedPrice:
        when = asked.effective_at or effective_at
        return ListedPrice(
            price_id or f"price_{base64.b32hexencode(self._rooms.entropy(ID_BYTES)).decode().lower()}",
            asked.provider,
            asked.model,
            asked.team_id,
            asked.rates(),
            now if when is None else bound_at_us(when, _UTC),
            asked.source or source or SOURCE,
            now,
        )


def demand_distinct(rows: Sequence[ListedPrice]) -> None:
    """Two prices of one name for one instant would leave it to chance which counts."""
    seen = set()
    for row in rows:
        name = (row.provider, row.model, row.team_id, row.effective_at_us)
        if name in seen:
            raise Problem("invalid", f"`{row.provider}/{row.model}` comes twice for the same team and time: keep one.")
        seen.add(name)


def add(app: FastAPI, desk: Desk) -> None:
    prices = PriceDesk(desk)

    @app.get("/admin/v1/prices", tags=["prices"])
    def list_prices(asked: Annotated[shapes.PricesAsked, Query()]) -> shapes.Prices:
        return prices.page(asked)

    @app.post("/admin/v1/prices", status_code=201, tags=["prices"])
    def create_price(
        asked: shapes.NewPriceAsked, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shapes.Price:
        """Give a model a price, from `effective_at` on; a team's own goes before everybody's."""
        return prices.create(asked, idempotency_key)

    @app.post("/admin/v1/prices/import", tags=["prices"])
    def import_prices(
        asked: shapes.ImportAsked, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shapes.Imported:
        """Bring a whole list, or none of it. What the list says already is left as it is."""
        return prices.import_(asked, idempotency_key)

    @app.post("/admin/v1/prices/reprice", tags=["prices"])
    def reprice(asked: shapes.RepriceAsked) -> shapes.Repriced:
        """Price attempts that had no price, or all of them, by what is in force for their time. Twice is once."""
        return prices.reprice(asked)

    @app.get("/admin/v1/prices/in-force", tags=["prices"])
    def price_in_force(asked: Annotated[shapes.InForceAsked, Query()]) -> shapes.PriceInForce:
        """The price that a request would be held to at that time."""
        return prices.in_force(asked)

    @app.get("/admin/v1/prices/{price_id}", tags=["prices"])
    def get_price(price_id: str) -> shapes.Price:
        return prices.get(price_id)

    @app.delete("/admin/v1/prices/{price_id}", tags=["prices"])
    def retire_price(price_id: str) -> shapes.Price:
        """Retire it: it prices nothing any more. What it has priced keeps its price, and it stays to be read."""
        return prices.retire(price_id)
