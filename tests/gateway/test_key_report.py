"""What a key may know of itself: each budget that binds it, what is left of it, and what the key has used."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from billing.audit import Actor
from billing.budgets import Budget
from billing.money import parse_usd
from billing.windows import Window
from gateway.app import new_key, now_us
from tests.gateway.whole_gateway import ANSWER, House, opened, turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SYSTEM = Actor("system")
USD = 1_000_000_000


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with opened(tmp_path / "state", monkeypatch) as made:
        yield made


def budget(house: House, budget_id: str, scope_type: str, scope_id: str, **fields: Any) -> None:
    fields = {"limit_nano_usd": USD, **fields}
    house.app.store.budgets.create(Budget(budget_id, scope_type, scope_id, **fields), SYSTEM, now_us())


async def looked_up(house: House, path: str, secret: str = "") -> dict[str, Any]:
    status, head, body = await house.looks_up(path, bearer=secret)
    assert status == 200, body
    assert b"cache-control: no-store" in head
    found: dict[str, Any] = json.loads(body)
    return found


async def test_a_key_without_budgets_is_told_its_models_and_limits(house: House) -> None:
    found = await looked_up(house, "/v1/key")
    assert found["object"] == "key"
    assert found["models"] == ["m"]
    assert found["limits"].keys() == {"requests_per_minute", "tokens_per_minute", "concurrency_max"}
    assert found["budgets"] == []


async def test_each_binding_budget_is_told_and_no_other(house: House) -> None:
    house.app.store.create_team("team_a", "A", None, SYSTEM, 1)
    secret, key = new_key("of team a")
    key = replace(key, team_id="team_a", user_id="user_a", tags={"env": "prod"})
    house.app.store.create_key(key, SYSTEM, 1)
    house.app.services.keyring.put(key)
    binding: list[tuple[str, str, str, dict[str, Any]]] = [
        ("of_key", "key", key.id, {}),
        ("of_each_key", "key", "*", {}),
        ("of_team", "team", "team_a", {"window": Window.MONTH, "timezone": "Europe/Berlin"}),
        ("of_user", "user", "user_a", {}),
        ("of_member", "member", "user_a", {"scope_team_id": "team_a"}),
        ("of_tag", "tag", "env=prod", {}),
        ("of_model", "model", "m", {"limit_nano_usd": None, "soft_limit_nano_usd": USD}),
        ("of_provider", "provider", "one", {}),
    ]
    for budget_id, scope_type, scope_id, fields in binding:
        budget(house, budget_id, scope_type, scope_id, **fields)
    budget(house, "of_another_model", "model", "other")
    budget(house, "of_another_tag", "tag", "env=dev")
    found = {one["id"]: one for one in (await looked_up(house, "/v1/key", secret))["budgets"]}
    assert set(found) == {budget_id for budget_id, *_ in binding}
    assert found["of_each_key"]["subject"] == key.id
    assert found["of_member"]["scope"] == {"type": "member", "id": "user_a", "team_id": "team_a"}
    assert found["of_team"]["resets_at"].endswith("Z")
    assert found["of_key"]["resets_at"] is None
    assert found["of_model"]["limit_usd"] is None
    assert found["of_model"]["remaining_usd"] is None
    assert found["of_key"]["remaining_usd"] == "1.000000000"


async def test_what_is_held_pends_and_what_is_settled_is_spent(house: House) -> None:
    budget(house, "of_each_key", "key", "*")
    house.app.refresh.changed(["budgets"])
    client = house.asks(max_tokens=100)
    await house.far.opens()
    (one,) = (await looked_up(house, "/v1/key"))["budgets"]
    assert one["spent_usd"] == "0.000000000"
    assert one["pending_usd"] > "0.000000000"
    assert parse_usd(one["remaining_usd"]) == USD - parse_usd(one["pending_usd"])
    house.far.transports[-1].feed(ANSWER)
    await turn()
    assert client.take().startswith(b"HTTP/1.1 200 OK")
    (one,) = (await looked_up(house, "/v1/key"))["budgets"]
    assert one["spent_usd"] == "0.000025000"  # 11 tokens at 1 USD, 7 at 2 USD a million
    assert one["pending_usd"] == "0.000000000"
    assert one["remaining_usd"] == "0.999975000"
    (row,) = (await looked_up(house, "/v1/key/usage?group_by=model"))["data"]
    assert (row["model"], row["requests"], row["cost_usd"]) == ("m", 1, "0.000025000")


async def test_a_keys_usage_is_its_own_alone(house: House) -> None:
    await house.warm()
    secret, key = new_key("another")
    house.app.services.keyring.put(key)
    (total,) = (await looked_up(house, "/v1/key/usage", secret))["data"]
    assert total["requests"] == 0
    (total,) = (await looked_up(house, "/v1/key/usage"))["data"]
    assert total["requests"] == 1


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/key?team=a", "team"),
        ("/v1/key/usage?group_by=team", "group_by"),
        ("/v1/key/usage?timezone=Mars", "timezone"),
        ("/v1/key/usage?from=yesterday", "from"),
        ("/v1/key/usage?by=model", "by"),
    ],
)
async def test_what_cannot_be_answered_is_refused_in_openais_shape(house: House, path: str, param: str) -> None:
    status, _, body = await house.looks_up(path)
    told = json.loads(body)
    assert status == 400
    assert told["error"]["type"] == "invalid_request_error"
    assert told["error"]["param"] == param


async def test_a_database_that_is_away_is_told_as_such(house: House) -> None:
    for name in ("budgets", "keys"):
        with house.app.store.engine.begin() as tx:
            tx.exec_driver_sql("PRAGMA foreign_keys=OFF")
            tx.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {name}_gone")
    status, head, body = await house.looks_up("/v1/key")
    assert status == 503
    assert json.loads(body)["error"]["code"] == "budget_backend_unavailable"
    assert b"retry-after: " in head
