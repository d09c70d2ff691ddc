"""Budgets on their pages: made, changed, deleted; what is left and when it resets; the burn-down and its figures."""

import re

import pytest

from tests.gateway.admin.house import NOON, House
from tests.gateway.admin.pages.forms import send, sent
from tests.gateway.admin.scene import furnished, spent
from tests.gateway.admin.test_sign_in import sign_in

MADE = {"scope_type": "team", "scope_id": "team_a", "window": "month", "timezone": "Europe/Berlin"}


async def test_a_budget_is_made_changed_and_deleted(house: House) -> None:
    await house.made("teams", id="team_a", name="Search")
    await sign_in(house)
    text = await sent(house, "/admin/new/budget", **MADE, limit_usd="$1,000.50", soft_limit_usd="800")
    assert "Team Search" in text
    assert "1000.500000000" in text
    assert "Each month, in Europe/Berlin" in text
    (budget,) = (await house.admin.get("/admin/v1/budgets")).json()["data"]
    path = f"/admin/budgets/{budget['id']}"
    page = (await house.browser.get(f"{path}/edit")).text
    assert 'value="1000.50"' in page
    text = await sent(house, f"{path}/edit", limit_usd="0.000000001", soft_limit_usd="", over_budget="downgrade")
    assert "0.000000001" in text
    assert "Use the cheapest model allowed" in text
    text = await sent(house, f"{path}/delete")
    assert "No budget yet" in text
    assert (await house.admin.get("/admin/v1/budgets")).json()["data"] == []


async def test_a_budget_of_nobody_is_refused_in_the_form(house: House) -> None:
    await sign_in(house)
    answer = await send(house, "/admin/new/budget", **{**MADE, "scope_id": "team_no"}, limit_usd="10")
    assert answer.status_code == 422
    assert "team_no" in answer.text
    assert 'value="10"' in answer.text


async def test_the_list_says_what_is_left_and_when_it_resets(house: House) -> None:
    await furnished(house)
    await sign_in(house)
    text = (await house.browser.get("/admin/budgets")).text
    row = re.search(r'<tr><th[^>]*><span><a href="/admin/budgets/budget_a".*?</tr>', text, re.DOTALL)
    assert row is not None
    assert 'value="0.247725578"' in row[0]  # spent: twice 0.123456789, and what fell back
    assert 'value="0.752274422"' in row[0]  # left
    assert "2025-12-01 00:00" in row[0]
    assert "24.7 %" in row[0]


async def test_the_page_shows_the_burn_down_and_the_figures_behind_it(house: House) -> None:
    await furnished(house)
    await sign_in(house)
    text = (await house.browser.get("/admin/budgets/budget_a")).text
    assert text.count('class="plot ') == 2  # for a desk, for a phone
    assert 'class="pace"' in text
    assert 'class="soft-limit"' in text
    assert re.search(r"<strong>less</strong>\s+is spent than at an even pace", text)
    assert "At this rate it lasts beyond the reset." in text
    left = re.findall(r'<td class="num">([\d.]+)</td>', text)
    assert left[0] == "1.000000000"
    assert left[-1] == "0.752274422"
    assert sorted(left, reverse=True) == left


async def test_who_spends_too_fast_is_told_until_when_it_lasts(house: House) -> None:
    await furnished(house)
    spent(house, "req_big", NOON - 3600 * 10**6, "key_a", "team_a", "gpt-5-mini", 700_000_000)
    house.books.flush()
    await sign_in(house)
    text = (await house.browser.get("/admin/budgets/budget_a")).text
    assert "<strong>more</strong>" in text
    assert "At this rate it lasts until" in text
    assert 'class="used warn"' in (await house.browser.get("/admin/budgets")).text


async def test_a_spent_budget_says_so(house: House) -> None:
    await furnished(house)
    spent(house, "req_big", NOON - 3600 * 10**6, "key_a", "team_a", "gpt-5-mini", 900_000_000)
    house.books.flush()
    await sign_in(house)
    text = (await house.browser.get("/admin/budgets/budget_a")).text
    assert "It is used up until it resets." in text
    assert 'value="-0.147725578"' in text


async def test_a_budget_for_each_shows_them_apart_the_fullest_first(house: House) -> None:
    await furnished(house)
    await sign_in(house)
    text = (await house.browser.get("/admin/budgets/budget_k")).text
    assert "Each key" in text
    places = [text.index(f"?subject={key_id}") for key_id in ("key_b", "key_a")]
    assert places == sorted(places)
    other = (await house.browser.get("/admin/budgets/budget_k?subject=key_a")).text
    assert "shown is <strong>production</strong>" in other


async def test_a_budget_without_an_end_has_no_pace(house: House) -> None:
    await furnished(house)
    await sign_in(house)
    text = (await house.browser.get("/admin/budgets/budget_t")).text
    assert 'class="pace"' not in text
    assert "no pace to keep" in text
    assert ">never<" in text


@pytest.mark.parametrize("window", ["hour", "day", "week", "month", "total"])
@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
async def test_every_window_in_any_zone_is_shown(house: House, window: str, timezone: str) -> None:
    await furnished(house)
    scope = {"type": "team", "id": "team_a"}
    await house.made("budgets", id="budget_x", scope=scope, limit_usd="9", window=window, timezone=timezone)
    await sign_in(house)
    answer = await house.browser.get("/admin/budgets/budget_x")
    assert answer.status_code == 200
    assert answer.text.count('class="plot ') == 2
