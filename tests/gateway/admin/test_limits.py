"""Limits of models over HTTP: given once, changed bound by bound, taken away."""

import pytest

from tests.gateway.admin.house import House


async def test_limits_are_given_changed_and_taken_away(house: House) -> None:
    made = await house.admin.post("/admin/v1/limits", json={"model": "openai/gpt-5*", "requests_per_minute": 10})
    assert made.status_code == 201
    path = "/admin/v1/limits/openai/gpt-5*"
    assert (await house.admin.get(path)).json() == made.json()
    assert made.json()["tokens_per_minute"] is None
    seen = {"if-match": made.headers["etag"]}
    changed = await house.admin.patch(path, json={"tokens_per_minute": 1000}, headers=seen)
    assert (changed.json()["requests_per_minute"], changed.json()["tokens_per_minute"]) == (10, 1000)
    assert (await house.admin.patch(path, json={"tokens_per_minute": 1}, headers=seen)).status_code == 412
    less = await house.admin.patch(path, json={"requests_per_minute": None})
    assert (less.json()["requests_per_minute"], less.json()["tokens_per_minute"]) == (None, 1000)
    assert (await house.admin.patch(path, json={"tokens_per_minute": None})).status_code == 422
    assert (await house.admin.delete(path)).status_code == 204
    assert (await house.admin.get(path)).status_code == 404
    assert house.told.count(frozenset({"limits"})) == 4


async def test_a_second_giving_is_409(house: House) -> None:
    await house.made("limits", model="m", concurrency_max=3)
    again = await house.admin.post("/admin/v1/limits", json={"model": "m", "concurrency_max": 4})
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    assert (await house.admin.get("/admin/v1/limits/m")).json()["concurrency_max"] == 3


async def test_they_are_listed_in_pages(house: House) -> None:
    for model in ("c", "a", "b"):
        await house.made("limits", model=model, concurrency_max=1)
    first = (await house.admin.get("/admin/v1/limits", params={"limit": 2})).json()
    assert [one["model"] for one in first["data"]] == ["a", "b"]
    rest = (await house.admin.get("/admin/v1/limits", params={"after": first["next"]})).json()
    assert ([one["model"] for one in rest["data"]], rest["has_more"]) == (["c"], False)


@pytest.mark.parametrize("asked", [{"model": "m"}, {"model": "m", "requests_per_minute": -1}, {"model": ""}, {"x": 1}])
async def test_what_limits_nothing_is_refused(house: House, asked: dict[str, object]) -> None:
    assert (await house.admin.post("/admin/v1/limits", json=asked)).status_code == 422
