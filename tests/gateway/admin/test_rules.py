"""Every route has its rule, every rule its route, and each rule is kept at each of its doors, role by role."""

import re
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from billing.roles import Role
from gateway.admin.app import BODY_BYTES_MAX
from gateway.admin.rules import RULES, Gate, Reach
from tests.gateway.admin.house import ADMIN_KEY, House

JSON = {"content-type": "application/json"}
PLACES = {
    "organization_id": "org_a",
    "team_id": "team_a",
    "user_id": "user_a",
    "key_id": "key_a",
    "budget_id": "budget_a",
    "price_id": "price_a",
    "lease_id": "1",
    "request_id": "req_a",
    "project_id": "team_a",
    "model:path": "tiny",
    "name": "admin.css",
}
LETTERS = {
    "o": Role.OWNER,
    "a": Role.ADMIN,
    "b": Role.BILLING,
    "t": Role.TEAM_ADMIN,
    "m": Role.MEMBER,
    "v": Role.VIEWER,
}
# Written down a second time, by hand: who may call what. Capital: only who belongs to no organization.
EXPECTED = {
    "GET /admin/v1/organizations": "oabtmv",
    "POST /admin/v1/organizations": "OA",
    "GET /admin/v1/organizations/{organization_id}": "oabtmv",
    "PATCH /admin/v1/organizations/{organization_id}": "oa",
    "DELETE /admin/v1/organizations/{organization_id}": "OA",
    "GET /admin/v1/teams": "oabtmv",
    "POST /admin/v1/teams": "oa",
    "GET /admin/v1/teams/{team_id}": "oabtmv",
    "PATCH /admin/v1/teams/{team_id}": "oa",
    "DELETE /admin/v1/teams/{team_id}": "oa",
    "GET /admin/v1/teams/{team_id}/members": "oabtmv",
    "POST /admin/v1/teams/{team_id}/members": "oat",
    "DELETE /admin/v1/teams/{team_id}/members/{user_id}": "oat",
    "GET /admin/v1/users": "oabtmv",
    "POST /admin/v1/users": "oa",
    "GET /admin/v1/users/{user_id}": "oabtmv",
    "PATCH /admin/v1/users/{user_id}": "oabtm",
    "DELETE /admin/v1/users/{user_id}": "oa",
    "GET /admin/v1/keys": "oabtmv",
    "POST /admin/v1/keys": "oatm",
    "GET /admin/v1/keys/{key_id}": "oabtmv",
    "PATCH /admin/v1/keys/{key_id}": "oatm",
    "DELETE /admin/v1/keys/{key_id}": "oatm",
    "POST /admin/v1/keys/{key_id}/rotate": "oatm",
    "GET /admin/v1/budgets": "oabtmv",
    "POST /admin/v1/budgets": "oabt",
    "GET /admin/v1/budgets/events": "OABV",
    "GET /admin/v1/budgets/{budget_id}": "oabtmv",
    "PATCH /admin/v1/budgets/{budget_id}": "oabt",
    "DELETE /admin/v1/budgets/{budget_id}": "oabt",
    "GET /admin/v1/budgets/{budget_id}/events": "oabtmv",
    "GET /admin/v1/budgets/{budget_id}/history": "oabtmv",
    "GET /admin/v1/limits": "oabtmv",
    "POST /admin/v1/limits": "OA",
    "GET /admin/v1/limits/{model:path}": "oabtmv",
    "PATCH /admin/v1/limits/{model:path}": "OA",
    "DELETE /admin/v1/limits/{model:path}": "OA",
    "GET /admin/v1/prices": "oabtmv",
    "POST /admin/v1/prices": "OAB",
    "POST /admin/v1/prices/import": "OAB",
    "POST /admin/v1/prices/reprice": "OAB",
    "GET /admin/v1/prices/in-force": "oabtmv",
    "GET /admin/v1/prices/{price_id}": "oabtmv",
    "DELETE /admin/v1/prices/{price_id}": "OAB",
    "GET /admin/v1/ledger/verify": "OABV",
    "GET /admin/v1/ledger/transfers": "OABV",
    "POST /admin/v1/ledger/transfers": "OA",
    "POST /admin/v1/ledger/reconcile": "OAB",
    "GET /admin/v1/ledger/leases": "OABV",
    "POST /admin/v1/ledger/leases/{lease_id}/close": "OA",
    "GET /admin/v1/audit": "OABV",
    "GET /admin/v1/audit/verify": "OABV",
    "GET /admin/v1/usage": "oabtmv",
    "GET /admin/v1/requests": "oabtmv",
    "GET /admin/v1/requests/{request_id}": "oabtmv",
    "GET /admin/v1/models": "oabtmv",
    "GET /admin/v1/health": "oabtmv",
    "GET /admin/v1/health/providers": "oabtmv",
    "GET /admin/v1/local": "OAV",
    "POST /admin/v1/local/{model:path}/start": "OA",
    "POST /admin/v1/local/{model:path}/stop": "OA",
    "GET /admin/v1/local/{model:path}/logs": "OA",
    "GET /v1/organization/costs": "oabtmv",
    "GET /v1/organization/usage/completions": "oabtmv",
    "GET /v1/organization/projects": "oabtmv",
    "GET /v1/organization/projects/{project_id}": "oabtmv",
    "GET /v1/organization/projects/{project_id}/api_keys": "oabtmv",
    "GET /v1/organization/projects/{project_id}/api_keys/{key_id}": "oabtmv",
    "GET /v1/organization/admin_api_keys": "OABV",
    "GET /v1/organization/audit_logs": "OABV",
}


def filled(path: str) -> str:
    return re.sub(r"\{([a-z_:]+)\}", lambda found: PLACES[found[1]], path)


def noop() -> None:
    pass


def routes(app: FastAPI) -> set[tuple[str, str]]:
    assert all(isinstance(route, APIRoute) for route in app.routes), "a plain route or a mount goes round the guard"
    return {
        (method, route.path) for route in app.routes if isinstance(route, APIRoute) for method in route.methods or ()
    }


def test_the_table_names_exactly_the_routes(house: House) -> None:
    assert routes(house.app) == set(RULES)


def test_a_route_without_a_rule_cannot_be_built(house: House) -> None:
    with pytest.raises(KeyError):
        house.app.get("/admin/v1/back-door")(noop)


def test_the_table_says_what_was_meant() -> None:
    assert {f"{method} {path}" for (method, path), rule in RULES.items() if rule.gate is Gate.API} == set(EXPECTED)
    for (method, path), rule in RULES.items():
        if rule.gate is Gate.API:
            letters = EXPECTED[f"{method} {path}"]
            whole = letters.isupper()
            assert set(rule.may) == {LETTERS[letter] for letter in letters.lower()}, path
            assert {reach is Reach.GATEWAY for reach in rule.may.values()} == {whole}, path


@pytest.mark.parametrize("organization_id", [None, "org_a"])
@pytest.mark.parametrize("role", Role)
async def test_each_role_gets_past_its_own_doors_and_no_others(
    house: House, role: Role, organization_id: str | None
) -> None:
    """What lies behind a door may be missing or badly asked for: that is told after the role was looked at."""
    if organization_id is not None:
        await house.made("organizations", id=organization_id, name="Acme")
    person = await house.person(role, organization_id=organization_id)
    wrong = []
    for route, letters in EXPECTED.items():
        method, path = route.split(" ")
        answer = await person.request(method, filled(path), content=b"{ not even json")
        letter = next(letter for letter, one in LETTERS.items() if one is role)
        open_to = letter in letters or (letter.upper() in letters and organization_id is None)
        if (b"not_allowed" in answer.content) is open_to or answer.status_code in (401, 500):
            wrong.append((route, answer.status_code, answer.text))
    assert wrong == []


async def test_nobody_gets_past_any_door_that_is_not_open(house: House) -> None:
    expected = {Gate.OPEN: 200, Gate.API: 401, Gate.PAGE: 303, Gate.FORM: 303, Gate.SIGN_IN: 403}
    wrong = []
    for (method, path), rule in RULES.items():
        answer = await house.anonymous.request(method, filled(path), content=b"{ not even json")
        if answer.status_code != expected[rule.gate]:
            wrong.append((method, path, answer.status_code))
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
            assert answer.headers["content-type"] == kind
        if answer.status_code == 303:
            assert answer.headers["location"] == "/admin/login"
    assert wrong == []


async def test_a_virtual_key_gets_past_no_door_that_is_not_open(house: House) -> None:
    headers = {"authorization": f"Bearer {await house.virtual_key()}"}
    wrong = []
    for (method, path), rule in RULES.items():
        answer = await house.anonymous.request(method, filled(path), headers=headers)
        if answer.status_code != {Gate.OPEN: 200, Gate.FORM: 303}.get(rule.gate, 403):
            wrong.append((method, path, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        f"Bearer {ADMIN_KEY}x",
        f"Bearer {ADMIN_KEY[:-1]}",
        "Bearer tp-nobody-knows-this",
    ],
)
async def test_a_wrong_credential_is_401(house: House, header: str) -> None:
    answer = await house.anonymous.get("/admin/v1/teams", headers={"authorization": header})
    assert answer.status_code == 401


async def test_the_scheme_is_read_in_any_case(house: House) -> None:
    answer = await house.anonymous.get("/admin/v1/teams", headers={"authorization": f"bEaReR {ADMIN_KEY}"})
    assert answer.status_code == 200


async def test_a_revoked_virtual_key_is_nobody(house: House) -> None:
    token = await house.virtual_key()
    (key,) = (await house.admin.get("/admin/v1/keys")).json()["data"]
    await house.admin.delete(f"/admin/v1/keys/{key['id']}")
    answer = await house.anonymous.get("/admin/v1/teams", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_another_path_is_a_404_that_names_the_nearest(house: House) -> None:
    answer = await house.admin.get("/admin/v1/team")
    assert answer.status_code == 404
    assert "`/admin/v1/teams`" in answer.json()["detail"]


async def test_another_method_is_a_405_that_names_the_right_ones(house: House) -> None:
    answer = await house.admin.put("/admin/v1/usage")
    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    assert "GET" in answer.json()["detail"]


async def test_a_body_is_not_read_before_the_door(house: House) -> None:
    """Else anybody could make this process hold what nobody asked for."""
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x" * 1024

    answer = await house.anonymous.post("/admin/v1/teams", content=body())
    assert answer.status_code == 401
    assert read == 0


async def test_a_body_over_the_limit_is_413(house: House) -> None:
    content = b'{"name":"' + b"x" * BODY_BYTES_MAX + b'"}'
    answer = await house.admin.post("/admin/v1/teams", content=content, headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


async def test_a_body_over_the_limit_in_pieces_is_413_after_the_piece_too_many(house: House) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(BODY_BYTES_MAX // 1024 * 10):
            read += 1024
            yield b"x" * 1024

    answer = await house.admin.post("/admin/v1/teams", content=body(), headers=JSON)
    assert answer.status_code == 413
    assert read == BODY_BYTES_MAX + 1024
