"""The audit page: every change in words, newest first, page by page, and no secret."""

import re

from tests.gateway.admin.house import ADMIN_KEY, House
from tests.gateway.admin.test_sign_in import sign_in


async def test_a_change_says_what_was_before_and_after(house: House) -> None:
    await house.made("teams", id="team_a", name="Search")
    await house.admin.patch("/admin/v1/teams/team_a", json={"name": "Find"})
    await sign_in(house)
    text = (await house.browser.get("/admin/audit")).text
    assert "<del>Search</del> <ins>Find</ins>" in text
    assert text.index("team.update") < text.index("team.create")
    assert "admin key" in text


async def test_times_and_scopes_are_in_words(house: House) -> None:
    secret = (await house.made("keys", id="key_a", name="ci", expires_at="2025-12-01T00:00:00Z"))["key"]
    await house.made("budgets", id="budget_a", scope={"type": "key", "id": "key_a"}, limit_usd="5", window="day")
    await sign_in(house)
    text = (await house.browser.get("/admin/audit")).text
    assert "<dt>expires at</dt><dd><ins>2025-12-01 00:00:00</ins>" in text
    assert "type key" in text
    assert "5.000000000" in text
    assert secret not in text
    assert ADMIN_KEY not in text


async def test_one_object_s_changes_alone(house: House) -> None:
    await house.made("teams", id="team_a", name="Search")
    await house.made("teams", id="team_b", name="Support")
    await sign_in(house)
    text = (await house.browser.get("/admin/audit?object_id=team_a")).text
    assert "team_a" in text
    assert "Support" not in text
    assert "Nothing is recorded" in (await house.browser.get("/admin/audit?object_id=team_x")).text


async def test_it_goes_on_page_by_page(house: House) -> None:
    for number in range(60):
        await house.made("teams", name=f"Team {number}")
    await sign_in(house)
    first = (await house.browser.get("/admin/audit")).text
    link = re.search(r'href="(/admin/audit\?after=[^"]+)" rel="next"', first)
    assert link is not None
    second = (await house.browser.get(link[1])).text
    assert "Team 0<" in second
    assert "Team 59<" not in second
    assert 'rel="next"' not in second
