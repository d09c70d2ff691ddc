"""Organizations, teams, members and users on their pages: made, changed, deleted, and refused with what was typed."""

import pytest

from tests.gateway.admin.house import House
from tests.gateway.admin.pages.forms import held_by, send, sent
from tests.gateway.admin.test_sign_in import sign_in


async def test_an_organization_is_made_renamed_and_deleted(house: House) -> None:
    await sign_in(house)
    text = await sent(house, "/admin/new/organization", name="Acme", id="org_a")
    assert "The organization is there." in text
    assert "No team yet" in text
    text = await sent(house, "/admin/organizations/org_a/edit", name="Acme Research")
    assert ">Acme Research<" in text
    text = await sent(house, "/admin/organizations/org_a/delete")
    assert "is deleted" in text
    assert (await house.browser.get("/admin/organizations/org_a")).status_code == 404


async def test_a_team_is_made_given_a_member_and_relieved_of_it(house: House) -> None:
    await house.made("organizations", id="org_a", name="Acme")
    await house.made("users", id="user_a", name="Ada", email="ada@example.org", role="member", organization_id="org_a")
    await sign_in(house)
    text = await sent(house, "/admin/new/team", name="Search", id="team_a", organization_id="org_a")
    assert ">Acme<" in text
    text = await sent(house, "/admin/teams/team_a/members", user_id="user_a")
    assert ">Ada<" in text
    text = await sent(house, "/admin/teams/team_a/members/user_a/remove")
    assert "No member yet" in text
    text = await sent(house, "/admin/teams/team_a/edit", name="Find", organization_id="")
    assert "The team is changed." in text
    team = (await house.admin.get("/admin/v1/teams/team_a")).json()
    assert (team["name"], team["organization_id"]) == ("Find", None)


async def test_a_team_whose_keys_work_is_not_deleted_and_the_page_says_why(house: House) -> None:
    await house.made("teams", id="team_a", name="Search")
    await house.virtual_key(team_id="team_a")
    await sign_in(house)
    answer = await send(house, "/admin/teams/team_a/delete")
    assert answer.status_code == 409
    assert "revoke or move them first" in answer.text
    assert 'role="alert"' in answer.text


async def test_a_user_is_made_and_given_another_role(house: House) -> None:
    await sign_in(house)
    text = await sent(house, "/admin/new/user", name="Ada", email="Ada@example.org", role="member")
    assert "ada@example.org" in text
    ((user),) = (await house.admin.get("/admin/v1/users")).json()["data"]
    path = f"/admin/users/{user['id']}"
    text = await sent(house, f"{path}/edit", name="Ada", email="ada@example.org", role="team_admin")
    assert "Team admin" in text
    text = await sent(house, f"{path}/delete")
    assert "No user yet" in text


async def test_a_mistake_keeps_what_was_typed_and_is_told_beside_the_field(house: House) -> None:
    await sign_in(house)
    answer = await send(house, "/admin/new/user", name="Ada <3", email="ada", role="viewer")
    assert answer.status_code == 422
    assert 'value="Ada &lt;3"' in answer.text
    assert 'value="ada"' in answer.text
    assert 'aria-describedby="f-email-error"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert '<option value="viewer" selected>' in answer.text
    assert "<title>Error: New user" in answer.text
    assert (await house.admin.get("/admin/v1/users")).json()["data"] == []


async def test_an_address_that_another_has_is_refused_in_the_form(house: House) -> None:
    await house.made("users", id="user_a", name="Ada", email="ada@example.org", role="member")
    await sign_in(house)
    answer = await send(house, "/admin/new/user", name="Ada too", email="ada@example.org", role="member")
    assert answer.status_code == 422
    assert "ada@example.org" in answer.text
    assert 'value="Ada too"' in answer.text


async def test_pressed_twice_it_is_made_once(house: House) -> None:
    await sign_in(house)
    typed = {**held_by(await house.browser.get("/admin/new/team")), "name": "Search"}
    first = await house.browser.post("/admin/new/team", data=typed)
    second = await house.browser.post("/admin/new/team", data=typed)
    assert first.headers["location"] == second.headers["location"]
    assert len((await house.admin.get("/admin/v1/teams")).json()["data"]) == 1
    other = await house.browser.post("/admin/new/team", data={**typed, "name": "Other"})
    assert other.status_code == 422
    assert "open a new one" in other.text


async def test_who_saves_what_somebody_changed_meanwhile_is_told(house: House) -> None:
    await house.made("teams", id="team_a", name="Search")
    await sign_in(house)
    page = await house.browser.get("/admin/teams/team_a/edit")
    await house.admin.patch("/admin/v1/teams/team_a", json={"name": "Find"})
    answer = await house.browser.post("/admin/teams/team_a/edit", data={**held_by(page), "name": "Seek"})
    assert answer.status_code == 422
    assert "Somebody changed this" in answer.text
    assert 'value="Seek"' in answer.text
    assert (await house.admin.get("/admin/v1/teams/team_a")).json()["name"] == "Find"


@pytest.mark.parametrize(
    ("role", "shown", "hidden"),
    [
        ("viewer", "/admin/audit", "/admin/new/team"),
        ("billing", "/admin/new/budget", "/admin/new/key"),
        ("member", "/admin/new/key", "/admin/new/budget"),
    ],
)
async def test_a_role_sees_the_links_that_it_may_follow(house: House, role: str, shown: str, hidden: str) -> None:
    await house.made("teams", id="team_a", name="Search")
    person = await house.person(role, teams=("team_a",))
    texts = [
        (await person.get(path, headers={"accept": "text/html"})).text
        for path in ("/admin/teams", "/admin/keys", "/admin/budgets")
    ]
    assert any(f'href="{shown}' in text for text in texts)
    assert not any(f'href="{hidden}' in text for text in texts)
    answer = await person.get(hidden, headers={"accept": "text/html"})
    assert answer.status_code == 403


async def test_who_belongs_to_an_organization_sees_nothing_of_another(house: House) -> None:
    for letter in "ab":
        await house.made("organizations", id=f"org_{letter}", name=f"Organization {letter}")
        await house.made("teams", id=f"team_{letter}", name=f"Team {letter}", organization_id=f"org_{letter}")
        scope = {"type": "team", "id": f"team_{letter}"}
        await house.made("budgets", id=f"budget_{letter}", scope=scope, limit_usd="1", window="month")
        await house.made("keys", id=f"key_{letter}", name=f"Key {letter}", team_id=f"team_{letter}")
    person = await house.person("admin", organization_id="org_a")
    html = {"accept": "text/html"}
    for path in ("", "/organizations", "/teams", "/users", "/keys", "/budgets", "/usage", "/requests"):
        answer = await person.get(f"/admin{path}", headers=html)
        assert answer.status_code == 200, path
        assert not any(word in answer.text for word in ("Organization b", "Team b", "Key b")), path
    for path in ("organizations/org_b", "teams/team_b", "keys/key_b", "budgets/budget_b"):
        assert (await person.get(f"/admin/{path}", headers=html)).status_code == 404, path


async def test_a_form_without_its_token_changes_nothing(house: House) -> None:
    await sign_in(house)
    answer = await house.browser.post("/admin/new/team", data={"name": "Forged"})
    assert answer.status_code == 403
    assert (await house.admin.get("/admin/v1/teams")).json()["data"] == []
