"""A team_admin has a hand in its teams, a member in what is his own, and neither in anything else."""

import pytest

from tests.gateway.admin import traffic
from tests.gateway.admin.house import NOON, House


async def teams(house: House) -> None:
    for letter in "ab":
        await house.made("teams", id=f"team_{letter}", name=letter)
        await house.made("users", id=f"user_{letter}", name=letter, email=f"{letter}@example.org")
        await house.made(f"teams/team_{letter}/members", user_id=f"user_{letter}")
        await house.made("keys", id=f"key_{letter}", name=letter, team_id=f"team_{letter}", user_id=f"user_{letter}")
        await house.made(
            "budgets", id=f"budget_{letter}", scope={"type": "team", "id": f"team_{letter}"}, limit_usd="1"
        )
        await house.made("budgets", id=f"of_key_{letter}", scope={"type": "key", "id": f"key_{letter}"}, limit_usd="1")


async def ids(answer_of: object, what: str) -> list[str]:
    answer = await answer_of.get(f"/admin/v1/{what}")  # type: ignore[attr-defined]
    assert answer.status_code == 200, answer.text
    return [one.get("id") or one["user_id"] for one in answer.json()["data"]]


async def test_a_team_admin_sees_its_teams_alone(house: House) -> None:
    await teams(house)
    lead = await house.person("team_admin", teams=("team_a",))
    assert await ids(lead, "teams") == ["team_a"]
    assert await ids(lead, "teams/team_a/members") == ["user_a", "user_team_admin"]
    assert await ids(lead, "users") == ["user_a", "user_team_admin"]
    assert await ids(lead, "keys") == ["key_a", "key_of_user_team_admin"]
    assert await ids(lead, "budgets") == ["budget_a", "of_key_a"]
    for path in ("teams/team_b", "teams/team_b/members", "users/user_b", "keys/key_b", "budgets/budget_b"):
        assert (await lead.get(f"/admin/v1/{path}")).status_code == 404, path


async def test_a_team_admin_changes_its_teams_keys_and_members_and_their_budgets(house: House) -> None:
    await teams(house)
    lead = await house.person("team_admin", teams=("team_a",))
    made = await lead.post("/admin/v1/keys", json={"name": "new", "team_id": "team_a", "user_id": "user_a"})
    assert made.status_code == 201
    assert (await lead.patch("/admin/v1/keys/key_a", json={"models_allowed": ["small"]})).status_code == 200
    assert (await lead.post("/admin/v1/keys/key_a/rotate")).status_code == 201
    assert (await lead.delete("/admin/v1/keys/key_a")).status_code == 200
    await house.made("users", id="user_new", name="New", email="new@example.org")
    assert (await lead.post("/admin/v1/teams/team_a/members", json={"user_id": "user_new"})).status_code == 201
    assert (await lead.delete("/admin/v1/teams/team_a/members/user_new")).status_code == 204
    assert (await lead.patch("/admin/v1/budgets/of_key_a", json={"limit_usd": "2"})).status_code == 200
    assert (await lead.delete("/admin/v1/budgets/of_key_a")).status_code == 204
    member = {"type": "member", "id": "user_a", "team_id": "team_a"}
    assert (await lead.post("/admin/v1/budgets", json={"scope": member, "limit_usd": "1"})).status_code == 201


async def test_a_team_admin_changes_nothing_elsewhere(house: House) -> None:
    await teams(house)
    lead = await house.person("team_admin", teams=("team_a",))
    not_there = [
        await lead.patch("/admin/v1/keys/key_b", json={"name": "mine"}),
        await lead.post("/admin/v1/keys/key_b/rotate"),
        await lead.delete("/admin/v1/keys/key_b"),
        await lead.patch("/admin/v1/keys/key_a", json={"team_id": "team_b"}),
        await lead.patch("/admin/v1/keys/key_a", json={"user_id": "user_b"}),
        await lead.post("/admin/v1/keys", json={"name": "x", "team_id": "team_b"}),
        await lead.post("/admin/v1/teams/team_b/members", json={"user_id": "user_team_admin"}),
        await lead.delete("/admin/v1/teams/team_b/members/user_b"),
        await lead.patch("/admin/v1/budgets/budget_b", json={"limit_usd": "2"}),
        await lead.delete("/admin/v1/budgets/of_key_b"),
    ]
    assert [answer.status_code for answer in not_there] == [404] * len(not_there)
    not_his = [
        await lead.post("/admin/v1/keys", json={"name": "of no team"}),
        await lead.patch("/admin/v1/teams/team_a", json={"limits": {"requests_per_minute": 1}}),
        await lead.post("/admin/v1/budgets", json={"scope": {"type": "team", "id": "team_b"}, "limit_usd": "1"}),
        await lead.post("/admin/v1/budgets", json={"scope": {"type": "team", "id": "*"}, "limit_usd": "1"}),
        await lead.post("/admin/v1/budgets", json={"scope": {"type": "user", "id": "user_a"}, "limit_usd": "1"}),
        await lead.post("/admin/v1/budgets", json={"scope": {"type": "tag", "id": "a=b"}, "limit_usd": "1"}),
    ]
    assert [answer.status_code for answer in not_his] == [403] * len(not_his)


async def test_the_budget_of_a_whole_team_is_set_from_above_it(house: House) -> None:
    await teams(house)
    scopes = [{"type": "team", "id": "team_a"}, {"type": "model", "id": "m", "team_id": "team_a"}]
    await house.made("budgets", id="of_model", scope=scopes[1], limit_usd="1")
    lead = await house.person("team_admin", "user_lead", teams=("team_a",))
    await house.made("budgets", id="his", scope={"type": "user", "id": "user_lead"}, limit_usd="1")
    answers = [await lead.post("/admin/v1/budgets", json={"scope": scope, "limit_usd": "9"}) for scope in scopes]
    for budget_id in ("budget_a", "of_model", "his"):
        path = f"/admin/v1/budgets/{budget_id}"
        assert (await lead.get(path)).status_code == 200, "he reads it"
        answers += [await lead.patch(path, json={"limit_usd": "9"}), await lead.delete(path)]
    assert [answer.status_code for answer in answers] == [403] * len(answers)
    assert "set by who stands above it" in answers[0].text
    kept = await house.admin.get("/admin/v1/budgets/budget_a")
    assert (kept.json()["limit_usd"], kept.json()["version"]) == ("1.000000000", 1)
    form = (await lead.get("/admin/new/budget")).text
    assert 'value="member"' in form
    assert 'value="team"' not in form
    page = (await lead.get("/admin/budgets/budget_a")).text
    assert "/admin/budgets/budget_a/edit" not in page
    assert "/admin/budgets/of_key_a/edit" in (await lead.get("/admin/budgets/of_key_a")).text
    for path in ("edit", "delete"):
        assert (await lead.get(f"/admin/budgets/budget_a/{path}")).status_code == 403


@pytest.mark.parametrize("role", ["owner", "admin", "billing"])
async def test_the_budget_of_an_organization_is_set_by_who_belongs_to_none(house: House, role: str) -> None:
    await house.made("organizations", id="org_a", name="A")
    await house.made("teams", id="team_a", name="a", organization_id="org_a")
    for scope, one in (("organization", "org_a"), ("team", "team_a")):
        await house.made("budgets", id=f"of_{scope}", scope={"type": scope, "id": one}, limit_usd="1")
    theirs = await house.person(role, "user_theirs", organization_id="org_a")
    ours = await house.person(role, "user_ours")
    change = {"limit_usd": "9"}
    assert (await theirs.patch("/admin/v1/budgets/of_organization", json=change)).status_code == 403
    assert (await theirs.delete("/admin/v1/budgets/of_organization")).status_code == 403
    asked = {"scope": {"type": "organization", "id": "org_a"}, **change}
    assert (await theirs.post("/admin/v1/budgets", json=asked)).status_code == 403
    assert (await theirs.patch("/admin/v1/budgets/of_team", json=change)).status_code == 200
    assert (await ours.patch("/admin/v1/budgets/of_organization", json=change)).status_code == 200


@pytest.mark.parametrize("role", ["owner", "admin", "billing", "team_admin"])
async def test_a_team_admin_gets_no_key_in_hand_that_may_more(house: House, role: str) -> None:
    """A user's key acts with that user's role, so whoever makes or rotates one has that role in his hand."""
    await teams(house)
    lead = await house.person("team_admin", "user_lead", teams=("team_a",))
    await house.person(role, "user_more", teams=("team_a", "team_b"))
    key = await house.made("keys", name="more", team_id="team_a", user_id="user_more")
    answers = [
        await lead.post("/admin/v1/keys", json={"name": "x", "team_id": "team_a", "user_id": "user_more"}),
        await lead.patch("/admin/v1/keys/key_a", json={"user_id": "user_more"}),
        await lead.post(f"/admin/v1/keys/{key['id']}/rotate"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 3


async def test_a_member_sees_himself_and_his_own(house: House) -> None:
    await teams(house)
    member = await house.person("member", teams=("team_a",))
    assert await ids(member, "teams") == ["team_a"]
    assert await ids(member, "teams/team_a/members") == ["user_member"]
    assert await ids(member, "users") == ["user_member"]
    assert await ids(member, "keys") == ["key_of_user_member"]
    assert await ids(member, "budgets") == []
    await house.made("budgets", id="own", scope={"type": "user", "id": "user_member"}, limit_usd="1")
    await house.made("budgets", id="own_key", scope={"type": "key", "id": "key_of_user_member"}, limit_usd="1")
    assert await ids(member, "budgets") == ["own", "own_key"]
    for path in ("users/user_a", "keys/key_a", "budgets/budget_a", "teams/team_b"):
        assert (await member.get(f"/admin/v1/{path}")).status_code == 404, path


async def test_a_member_makes_keys_of_his_own_in_his_team(house: House) -> None:
    await teams(house)
    member = await house.person("member", teams=("team_a",))
    made = (await member.post("/admin/v1/keys", json={"name": "mine"})).json()
    assert (made["user_id"], made["team_id"]) == ("user_member", "team_a")
    assert (await member.post("/admin/v1/keys", json={"name": "x", "user_id": "user_a"})).status_code == 403
    assert (await member.post("/admin/v1/keys", json={"name": "x", "team_id": "team_b"})).status_code == 404
    path = f"/admin/v1/keys/{made['id']}"
    assert (await member.patch(path, json={"name": "renamed"})).status_code == 200
    assert (await member.post(f"{path}/rotate")).status_code == 201
    changes: list[dict[str, object]] = [
        {"models_allowed": []},
        {"limits": {}},
        {"team_id": None},
        {"user_id": "user_a"},
        {"scopes": []},
    ]
    for change in changes:
        assert (await member.patch(path, json=change)).status_code == 403, change
    assert (await member.delete(path)).status_code == 200


async def test_a_member_makes_no_key_that_is_wider_than_the_one_he_has(house: House) -> None:
    await house.made("users", id="user_m", name="M", email="m@example.org")
    narrow = await house.made(
        "keys", name="narrow", user_id="user_m", models_allowed=["small"], expires_at="2025-12-01T00:00:00Z"
    )
    member = house.bearer(narrow["key"])
    made = (await member.post("/admin/v1/keys", json={"name": "wide", "models_allowed": ["*"]})).json()
    assert made["models_allowed"] == ["small"]
    assert made["expires_at"] == "2025-12-01T00:00:00.000000Z"


async def test_each_sees_the_usage_and_the_requests_that_are_his(house: House) -> None:
    await teams(house)
    people = {
        "owner": await house.person("owner"),
        "team_admin": await house.person("team_admin", teams=("team_a",)),
        "member": await house.person("member", "user_x", teams=("team_a",)),
    }
    for number, (team, user) in enumerate([("team_a", "user_a"), ("team_a", "user_x"), ("team_b", "user_b")]):
        hold = traffic.hold(f"req_{number}", NOON, team_id=team)._replace(user_id=user)
        traffic.answered(house.books, hold)
    expected = {"owner": [0, 1, 2], "team_admin": [0, 1], "member": [1]}
    for role, numbers in expected.items():
        person = people[role]
        (total,) = (await person.get("/admin/v1/usage")).json()["data"]
        assert total["requests"] == len(numbers), role
        listed = (await person.get("/admin/v1/requests")).json()["data"]
        assert sorted(one["id"] for one in listed) == [f"req_{number}" for number in numbers]
        for number in range(3):
            answer = await person.get(f"/admin/v1/requests/req_{number}")
            assert answer.status_code == (200 if number in numbers else 404)
    rows = (await people["team_admin"].get("/admin/v1/usage", params={"group_by": "team"})).json()["data"]
    assert [row["team_id"] for row in rows] == ["team_a"]
    none = (await people["team_admin"].get("/admin/v1/usage", params={"team": "team_b"})).json()["data"]
    assert none[0]["requests"] == 0
