"""`/admin/v1/prices`: made, imported, asked for and retired, exactly, once, and told to whoever prices by them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from billing.books import EntryKind
from billing.price import UNPRICED, Price
from gateway.admin.app import build_admin
from tests.billing.makers import USAGE, hold
from tests.gateway.admin.house import NOON, House

PATH = "/admin/v1/prices"
PRICE = {"provider": "openai", "model": "gpt-4o", "input": "2.50", "output": "10", "cached_input": "1.25"}


async def made(house: House, **more: object) -> dict[str, Any]:
    answer = await house.admin.post(PATH, json={**PRICE, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_price_is_shown_as_decimal_text_with_its_source_and_its_day(house: House) -> None:
    price = await made(
        house,
        id="price_7",
        effective_at="2026-12-01",
        source="contract 7",
        request="0.01",
        tiers=[{"above_input_tokens": 200000, "input": "5", "output": "20"}],
    )
    assert price == {
        "id": "price_7", "provider": "openai", "model": "gpt-4o", "team_id": None, "source": "contract 7",
        "version": "contract 7/openai/gpt-4o@2026-12-01#price_7",
        "effective_at": "2026-12-01T00:00:00.000000Z", "created_at": "2025-11-25T12:00:00.000000Z", "retired_at": None,
        "input": "2.5", "output": "10", "cached_input": "1.25", "cache_write": None, "reasoning": None,
        "audio_input": None, "audio_output": None, "request": "0.01",
        "tiers": [{
            "above_input_tokens": 200000, "input": "5", "output": "20", "cached_input": None, "cache_write": None,
            "reasoning": None, "audio_input": None, "audio_output": None,
        }],
    }  # fmt: skip
    assert (await house.admin.get(f"{PATH}/price_7")).json() == price
    assert (await house.admin.get(PATH)).json() == {"data": [price], "has_more": False, "next": None}
    assert (await house.admin.get(PATH, params={"model": "gpt-5"})).json()["data"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input": 2.5}, "input"),
        ({"input": "-1"}, "input"),
        ({"input": "0.0000001"}, "finer than a pico-USD"),
        ({"output": None}, "output"),
        ({"cached": "1"}, "did you mean `cached_input`?"),
        ({"effective_at": "tomorrow"}, "2026-11-25"),
        ({"team_id": "team_x"}, "team_x"),
        ({"source": "a\nb"}, "source"),
        ({"tiers": [{"above_input_tokens": 5}, {"above_input_tokens": 5}]}, "tiers"),
    ],
)
async def test_what_is_no_price_is_refused_by_its_field(house: House, change: dict[str, Any], said: str) -> None:
    answer = await house.admin.post(PATH, json={**PRICE, **change})
    assert answer.status_code in (404, 422), answer.text
    assert said in answer.json()["detail"]


async def test_a_creation_sent_twice_happens_once(house: House) -> None:
    twice = [await house.admin.post(PATH, json=PRICE, headers={"idempotency-key": "a"}) for _ in range(2)]
    assert twice[0].json() == twice[1].json()
    assert len((await house.admin.get(PATH)).json()["data"]) == 1
    assert (await house.admin.post(PATH, json={**PRICE, "id": twice[0].json()["id"]})).status_code == 409


async def test_a_retired_price_is_read_and_no_more_listed(house: House) -> None:
    price = await made(house)
    retired = await house.admin.delete(f"{PATH}/{price['id']}")
    assert retired.json() == {**price, "retired_at": "2025-11-25T12:00:00.000000Z"}
    assert (await house.admin.get(PATH)).json()["data"] == []
    assert (await house.admin.get(PATH, params={"retired": "true"})).json()["data"] == [retired.json()]
    assert (await house.admin.get(f"{PATH}/{price['id']}")).json() == retired.json()
    assert (await house.admin.delete(f"{PATH}/price_none")).status_code == 404
    assert (await house.admin.get(f"{PATH}/price_none")).status_code == 404


async def test_an_import_can_be_tried_first_and_changes_nothing_the_second_time(house: House) -> None:
    body = {"prices": [PRICE, {**PRICE, "model": "gpt-4o-mini"}], "effective_at": "2026-01-01", "source": "list.csv"}
    tried = (await house.admin.post(f"{PATH}/import", json={**body, "dry_run": True})).json()
    assert (tried["created"], tried["unchanged"], tried["dry_run"]) == (2, 0, True)
    assert (await house.admin.get(PATH)).json()["data"] == []
    done = (await house.admin.post(f"{PATH}/import", json=body)).json()
    assert [(row["model"], row["source"], row["effective_at"][:10]) for row in done["data"]] == [
        ("gpt-4o", "list.csv", "2026-01-01"),
        ("gpt-4o-mini", "list.csv", "2026-01-01"),
    ]
    again = (await house.admin.post(f"{PATH}/import", json=body)).json()
    assert (again["created"], again["unchanged"]) == (0, 2)
    twice = await house.admin.post(f"{PATH}/import", json={"prices": [PRICE, PRICE]})
    assert twice.status_code == 422
    assert "twice" in twice.json()["detail"]


async def test_which_price_is_in_force_is_told_by_time_and_team(house: House) -> None:
    team = (await house.admin.post("/admin/v1/teams", json={"name": "a"})).json()["id"]
    await made(house, effective_at="2026-01-01", id="price_all")
    await made(house, effective_at="2026-02-01", id="price_team", team_id=team, input="1")

    async def asked(**more: str) -> str:
        answer = await house.admin.get(f"{PATH}/in-force", params={"provider": "openai", "model": "gpt-4o", **more})
        assert answer.status_code == 200, answer.text
        version: str = answer.json()["version"]
        return version.rpartition("#")[2]

    assert (await asked()).endswith("/openai/gpt-4o"), "the shipped table's, for the list's are yet to come"
    assert await asked(at="2026-03-01") == "price_all"
    assert await asked(at="2026-01-31T23:59:59Z", team_id=team) == "price_all"
    assert await asked(at="2026-02-01", team_id=team) == "price_team"
    unknown = await house.admin.get(f"{PATH}/in-force", params={"provider": "lab", "model": "x"})
    assert unknown.status_code == 404
    assert "POST /admin/v1/prices" in unknown.json()["detail"]


async def test_a_configured_price_is_in_force_where_the_list_has_none(house: House) -> None:
    price = Price("configured:chat[0]:lab/x", 1_000_000, 2_500_000, 500_000, 0, 0, 0, 0, 10_000_000)
    house.app = build_admin(replace(house.rooms, configured_prices=lambda: {("lab", "x"): price}))
    house.transport.app = house.app
    answer = await house.admin.get(f"{PATH}/in-force", params={"provider": "lab", "model": "x"})
    told = answer.json()
    assert (told["input"], told["output"], told["request"], told["version"]) == ("1", "2.5", "0.01", price.version)
    assert json.dumps(told["tiers"]) == "[]"


async def test_whoever_prices_by_the_list_is_told_when_it_has_changed(house: House) -> None:
    told: list[frozenset[str]] = []
    house.app = build_admin(replace(house.rooms, changed=told.append))
    house.transport.app = house.app
    price = await made(house)
    assert told == [{"prices"}]
    body = {"prices": [PRICE], "effective_at": "2026-01-01"}
    await house.admin.post(f"{PATH}/import", json={**body, "dry_run": True})
    await house.admin.post(f"{PATH}/import", json=body)
    assert told == [{"prices"}], "tried, and already so"
    await house.admin.delete(f"{PATH}/{price['id']}")
    assert len(told) == 2
    assert house.store.control_versions()["prices"] == 3
    assert NOON


async def test_what_nobody_had_a_price_for_is_priced_later_once_and_where_it_belongs(house: House) -> None:
    held = hold(1, provider="lab", model="x", price=UNPRICED, amount_nano_usd=0, opened_at_us=NOON)
    house.books.reserve_and_dispatch(held)
    house.books.settle(held, USAGE, 0, EntryKind.ACTUAL)
    house.clock.now_at_us = NOON + 60_000_000
    asked = {"since": "2025-11-25", "provider": "lab"}
    unpriced = (await house.admin.post(f"{PATH}/reprice", json=asked)).json()
    assert unpriced == {"attempts": 0, "amount_usd": "0.000000000", "unpriceable": 1, "dry_run": False}
    await made(house, provider="lab", model="x", input="1", output="2", cached_input="1", effective_at="2025-11-01")
    tried = (await house.admin.post(f"{PATH}/reprice", json={**asked, "dry_run": True})).json()
    assert (tried["attempts"], tried["amount_usd"], tried["dry_run"]) == (1, "0.001800000", True)
    done = (await house.admin.post(f"{PATH}/reprice", json=asked)).json()
    assert done == {**tried, "dry_run": False}
    again = (await house.admin.post(f"{PATH}/reprice", json=asked)).json()
    assert again["attempts"] == 0
    [row] = (await house.admin.get("/admin/v1/usage", params={"group_by": "model"})).json()["data"]
    assert (row["cost_usd"], row["requests"]) == ("0.001800000", 1)
    refused = await house.admin.post(f"{PATH}/reprice", json={"since": "2025-11-25", "until": "2025-11-24"})
    assert refused.status_code == 422
