"""The price list in either database: added, imported, retired, and told to every worker and to the audit log."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from billing.audit import Actor
from billing.database import open_engine
from billing.price_rows import ListedPrice
from billing.price_table import UsdRow, UsdTier
from billing.refusals import AlreadyExists, Invalid, NotFound
from billing.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from billing.price_list import PriceList

NOW = 1_764_028_800_000_000
ACTOR = Actor("admin_key")
PRICE = ListedPrice(
    "price_1", "openai", "gpt-4o", None,
    UsdRow(Decimal("2.5"), Decimal(10), request=Decimal("0.01"), tiers=(UsdTier(200_000, Decimal(5)),)),
    NOW, "contract 7", NOW,
)  # fmt: skip


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def prices(store: Store) -> PriceList:
    return store.price_list


def version(store: Store) -> int:
    return store.control_versions()["prices"]


def audited(url: str) -> list[tuple[str, str]]:
    engine = open_engine(url)
    with engine.begin() as tx:
        found = [(row[0], row[1]) for row in tx.execute(text("SELECT action, object_id FROM audit ORDER BY id"))]
    engine.dispose()
    return found


def test_a_row_is_kept_as_it_was_given_and_told(url: str, store: Store, prices: PriceList) -> None:
    before = version(store)
    prices.create(PRICE, ACTOR)
    assert prices.get("price_1") == PRICE
    assert prices.live() == (PRICE,)
    assert version(store) == before + 1
    assert audited(url) == [("price.create", "price_1")]
    with pytest.raises(AlreadyExists, match="price_1"):
        prices.create(PRICE, ACTOR)
    assert version(store) == before + 1


def test_a_retired_row_leaves_the_book_and_stays_to_be_seen(url: str, store: Store, prices: PriceList) -> None:
    prices.create(PRICE, ACTOR)
    retired = prices.retire("price_1", ACTOR, NOW + 5)
    assert retired == replace(PRICE, deleted_at_us=NOW + 5)
    assert prices.retire("price_1", ACTOR, NOW + 9) == retired, "once and for all"
    assert prices.live() == ()
    assert prices.get("price_1") == retired
    assert prices.list(10).data == ()
    assert prices.list(10, retired=True).data == (retired,)
    assert audited(url)[1:] == [("price.retire", "price_1")]
    assert version(store) == 3
    with pytest.raises(NotFound):
        prices.retire("price_2", ACTOR, NOW)


def test_a_teams_price_needs_a_team(store: Store, prices: PriceList) -> None:
    of_team = replace(PRICE, team_id="team_a")
    with pytest.raises(NotFound, match="team_a"):
        prices.create(of_team, ACTOR)
    with pytest.raises(NotFound, match="team_a"):
        prices.import_([of_team], ACTOR, dry_run=True)
    store.create_team("team_a", "A", None, ACTOR, NOW)
    assert prices.create(of_team, ACTOR) == of_team


def test_lists_go_by_pages_and_by_name(prices: PriceList) -> None:
    rows = [
        replace(PRICE, id=f"price_{n}", model=f"m{n % 2}", effective_at_us=NOW + n, created_at_us=NOW + n)
        for n in range(5)
    ]
    for row in rows:
        prices.create(row, ACTOR)
    first = prices.list(2)
    assert (first.data, first.has_more) == (tuple(rows[:2]), True)
    assert prices.list(10, first.next).data == tuple(rows[2:])
    assert [row.id for row in prices.list(10, filters={"model": "m1", "provider": "openai"}).data] == [
        "price_1",
        "price_3",
    ]
    with pytest.raises(Invalid, match="source"):
        prices.list(10, filters={"source": "x"})


def test_a_list_brought_twice_changes_nothing_the_second_time(url: str, store: Store, prices: PriceList) -> None:
    rows = [PRICE, replace(PRICE, id="price_2", model="gpt-4o-mini")]
    tried = prices.import_(rows, ACTOR, dry_run=True)
    assert (tried.created, tried.unchanged, prices.live(), audited(url)) == (tuple(rows), 0, (), [])
    assert prices.import_(rows, ACTOR) == tried
    assert prices.live() == tuple(rows)
    later = [replace(row, id=f"{row.id}b", effective_at_us=NOW + 99, created_at_us=NOW + 9) for row in rows]
    seen = version(store)
    again = prices.import_(later, ACTOR)
    assert (again.created, again.unchanged) == ((), 2)
    assert version(store) == seen, "nothing to read anew"
    dearer = replace(later[0], rates=UsdRow(Decimal(3), Decimal(9)))
    assert prices.import_([dearer, later[1]], ACTOR).created == (dearer,)
    assert audited(url) == [("price.import", "price_1"), ("price.create", "price_1b")]


def test_an_import_is_whole_or_not_at_all(prices: PriceList) -> None:
    with pytest.raises(NotFound):
        prices.import_([PRICE, replace(PRICE, id="price_2", team_id="team_x")], ACTOR)
    assert prices.live() == ()
    with pytest.raises(Invalid, match="too many"):
        prices.import_([PRICE] * 10_001, ACTOR)


def test_a_row_for_the_same_name_and_instant_takes_the_others_place(url: str, prices: PriceList) -> None:
    prices.create(PRICE, ACTOR)
    prices.create(replace(PRICE, id="price_2", effective_at_us=NOW + 1), ACTOR)
    corrected = replace(PRICE, id="price_3", rates=UsdRow(Decimal(3), Decimal(9)), created_at_us=NOW + 7)
    prices.create(corrected, ACTOR)
    assert [row.id for row in prices.live()] == ["price_2", "price_3"]
    old = prices.get("price_1")
    assert old is not None
    assert old.deleted_at_us == NOW + 7
    assert audited(url)[-1] == ("price.create", "price_3")
