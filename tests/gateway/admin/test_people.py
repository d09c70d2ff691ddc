"""Organizations, users and members over HTTP, and that nobody makes himself or another more than he is."""

from typing import TYPE_CHECKING

import pytest

from billing.roles import Role
from tests.gateway.admin.house import House

if TYPE_CHECKING:
    import httpx


async def test_an_organization_is_made_changed_listed_and_deleted(house: House) -> None:
    made = await house.admin.post("/admin/v1/organizations", json={"name": "Acme"})
    assert made.status_code == 201
    one = made.json()
    assert one["id"].startswith("org_")
    assert (await house.admin.get(f"/admin/v1/organizations/{one['id']}")).json() == one
    seen = {"if-match": made.headers["etag"]}
    path = f"/admin/v1/organizations/{one['id']}"
    assert (await house.admin.patch(path, json={"name": "Acme & Co"}, headers=seen)).json()["name"] == "Acme & Co"
    assert (await house.admin.patch(path, json={"name": "Lost"}, headers=seen)).status_code == 412
    assert (await house.admin.delete(path, headers=seen)).status_code == 412
    assert [row["name"] for row in (await house.admin.get("/admin/v1/organizations")).json()["data"]] == ["Acme & Co"]
    assert (await house.admin.delete(path)).status_code == 204
    assert (await house.admin.get(path)).status_code == 404


async def test_an_organization_with_teams_stays(house: House) -> None:
    await house.made("organizations", id="org_a", name="Acme")
    await house.made("teams", id="team_a", name="A", organization_id="org_a")
    answer = await house.admin.delete("/admin/v1/organizations/org_a")
    assert answer.status_code == 409
    assert answer.json()["code"] == "conflict"


async def test_a_user_is_made_changed_found_and_deleted(house: House) -> None:
    user = await house.made("users", name="Ada", email="Ada@Example.org", role="viewer")
    assert user["id"].startswith("user_")
    assert (user["email"], user["role"], user["organization_id"]) == ("ada@example.org", "viewer", None)
    found = (await house.admin.get("/admin/v1/users", params={"email": "ADA@example.org"})).json()["data"]
    assert found == [user]
    path = f"/admin/v1/users/{user['id']}"
    changed = (await house.admin.patch(path, json={"role": "billing", "name": "Ada L."})).json()
    assert (changed["role"], changed["name"], changed["version"]) == ("billing", "Ada L.", 2)
    assert (await house.admin.delete(path)).status_code == 204
    assert (await house.admin.get(path)).status_code == 404


async def test_an_email_is_one_users(house: House) -> None:
    await house.made("users", name="Ada", email="ada@example.org")
    again = await house.admin.post("/admin/v1/users", json={"name": "Other", "email": "ADA@example.org"})
    assert again.status_code == 409


@pytest.mark.parametrize(
    "fields", [{"email": "nobody"}, {"email": "a@b", "role": "king"}, {"email": "a@b", "organization_id": "org_no"}]
)
async def test_a_user_who_cannot_be_is_refused(house: House, fields: dict[str, str]) -> None:
    answer = await house.admin.post("/admin/v1/users", json={"name": "Ada", **fields})
    assert answer.status_code in (404, 422)
    assert (await house.admin.get("/admin/v1/users")).json()["data"] == []


async def test_a_user_is_a_member_once_and_gone_when_removed(house: House) -> None:
    await house.made("teams", id="team_a", name="A")
    for number in range(3):
        await house.made("users", id=f"user_{number}", name=f"U{number}", email=f"u{number}@example.org")
        await house.made("teams/team_a/members", user_id=f"user_{number}")
    first = (await house.admin.get("/admin/v1/teams/team_a/members", params={"limit": 2})).json()
    assert [one["user_id"] for one in first["data"]] == ["user_0", "user_1"]
    assert first["data"][0]["email"] == "u0@example.org"
    rest = (await house.admin.get("/admin/v1/teams/team_a/members", params={"after": first["next"]})).json()
    assert [one["user_id"] for one in rest["data"]] == ["user_2"]
    assert rest["has_more"] is False
    again = await house.admin.post("/admin/v1/teams/team_a/members", json={"user_id": "user_0"})
    assert again.status_code == 409
    assert (await house.admin.delete("/admin/v1/teams/team_a/members/user_0")).status_code == 204
    assert (await house.admin.delete("/admin/v1/teams/team_a/members/user_0")).status_code == 404


async def test_a_user_joins_no_team_of_another_organization(house: House) -> None:
    for letter in "ab":
        await house.made("organizations", id=f"org_{letter}", name=letter)
        await house.made("teams", id=f"team_{letter}", name=letter, organization_id=f"org_{letter}")
    await house.made("users", id="user_b", name="B", email="b@example.org", organization_id="org_b")
    answer = await house.admin.post("/admin/v1/teams/team_a/members", json={"user_id": "user_b"})
    assert answer.status_code == 409


async def test_a_user_goes_after_his_keys(house: House) -> None:
    person = await house.person("viewer")
    assert (await person.get("/admin/v1/teams")).status_code == 200
    answer = await house.admin.delete("/admin/v1/users/user_viewer")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    await house.admin.delete("/admin/v1/keys/key_of_user_viewer")
    assert (await person.get("/admin/v1/teams")).status_code == 401
    assert (await house.admin.delete("/admin/v1/users/user_viewer")).status_code == 204


async def test_a_key_of_a_user_whom_nobody_knows_is_nobodys(house: House) -> None:
    key = await house.made("keys", name="of a name alone", user_id="somebody")
    answer = await house.bearer(key["key"]).get("/admin/v1/teams")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_an_admin")


async def test_a_change_of_role_holds_from_the_next_request_on(house: House) -> None:
    person = await house.person("admin")
    assert (await person.post("/admin/v1/teams", json={"name": "A"})).status_code == 201
    await house.admin.patch("/admin/v1/users/user_admin", json={"role": "viewer"})
    assert (await person.post("/admin/v1/teams", json={"name": "B"})).status_code == 403


async def test_a_key_whose_scopes_leave_administration_out_is_nobodys_here(house: House) -> None:
    await house.made("users", id="user_a", name="A", email="a@example.org", role="admin")
    for scopes, status in ((["chat"], 403), (["chat", "admin"], 200)):
        key = await house.made("keys", name="scoped", user_id="user_a", scopes=scopes)
        assert (await house.bearer(key["key"]).get("/admin/v1/teams")).status_code == status


async def test_nobody_raises_his_own_role(house: House) -> None:
    for role in Role:
        person = await house.person(role)
        path = f"/admin/v1/users/user_{role}"
        answer = await person.patch(path, json={"role": "owner"})
        expected = 200 if role is Role.OWNER else 403
        assert answer.status_code == expected, role
        assert (await house.admin.get(path)).json()["role"] == role


async def test_of_oneself_one_may_change_the_name(house: House) -> None:
    person = await house.person("member")
    assert (await person.patch("/admin/v1/users/user_member", json={"name": "Me"})).json()["name"] == "Me"
    for change in ({"email": "other@example.org"}, {"organization_id": None}, {"name": "Me", "role": "member"}):
        assert (await person.patch("/admin/v1/users/user_member", json=change)).status_code == 403
    await house.made("users", id="user_other", name="Other", email="o@example.org")
    assert (await person.patch("/admin/v1/users/user_other", json={"name": "Mine"})).status_code == 404


async def test_an_admin_neither_makes_nor_changes_owners(house: House) -> None:
    admin = await house.person("admin")
    await house.made("users", id="user_boss", name="Boss", email="boss@example.org", role="owner")
    key = await house.made("keys", name="of the boss", user_id="user_boss")
    refused: list[httpx.Response] = [
        await admin.post("/admin/v1/users", json={"name": "X", "email": "x@example.org", "role": "owner"}),
        await admin.patch("/admin/v1/users/user_boss", json={"name": "X"}),
        await admin.patch("/admin/v1/users/user_boss", json={"role": "viewer"}),
        await admin.delete("/admin/v1/users/user_boss"),
        await admin.post("/admin/v1/keys", json={"name": "x", "user_id": "user_boss"}),
        await admin.post(f"/admin/v1/keys/{key['id']}/rotate"),
        await admin.patch(f"/admin/v1/keys/{key['id']}", json={"user_id": "user_admin"}),
        await admin.delete(f"/admin/v1/keys/{key['id']}"),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    # Nor a key of a user to be, who may become an owner.
    assert (await admin.post("/admin/v1/keys", json={"name": "x", "user_id": "user_to_be"})).status_code == 404
    made = await admin.post("/admin/v1/users", json={"name": "X", "email": "x@example.org", "role": "admin"})
    assert made.status_code == 201


async def test_whoever_belongs_to_an_organization_sees_and_makes_its_own_alone(house: House) -> None:
    for letter in "ab":
        await house.made("organizations", id=f"org_{letter}", name=letter)
        await house.made("teams", id=f"team_{letter}", name=letter, organization_id=f"org_{letter}")
        await house.made(
            "users", id=f"user_{letter}", name=letter, email=f"{letter}@example.org", organization_id=f"org_{letter}"
        )
        await house.made("keys", id=f"key_{letter}", name=letter, team_id=f"team_{letter}")
        await house.made("keys", id=f"own_key_{letter}", name=letter, user_id=f"user_{letter}")
        await house.made(
            "budgets", id=f"budget_{letter}", scope={"type": "team", "id": f"team_{letter}"}, limit_usd="1"
        )
    await house.made("users", id="user_of_none", name="None", email="none@example.org")
    admin = await house.person("admin", organization_id="org_a")
    expected = {
        "organizations": ["org_a"],
        "teams": ["team_a"],
        "users": ["user_a", "user_admin"],
        "keys": ["key_a", "key_of_user_admin", "own_key_a"],
        "budgets": ["budget_a"],
    }
    for what, ids in expected.items():
        assert [one["id"] for one in (await admin.get(f"/admin/v1/{what}")).json()["data"]] == ids, what
    for path in ("organizations/org_b", "teams/team_b", "teams/team_b/members", "users/user_of_none", "keys/own_key_b"):
        assert (await admin.get(f"/admin/v1/{path}")).status_code == 404
    made = await admin.post("/admin/v1/teams", json={"name": "New"})
    assert made.json()["organization_id"] == "org_a"
    user = await admin.post("/admin/v1/users", json={"name": "New", "email": "new@example.org"})
    assert user.json()["organization_id"] == "org_a"
    key = await admin.post("/admin/v1/keys", json={"name": "New"})
    assert key.json()["organization_id"] == "org_a"
    for what, body in (
        ("teams", {"name": "x", "organization_id": "org_b"}),
        ("users", {"name": "x", "email": "y@example.org", "organization_id": "org_b"}),
        ("keys", {"name": "x", "organization_id": "org_b"}),
        ("budgets", {"scope": {"type": "team", "id": "team_b"}, "limit_usd": "1"}),
        ("budgets", {"scope": {"type": "organization", "id": "org_a"}, "limit_usd": "1"}),
        ("budgets", {"scope": {"type": "model", "id": "m"}, "limit_usd": "1"}),
        ("budgets", {"scope": {"type": "team", "id": "*"}, "limit_usd": "1"}),
        ("budgets", {"scope": {"type": "key", "id": "key_b"}, "limit_usd": "1"}),
    ):
        assert (await admin.post(f"/admin/v1/{what}", json=body)).status_code == 403, (what, body)
    assert (await admin.post("/admin/v1/teams/team_a/members", json={"user_id": "user_b"})).status_code == 404
    own = await admin.post("/admin/v1/budgets", json={"scope": {"type": "team", "id": "team_a"}, "limit_usd": "1"})
    assert own.status_code == 201
