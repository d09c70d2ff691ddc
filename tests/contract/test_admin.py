"""The shapes of /admin/v1 that programs outside rely on, against the running gateway."""

from __future__ import annotations

import csv
import io
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway, Key, chat, eventually
from tests.fakes.bill import Tokens, usd_text
from tests.fakes.script import Says, refusal, reply

if TYPE_CHECKING:
    import httpx

    from tests.fakes.provider import Provider

USAGE = {
    "requests", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens",
    "cost_usd", "estimated_usd", "pending_usd", "saved_usd",
}  # fmt: skip


def assert_problem(answer: httpx.Response) -> None:
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert {"type", "title", "status", "detail"} <= answer.json().keys()
    assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic YTpi"}], ids=str)
def test_without_the_admin_key_it_is_401(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = gateway.client.get("/admin/v1/teams", headers=headers)
    assert answer.status_code == 401
    assert_problem(answer)


def test_a_virtual_key_of_nobody_is_403(gateway: Gateway, key: Key) -> None:
    answer = gateway.client.get("/admin/v1/teams", headers=key.bearer)
    assert answer.status_code == 403
    assert_problem(answer)


def test_a_team_is_made_read_changed_and_deleted(gateway: Gateway) -> None:
    made = gateway.admin("POST", "teams", 201, json={"name": "Search"}).json()
    assert {"id", "name", "created_at"} <= made.keys()
    assert made["name"] == "Search"
    assert datetime.fromisoformat(made["created_at"]).utcoffset() is not None
    read = gateway.admin("GET", f"teams/{made['id']}", 200)
    etag = read.headers["etag"]
    gateway.admin("PATCH", f"teams/{made['id']}", 200, json={"name": "Find"}, headers={"if-match": etag})
    stale = gateway.admin("PATCH", f"teams/{made['id']}", 412, json={"name": "Seek"}, headers={"if-match": etag})
    assert_problem(stale)
    assert gateway.admin("GET", f"teams/{made['id']}", 200).json()["name"] == "Find"
    gateway.admin("DELETE", f"teams/{made['id']}", 204)
    assert_problem(gateway.admin("GET", f"teams/{made['id']}", 404))


def test_an_id_may_be_brought_along_once(gateway: Gateway) -> None:
    assert gateway.admin("POST", "teams", 201, json={"name": "x", "id": "team_brought"}).json()["id"] == "team_brought"
    assert_problem(gateway.admin("POST", "teams", 409, json={"name": "y", "id": "team_brought"}))


def test_a_create_with_an_idempotency_key_is_made_once(gateway: Gateway) -> None:
    once = {"idempotency-key": "make-it-once"}
    first = gateway.admin("POST", "keys", 201, json={"name": "once"}, headers=once).json()
    second = gateway.admin("POST", "keys", 201, json={"name": "once"}, headers=once).json()
    assert first["id"] == second["id"]


def test_lists_come_in_pages(gateway: Gateway) -> None:
    for n in range(5):
        gateway.create_team(f"page {n}")
    seen: list[str] = []
    query = {"limit": "2"}
    while True:
        page = gateway.admin("GET", "teams", 200, params=query).json()
        assert {"data", "has_more", "next"} <= page.keys()
        assert len(page["data"]) <= 2
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        query = {"limit": "2", "after": page["next"]}
    assert len(seen) == len(set(seen)) >= 5


def test_creating_a_key_answers_its_secret_this_once(gateway: Gateway) -> None:
    team = gateway.create_team("keyed")
    sent = {"name": "k", "team_id": team, "user_id": "user_1", "models_allowed": ["pool"]}
    made = gateway.admin("POST", "keys", 201, json=sent).json()
    assert {"id", "key", "prefix"} <= made.keys()
    assert made["key"].startswith(made["prefix"])
    read = gateway.admin("GET", f"keys/{made['id']}", 200).json()
    assert "key" not in read
    assert {name: read[name] for name in sent} == sent


@pytest.mark.parametrize(
    ("path", "body"),
    [("keys", {}), ("keys", {"name": 3}), ("keys", {"name": "x", "team_id": "team_none"}), ("teams", {"nam": "x"})],
    ids=str,
)
def test_what_cannot_be_made_is_refused_with_a_reason(gateway: Gateway, path: str, body: dict[str, object]) -> None:
    headers = {"authorization": f"Bearer {gateway.admin_key}"}
    answer = gateway.client.post(f"/admin/v1/{path}", json=body, headers=headers)
    assert answer.status_code in {400, 404, 409, 422}
    assert_problem(answer)


def test_usage_has_its_columns_and_every_figure(gateway: Gateway, one: Provider, model: str) -> None:
    team = gateway.create_team("counted")
    key = gateway.create_key("counted", team_id=team, user_id="user_7")
    one.queue(model, reply(Says(tokens=Tokens(input=100, output=50, cached=40, reasoning=20))))
    gateway.ask(key, chat(model))
    [row] = gateway.usage_of(key, "team,user,model,provider,day")
    assert row.keys() >= USAGE
    assert (row["team_id"], row["team_name"], row["user_id"]) == (team, "counted", "user_7")
    assert (row["model"], row["provider"], row["key_id"]) == (model, "one", key.id)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(row["day"]))
    figures = {name: row[name] for name in USAGE}
    assert figures == {
        "requests": 1, "input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 50, "reasoning_tokens": 20,
        "cost_usd": usd_text(one.bill_nano_usd(model)), "estimated_usd": "0.000000000",
        "pending_usd": "0.000000000", "saved_usd": "0.000000000",
    }  # fmt: skip


def test_what_is_settled_shows_within_two_seconds(gateway: Gateway, key: Key, model: str) -> None:
    gateway.ask(key, chat(model))
    eventually(lambda: [row for row in gateway.usage("key") if row["key_id"] == key.id], "usage shows it", within_s=2)


def test_a_hold_in_flight_is_pending(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    one.queue(model, reply(gap_s=1.0))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.ask, key, chat(model))

        def pending() -> bool:
            return any(float(str(row["pending_usd"])) > 0 for row in gateway.usage("key") if row["key_id"] == key.id)

        eventually(pending, "the hold shows while it is in flight", within_s=1)
        assert asked.result().status_code == 200
    [row] = gateway.usage_of(key)
    assert row["pending_usd"] == "0.000000000"


def test_usage_as_csv_guards_against_formulas(gateway: Gateway, model: str) -> None:
    team = gateway.create_team("=cmd()")
    key = gateway.create_key(team_id=team)
    gateway.ask(key, chat(model))
    gateway.usage_of(key)
    answer = gateway.admin("GET", "usage", 200, params={"group_by": "team,model", "format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert "'=cmd()" in {row["team_name"] for row in rows}


def test_from_is_inclusive_and_to_exclusive(gateway: Gateway, key: Key, model: str) -> None:
    gateway.ask(key, chat(model))
    [row] = gateway.usage_of(key, "day")
    day = str(row["day"])
    assert [row for row in gateway.usage("key,day", **{"from": day}) if row["key_id"] == key.id]
    assert not [row for row in gateway.usage("key,day", to=day) if row["key_id"] == key.id]


def test_a_request_tells_its_attempts_and_why_each(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str
) -> None:
    one.always(pair, refusal(500))
    answer = gateway.ask(key, chat(pair), {"x-turnpike-tags": "feature=why"})
    row = gateway.request_row(answer.headers["x-request-id"])
    assert row["id"] == answer.headers["x-request-id"]
    assert row["cost_usd"] == usd_text(two.bill_nano_usd(pair))
    attempts = row["attempts"]
    assert isinstance(attempts, list)
    assert {"provider", "model", "why", "status", "cost_usd", "input_tokens", "output_tokens"} <= attempts[0].keys()
    assert (attempts[0]["status"], attempts[-1]["status"]) == (500, 200)
    assert all(attempt["why"] for attempt in attempts)


def test_the_openapi_page_describes_what_is_there(gateway: Gateway) -> None:
    document = gateway.admin("GET", "openapi.json", 200).json()
    assert document["openapi"].startswith("3.")
    assert {"/admin/v1/teams", "/admin/v1/keys", "/admin/v1/usage", "/admin/v1/requests/{request_id}"} <= set(
        document["paths"]
    )


def test_the_page_asks_for_the_admin_key(gateway: Gateway) -> None:
    answer = gateway.client.get("/admin", follow_redirects=True)
    assert answer.headers["content-type"].startswith("text/html")
    assert "Content-Security-Policy".lower() in answer.headers
    assert gateway.admin_key not in answer.text
