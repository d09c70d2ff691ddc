"""What a budget does to a request: whom it is charged to, where it goes without room, what happens without a price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import Gateway, Key, chat, error_of, eventually
from tests.fakes.bill import Tokens
from tests.fakes.script import Says, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.provider import Provider

DEAR: Final = {"input": 0, "output": 100}
CHEAP: Final = {"input": 0, "output": 1}
HUNDRED: Final = {"max_tokens": 100}  # a cent of what is dear


@pytest.fixture
def stepped(directory: Path, one: Provider, two: Provider) -> Iterator[Gateway]:
    """A dear model whose fallback is cheap, and one that nobody knows the price of."""
    config: dict[str, object] = {
        "providers": hosted(one, two),
        "models": {
            "dear": [{"provider": "one", "model": "dear", "price": DEAR}],
            "cheap": [{"provider": "two", "model": "cheap", "price": CHEAP}],
            "strange": [{"provider": "one", "model": "strange"}],
        },
        "routing": {"fallbacks": {"dear": ["cheap"]}},
    }
    with Gateway(directory, config) as gateway:
        yield gateway


def budget(gateway: Gateway, scope: dict[str, str], limit_usd: str | None, **more: str) -> str:
    made: str = gateway.admin("POST", "budgets", 201, json={"scope": scope, "limit_usd": limit_usd, **more}).json()[
        "id"
    ]
    return made


def of_key(key: Key) -> dict[str, str]:
    return {"type": "key", "id": key.id}


def test_a_request_is_charged_against_every_scope_at_once(stepped: Gateway, one: Provider) -> None:
    stepped.admin("POST", "organizations", 201, json={"id": "org", "name": "O"})
    stepped.admin("POST", "teams", 201, json={"id": "team", "name": "T", "organization_id": "org"})
    user = {"id": "user", "name": "U", "email": "u@example.org", "role": "member", "organization_id": "org"}
    stepped.admin("POST", "users", 201, json=user)
    key = stepped.create_key(team_id="team", user_id="user", organization_id="org")
    scopes: list[dict[str, str]] = [
        {"type": "organization", "id": "org"},
        {"type": "team", "id": "team"},
        {"type": "user", "id": "user"},
        {"type": "member", "id": "user", "team_id": "team"},
        of_key(key),
        {"type": "tag", "id": "feature=search"},
        {"type": "model", "id": "dear"},
        {"type": "model", "id": "dear", "team_id": "team"},
        {"type": "end_user", "id": "customer"},
        {"type": "provider", "id": "one"},
        {"type": "key", "id": "*"},
        {"type": "tag", "id": "feature=*"},
    ]
    ids = [budget(stepped, scope, "5") for scope in scopes]
    headers = {"x-turnpike-tags": "feature=search,env=prod", "x-turnpike-user": "customer"}

    def asked() -> tuple[int, str, str]:
        one.queue("dear", reply(Says(tokens=Tokens(input=10, output=100))))
        answer = stepped.ask(key, chat("dear", **HUNDRED), headers)
        refused = answer.json().get("error", {})
        return answer.status_code, refused.get("code", ""), refused.get("message", "")

    assert asked()[0] == 200
    for budget_id in ids:
        shown = stepped.admin("GET", f"budgets/{budget_id}", 200).json()
        assert (shown["spent_usd"], shown["pending_usd"]) == ("0.010000000", "0.000000000"), shown["scope"]
    for budget_id in ids:
        stepped.admin("PATCH", f"budgets/{budget_id}", 200, json={"limit_usd": "0.01"})
        status, code, message = asked()
        assert (status, code) == (429, "insufficient_quota"), budget_id
        assert budget_id in message
        stepped.admin("PATCH", f"budgets/{budget_id}", 200, json={"limit_usd": "5"})


def test_a_changed_limit_holds_in_every_worker_when_its_call_answers(
    directory: Path, one: Provider, model: str
) -> None:
    config: dict[str, object] = {"providers": hosted(one, one), "models": {model: [deployment("one", model)]}}
    with Gateway(directory, config, workers=3) as gateway:
        key = gateway.create_key()
        budget_id = budget(gateway, of_key(key), "5")
        for limit_usd, status in (("0", 429), ("5", 200), ("0", 429), ("5", 200)):
            gateway.admin("PATCH", f"budgets/{budget_id}", 200, json={"limit_usd": limit_usd})
            # Each of these comes by a connection of its own, to whichever worker.
            assert {gateway.ask(key, chat(model)).status_code for _ in range(9)} == {status}
        gateway.admin("DELETE", f"keys/{key.id}", 200)
        assert {gateway.ask(key, chat(model)).status_code for _ in range(9)} == {401}


def test_a_refusal_names_the_budget_what_is_left_and_when_it_resets(stepped: Gateway) -> None:
    key = stepped.create_key(models_allowed=["dear"])
    window = {"window": "month", "timezone": "Europe/Berlin"}
    budget_id = budget(stepped, of_key(key), "0.005", **window)
    resets_at = stepped.admin("GET", f"budgets/{budget_id}", 200).json()["resets_at"]
    message = str(error_of(stepped.ask(key, chat("dear", **HUNDRED)), 429, "insufficient_quota")["message"])
    assert budget_id in message
    assert "0.005000000" in message
    assert resets_at[:19] in message


def test_without_room_a_request_goes_where_it_is_cheaper_if_the_budget_says_so(stepped: Gateway, two: Provider) -> None:
    reject, downgrade, whole = (stepped.create_key() for _ in range(3))
    budget(stepped, of_key(reject), "0.005", over_budget="reject")
    budget(stepped, of_key(downgrade), "0.005", over_budget="downgrade")
    budget(stepped, of_key(whole), "0.01", over_budget="downgrade")
    error_of(stepped.ask(reject, chat("dear", **HUNDRED)), 429, "insufficient_quota")
    two.queue("cheap", reply(Says(tokens=Tokens(input=10, output=100))))
    answer = stepped.ask(downgrade, chat("dear", **HUNDRED))
    told = {name: answer.headers[f"x-turnpike-{name}"] for name in ("route", "model", "provider", "cost-usd")}
    assert told == {"route": "budget", "model": "cheap", "provider": "two", "cost-usd": "0.000100000"}
    assert "no room" in str(stepped.request_row(answer.headers["x-request-id"])["why"])
    assert stepped.ask(whole, chat("dear", **HUNDRED)).headers["x-turnpike-route"] != "budget", "there is room"


def test_a_downgrade_is_no_way_around_an_allow_list(stepped: Gateway) -> None:
    key = stepped.create_key(models_allowed=["dear"])
    budget(stepped, of_key(key), "0.005", over_budget="downgrade")
    error_of(stepped.ask(key, chat("dear", **HUNDRED)), 429, "insufficient_quota")


def test_what_has_no_price_is_refused_under_a_hard_budget_else_priced_later(stepped: Gateway, one: Provider) -> None:
    bound, free, watched = (stepped.create_key() for _ in range(3))
    budget(stepped, of_key(bound), "5")
    budget(stepped, of_key(watched), None, soft_limit_usd="5")
    message = str(error_of(stepped.ask(bound, chat("strange", **HUNDRED)), 400, "model_unpriced")["message"])
    assert "turnpike prices import" in message
    for key in (free, watched):
        one.queue("strange", reply(Says(tokens=Tokens(input=1000, output=100))))
        answer = stepped.ask(key, chat("strange", **HUNDRED))
        assert (answer.status_code, answer.headers["x-turnpike-cost-usd"]) == (200, "0.000000000")
        assert stepped.usage_of(key)[0]["cost_usd"] == "0.000000000"
    price = ("--input", "2", "--output", "10", "--effective-at", "2025-01-01")
    stepped.cli("prices", "create", "one/strange", *price)
    assert stepped.cli("prices", "reprice", "--since", "2025-01-01").startswith(
        "2 attempts repriced, by 0.006000000 USD"
    )
    for key in (free, watched):
        eventually(lambda key=key: stepped.usage_of(key)[0]["cost_usd"] == "0.003000000", "it is priced")  # type: ignore[misc]
    assert stepped.admin("GET", "ledger/verify", 200).json()["ok"] is True
    one.queue("strange", reply(Says(tokens=Tokens(input=1000, output=100))))
    assert stepped.ask(bound, chat("strange", **HUNDRED)).headers["x-turnpike-cost-usd"] == "0.003000000"
