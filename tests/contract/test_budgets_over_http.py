"""Budgets as programs outside see them: made, spent to the cent, refused, raised; told to the key that they bind."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI

from tests.e2e.gateway import Gateway, Key, chat, error_of
from tests.fakes.bill import Tokens
from tests.fakes.script import Says, reply

if TYPE_CHECKING:
    from tests.fakes.provider import Provider

SHOWN = {"limit_usd", "spent_usd", "pending_usd", "remaining_usd", "resets_at"}


def budget_of(gateway: Gateway, budget_id: str) -> dict[str, Any]:
    found: dict[str, Any] = gateway.admin("GET", f"budgets/{budget_id}", 200).json()
    return found


def test_a_key_is_told_its_budget_and_refused_when_it_is_spent(
    gateway: Gateway, one: Provider, model: str, key: Key
) -> None:
    asked = {"scope": {"type": "key", "id": key.id}, "limit_usd": "0", "window": "month", "timezone": "Europe/Berlin"}
    made = gateway.admin("POST", "budgets", 201, json=asked).json()
    refused = gateway.ask(key, chat(model))
    assert error_of(refused, 429)["code"] == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    gateway.admin("PATCH", f"budgets/{made['id']}", 200, json={"limit_usd": "5.00"}, headers={"if-match": '"v1"'})
    one.queue(model, reply(Says(tokens=Tokens(input=100, output=50))))
    answer = gateway.ask(key, chat(model, max_tokens=60))
    assert answer.status_code == 200
    told = gateway.client.get("/v1/key", headers=key.bearer).json()
    (budget,) = [each for each in told["budgets"] if each["id"] == made["id"]]
    assert budget.keys() >= SHOWN
    cost = answer.headers["x-turnpike-cost-usd"]
    assert (budget["limit_usd"], budget["spent_usd"], budget["pending_usd"]) == ("5.000000000", cost, "0.000000000")
    assert datetime.fromisoformat(budget["resets_at"]).utcoffset() is not None
    shown = budget_of(gateway, made["id"])
    assert {name: shown[name] for name in SHOWN} == {name: budget[name] for name in SHOWN}
    (row,) = gateway.client.get("/v1/key/usage?group_by=model", headers=key.bearer).json()["data"]
    assert (row["model"], row["requests"], row["cost_usd"]) == (model, 1, cost)
    gateway.admin("DELETE", f"budgets/{made['id']}", 204)


def test_a_users_key_acts_with_the_users_role(gateway: Gateway) -> None:
    team = gateway.create_team("of the lead")
    other = gateway.create_team("of others")
    user = gateway.admin(
        "POST", "users", 201, json={"name": "Lead", "email": "lead@example.org", "role": "team_admin"}
    ).json()
    gateway.admin("POST", f"teams/{team}/members", 201, json={"user_id": user["id"]})
    lead = gateway.create_key("of the lead", user_id=user["id"])
    listed = gateway.client.get("/admin/v1/teams", headers=lead.bearer).json()["data"]
    assert [one["id"] for one in listed] == [team]
    body = {"name": "new", "team_id": team}
    assert gateway.client.post("/admin/v1/keys", headers=lead.bearer, json=body).status_code == 201
    for method, path, status in (
        ("GET", f"teams/{other}", 404),
        ("POST", "teams", 403),
        ("GET", "audit", 403),
        ("PATCH", f"users/{user['id']}", 403),
    ):
        answer = gateway.client.request(
            method, f"/admin/v1/{path}", headers=lead.bearer, json={"name": "x", "role": "owner"}
        )
        assert answer.status_code == status, (method, path, answer.text)


def test_every_change_is_in_the_audit_log_and_the_ledger_proves_itself(gateway: Gateway, key: Key, model: str) -> None:
    gateway.ask(key, chat(model))
    (row,) = gateway.admin("GET", "audit", 200, params={"object_id": key.id}).json()["data"]
    assert (row["action"], row["actor"]) == ("key.create", {"type": "admin_key", "id": None})
    assert gateway.admin("GET", "audit/verify", 200).json()["ok"] is True
    assert gateway.admin("GET", "ledger/verify", 200).json()["ok"] is True


def test_openais_own_client_reads_costs_and_projects(gateway: Gateway, model: str) -> None:
    team = gateway.create_team("billed")
    key = gateway.create_key("billed", team_id=team)
    answer = gateway.ask(key, chat(model))
    with OpenAI(base_url=f"{gateway.base_url}/v1", admin_api_key=gateway.admin_key, max_retries=0) as client:
        organization = client.admin.organization
        assert organization.usage.costs(start_time=1_700_000_000, group_by=["project_id"], limit=180).has_more
        assert team in {project.id for project in organization.projects.list(limit=100)}
        assert [one.id for one in organization.projects.api_keys.list(team)] == [key.id]
        now_s = int(
            datetime.fromisoformat(gateway.admin("GET", f"keys/{key.id}", 200).json()["created_at"]).timestamp()
        )
        today = organization.usage.completions(start_time=now_s - 60, bucket_width="1m", group_by=["project_id"])
        counted = [
            one
            for bucket in today.data
            for one in bucket.results
            if one.object == "organization.usage.completions.result" and one.project_id == team
        ]
        assert sum(one.num_model_requests for one in counted) == 1
    assert answer.status_code == 200


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}], ids=str)
def test_without_the_admin_key_openais_paths_answer_as_openai(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = gateway.client.get("/v1/organization/costs?start_time=1", headers=headers)
    assert error_of(answer, 401)["code"] == "invalid_api_key"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
