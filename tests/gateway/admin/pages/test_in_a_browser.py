"""People with real browsers: each flow from end to end, by mouse and by keyboard, at a desk, on a phone, at night."""

import asyncio
import itertools
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.gateway.admin.house import House
from tests.gateway.admin.pages.access import CONTRAST, FAULTS, FOCUS
from tests.gateway.admin.scene import PLACES, furnished
from tests.gateway.admin.test_browser import served, sign_in

pytestmark = pytest.mark.slow
PAGES = [place for place in PLACES if not place.endswith(".csv")]


@pytest.fixture
def address(house: House) -> Iterator[str]:
    with served(house) as found:
        yield found


@pytest.fixture
def lived_in(house: House, address: str) -> str:
    """After somebody has worked here for a while."""
    # On a thread of its own: this one's loop is the browser's.
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, furnished(house)).result()
    return address


@pytest.fixture(autouse=True)
def complaints(page: Page) -> Iterator[list[str]]:
    """No page asks anything of another origin, breaks its own policy or fails."""
    found: list[str] = []
    hosts: set[str | None] = set()
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    yield found
    # A refused form is 422, and the browser says so.
    assert [text for text in found if "422" not in text] == []
    assert hosts == {"127.0.0.1"}


def test_a_team_a_budget_and_a_key_are_made_without_leaving_the_pages(page: Page, address: str) -> None:
    sign_in(page, address)
    page.get_by_role("link", name="Make a team").click()
    page.get_by_label("Name").fill("Search")
    page.get_by_role("button", name="Create team").click()
    expect(page.get_by_role("status")).to_contain_text("The team is there")
    page.get_by_role("link", name="New budget").click()
    # The form knows already for whom: the team that the link stood on.
    page.get_by_label(re.compile("^Limit")).fill("100")
    page.get_by_role("button", name="Create budget").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Team Search")
    expect(page.locator(".facts")).to_contain_text("$100.00")
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Teams").click()
    page.get_by_role("link", name="Search").click()
    page.get_by_role("link", name="New key").click()
    page.get_by_label("Name").fill("production")
    page.get_by_role("button", name="Create key").click()
    secret = page.get_by_label("Secret").input_value()
    assert secret.startswith("tp-")
    # Loaded anew the form is sent anew: it makes no second key, and the secret is not shown again.
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("the secret was shown then")
    assert secret not in page.content()
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Audit").click()
    expect(page.get_by_role("rowheader", name="key.create")).to_be_visible()
    assert secret not in page.content()


def test_a_mistake_keeps_what_was_typed_and_the_summary_leads_to_the_field(page: Page, lived_in: str) -> None:
    sign_in(page, lived_in)
    page.goto(f"{lived_in}/admin/new/budget")
    page.get_by_label("Which one").fill("team_a")
    page.get_by_label(re.compile("^Limit")).fill("a lot")
    page.get_by_role("button", name="Create budget").click()
    expect(page.get_by_role("alert")).to_contain_text("An amount in dollars")
    limit = page.get_by_label(re.compile("^Limit"))
    expect(limit).to_have_value("a lot")
    expect(limit).to_have_attribute("aria-invalid", "true")
    expect(limit).to_have_accessible_description(re.compile("An amount in dollars"))
    expect(page.get_by_label("Which one")).to_have_value("team_a")
    page.get_by_role("alert").get_by_role("link", name="Limit").click()
    expect(limit).to_be_focused()
    limit.fill("12.50")
    page.get_by_role("button", name="Create budget").click()
    expect(page.get_by_role("status")).to_contain_text("binds from now on")


def test_a_key_is_rotated_and_revoked_after_asking(page: Page, lived_in: str) -> None:
    sign_in(page, lived_in)
    page.goto(f"{lived_in}/admin/keys/key_a")
    page.get_by_role("link", name="Rotate").click()
    page.get_by_label("The secret before is to").select_option("0")
    page.get_by_role("button", name="Rotate key").click()
    expect(page.get_by_label("Secret")).to_have_value(re.compile("^tp-"))
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Revoke").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Revoke production?")
    page.get_by_role("link", name="Keep it").click()
    expect(page.get_by_text("valid")).to_be_visible()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_role("status")).to_contain_text("It opens nothing any more")
    expect(page.get_by_text("revoked", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Revoke")).to_have_count(0)


def test_a_month_end_report_is_grouped_read_and_downloaded(page: Page, lived_in: str, tmp_path: Path) -> None:
    sign_in(page, lived_in)
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Usage").click()
    page.get_by_label("Group by").select_option("model")
    page.get_by_label("then by").select_option("team")
    page.get_by_label("From").fill("2025-11-01")
    page.get_by_label("To, included").fill("2025-11-30")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("img", name="Cost by day, 2025-11-01 to 2025-11-30")).to_be_visible()
    rows = page.locator("#usage tbody tr")
    expect(rows.first).to_contain_text("llama-70b")  # the dearest
    with page.expect_download() as caught:
        page.get_by_role("link", name="Download CSV").click()
    file = tmp_path / caught.value.suggested_filename
    caught.value.save_as(file)
    assert file.name == "usage-model-team-2025-11-01-2025-11-30.csv"
    assert len(file.read_text().splitlines()) == rows.count() + 1
    # The link is the report: somebody else opens the very same.
    assert "by=model" in page.url
    assert "then=team" in page.url


def test_the_figure_behind_a_bar_is_told_where_the_pointer_is(page: Page, lived_in: str) -> None:
    sign_in(page, lived_in)
    page.goto(f"{lived_in}/admin/usage")
    bar = page.locator("svg.wide rect").first
    assert "$" in (bar.locator("title").text_content() or "")


def test_times_follow_the_chosen_zone(page: Page, lived_in: str) -> None:
    sign_in(page, lived_in)
    page.get_by_role("link", name="Change time zone").click()
    page.get_by_label("Show times in").fill("Asia/Tokyo")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Times in Asia/Tokyo")).to_be_visible()
    page.goto(f"{lived_in}/admin/keys/key_b")
    expect(page.get_by_text("2025-12-01 09:00")).to_be_visible()


def test_one_request_tells_its_whole_story(page: Page, lived_in: str) -> None:
    sign_in(page, lived_in)
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Requests").click()
    page.locator("tr", has_text="fallback").get_by_role("link").click()
    attempts = page.get_by_role("region", name="Attempts").get_by_role("row")
    expect(attempts).to_have_count(3)
    expect(attempts.nth(1)).to_contain_text("no byte for 2 s")
    entries = page.get_by_role("region", name="Ledger entries").get_by_role("row")
    expect(entries.nth(1)).to_contain_text("$0.000580000")


def test_by_keyboard_alone_a_key_is_made(page: Page, lived_in: str) -> None:
    sign_in(page, lived_in)
    page.goto(f"{lived_in}/admin/keys")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="New key")).to_be_focused()  # the first thing after the skipped
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New key")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skip again
    for _ in range(2):  # the way back up stands before the form
        page.keyboard.press("Tab")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("nightly")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Secret")).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("Key nightly is made")


@pytest.mark.parametrize("place", ["/admin/new/budget", "/admin/usage", "/admin/budgets/budget_a", "/admin/audit"])
def test_the_focus_goes_down_the_page_and_is_always_seen(page: Page, lived_in: str, place: str) -> None:
    sign_in(page, lived_in)
    page.goto(f"{lived_in}{place}")
    stops: list[dict[str, Any]] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUS)
        if stop["tag"] == "BODY" or (stops and stop == stops[0]):
            break
        stops.append(stop)
    assert len(stops) > 8
    assert all(stop["name"] for stop in stops), stops
    assert [stop for stop in stops if not stop["seen"]] == []
    content = [stop for stop in stops if stop["left"] > 180 and stop["top"] > 60]
    assert all(later["top"] >= earlier["top"] - 30 for earlier, later in itertools.pairwise(content)), content


def test_every_page_names_its_parts_at_every_width_by_day_and_by_night(page: Page, lived_in: str) -> None:
    """The same questions that audit tools ask: names, labels, ids, contrast, nothing over the edge of the screen."""
    sign_in(page, lived_in)
    wrong = {}
    for place in PAGES:
        page.goto(f"{lived_in}{place}")
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360), ("light", 768)):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.set_viewport_size({"width": width, "height": 800})
            faults = [*page.evaluate(FAULTS), *page.evaluate(CONTRAST)]
            if (over := page.evaluate("document.documentElement.scrollWidth")) > width:
                faults.append(f"{over} pixels wide")
            if faults:
                wrong[place, scheme, width] = faults
    assert wrong == {}


def test_on_a_phone_the_menu_leads_everywhere(page: Page, lived_in: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    sign_in(page, lived_in)
    for name in ("Budgets", "Usage", "Organizations", "Teams", "Users", "Keys", "Audit", "Requests"):
        page.get_by_text("Menu", exact=True).click()
        page.get_by_role("navigation", name="Sections, small screen").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.goto(f"{lived_in}/admin/budgets/budget_a")
    expect(page.locator("svg.narrow")).to_be_visible()
    expect(page.locator("svg.wide")).to_be_hidden()


def test_a_refused_form_is_as_readable_as_any_page(page: Page, lived_in: str) -> None:
    sign_in(page, lived_in)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.goto(f"{lived_in}/admin/new/user")
        page.get_by_role("button", name="Create user").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert [*page.evaluate(FAULTS), *page.evaluate(CONTRAST)] == []
