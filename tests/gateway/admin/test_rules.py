"""Every route has its rule, every rule its route, and each rule is kept at each of its doors."""

import re
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from gateway.admin.app import BODY_BYTES_MAX
from gateway.admin.rules import RULES, Rule
from tests.gateway.admin.house import ADMIN_KEY, House

JSON = {"content-type": "application/json"}
PLACES = {
    "price_id": "price_none",
    "team_id": "team_a",
    "key_id": "key_a",
    "request_id": "req_a",
    "model:path": "tiny",
    "name": "admin.css",
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


async def test_nobody_gets_past_any_door_that_is_not_open(house: House) -> None:
    expected = {Rule.OPEN: 200, Rule.ADMIN: 401, Rule.PAGE: 303, Rule.FORM: 303, Rule.SIGN_IN: 403}
    wrong = []
    for (method, path), rule in RULES.items():
        answer = await house.anonymous.request(method, filled(path), content=b"{ not even json")
        if answer.status_code != expected[rule]:
            wrong.append((method, path, answer.status_code))
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"
        if answer.status_code == 303:
            assert answer.headers["location"] == "/admin/login"
    assert wrong == []


async def test_a_virtual_key_gets_past_no_door_that_is_not_open(house: House) -> None:
    headers = {"authorization": f"Bearer {await house.virtual_key()}"}
    wrong = []
    for (method, path), rule in RULES.items():
        answer = await house.anonymous.request(method, filled(path), headers=headers)
        if answer.status_code != {Rule.OPEN: 200, Rule.FORM: 303}.get(rule, 403):
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
