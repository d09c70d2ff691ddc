"""Teams over HTTP: made once, changed by those who saw them, listed in pages."""

import pytest

from tests.gateway.admin.house import House


async def test_a_team_is_made_and_read_back(house: House) -> None:
    made = await house.admin.post("/admin/v1/teams", json={"name": "Search"})
    assert made.status_code == 201
    team = made.json()
    assert team["name"] == "Search"
    assert team["id"].startswith("team_")
    assert team["created_at"] == "2025-11-25T12:00:00.000000Z"
    read = await house.admin.get(f"/admin/v1/teams/{team['id']}")
    assert read.json() == team
    assert read.headers["etag"] == made.headers["etag"]


async def test_a_team_may_bring_its_id(house: House) -> None:
    made = await house.admin.post(
        "/admin/v1/teams", json={"name": "Search", "id": "team-search", "organization_id": "o"}
    )
    assert made.json()["id"] == "team-search"
    assert made.json()["organization_id"] == "o"


async def test_an_id_that_exists_is_409(house: House) -> None:
    await house.admin.post("/admin/v1/teams", json={"name": "Search", "id": "team_a"})
    again = await house.admin.post("/admin/v1/teams", json={"name": "Other", "id": "team_a"})
    assert again.status_code == 409
    assert again.json()["code"] == "already_exists"
    assert (await house.admin.get("/admin/v1/teams/team_a")).json()["name"] == "Search"


async def test_a_creation_sent_twice_under_one_key_happens_once(house: House) -> None:
    headers = {"idempotency-key": "make-search"}
    answers = [await house.admin.post("/admin/v1/teams", json={"name": "Search"}, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len((await house.admin.get("/admin/v1/teams")).json()["data"]) == 1
    other = await house.admin.post("/admin/v1/teams", json={"name": "Other"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_mismatch"


async def test_pages_go_on_where_the_last_one_ended(house: House) -> None:
    for number in range(5):
        await house.admin.post("/admin/v1/teams", json={"name": f"Team {number}", "id": f"team_{number}"})
    seen: list[str] = []
    after: str | None = None
    for expected in (True, True, False):
        params = {"limit": "2"} if after is None else {"limit": "2", "after": after}
        page = (await house.admin.get("/admin/v1/teams", params=params)).json()
        seen += [team["id"] for team in page["data"]]
        assert page["has_more"] is expected
        after = page["next"]
    assert sorted(seen) == [f"team_{number}" for number in range(5)]
    assert after is None


async def test_a_change_is_for_those_who_saw_the_present_state(house: House) -> None:
    made = await house.admin.post("/admin/v1/teams", json={"name": "Search", "id": "team_a"})
    seen = {"if-match": made.headers["etag"]}
    first = await house.admin.patch("/admin/v1/teams/team_a", json={"name": "Find"}, headers=seen)
    assert first.status_code == 200
    assert first.json()["name"] == "Find"
    stale = await house.admin.patch("/admin/v1/teams/team_a", json={"name": "Lost"}, headers=seen)
    assert stale.status_code == 412
    assert "GET it again" in stale.json()["detail"]
    fresh = await house.admin.patch(
        "/admin/v1/teams/team_a", json={"name": "Seek"}, headers={"if-match": first.headers["etag"]}
    )
    assert fresh.json()["name"] == "Seek"


@pytest.mark.parametrize("if_match", [None, "*"])
async def test_a_change_without_a_tag_is_allowed(house: House, if_match: str | None) -> None:
    await house.admin.post("/admin/v1/teams", json={"name": "Search", "id": "team_a"})
    headers = {} if if_match is None else {"if-match": if_match}
    answer = await house.admin.patch("/admin/v1/teams/team_a", json={"name": "Find"}, headers=headers)
    assert answer.status_code == 200


async def test_a_team_that_is_not_there_is_404(house: House) -> None:
    for answer in (
        await house.admin.get("/admin/v1/teams/team_no"),
        await house.admin.patch("/admin/v1/teams/team_no", json={"name": "x"}),
        await house.admin.delete("/admin/v1/teams/team_no"),
    ):
        assert answer.status_code == 404
        assert "team_no" in answer.json()["detail"]


async def test_a_deleted_team_is_gone(house: House) -> None:
    await house.admin.post("/admin/v1/teams", json={"name": "Search", "id": "team_a"})
    assert (await house.admin.delete("/admin/v1/teams/team_a")).status_code == 204
    assert (await house.admin.get("/admin/v1/teams/team_a")).status_code == 404
