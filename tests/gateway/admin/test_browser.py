"""A person with a real browser: signs in by keyboard, reads at a desk, on a phone, in the dark, and signs out."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from playwright.sync_api import Page, expect

from tests.gateway.admin.house import ADMIN_KEY, House
from tests.gateway.admin.pages.access import CONTRAST

pytestmark = pytest.mark.slow
START_S_MAX = 10.0


@contextmanager
def served(house: House) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(house.app, log_level="error", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        deadline = time.monotonic() + START_S_MAX
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.started, "the server did not start"
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(START_S_MAX)


@pytest.fixture
def address(house: House) -> Iterator[str]:
    with served(house) as found:
        yield found


def sign_in(page: Page, address: str) -> None:
    page.goto(f"{address}/admin")
    expect(page).to_have_url(f"{address}/admin/login")
    # By keyboard alone: the field has the focus, Enter sends.
    page.keyboard.type(ADMIN_KEY)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{address}/admin")


def test_a_person_signs_in_reads_the_page_and_signs_out(page: Page, address: str) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    sign_in(page, address)
    expect(page.get_by_role("heading", name="Models and deployments")).to_be_visible()
    expect(page.get_by_text("5 answers of 503 in a row")).to_be_visible()
    # The stylesheet passes its own policy: a page without it would be black on white in a serif font.
    assert page.evaluate("getComputedStyle(document.body).fontSize") == "14px"
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{address}/admin/login")
    page.goto(f"{address}/admin")
    expect(page).to_have_url(f"{address}/admin/login")
    assert complaints == []


def test_a_wrong_key_says_so_in_place(page: Page, address: str) -> None:
    page.goto(f"{address}/admin/login")
    page.get_by_label("Admin key").fill("a guess")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("neither the admin key")


def test_a_local_model_starts_at_a_click(page: Page, house: House, address: str) -> None:
    sign_in(page, address)
    row = page.get_by_role("row", name="tiny")
    row.get_by_role("button", name="Start").click()
    page.goto(f"{address}/admin")
    expect(row.get_by_text("ready")).to_be_visible()


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_runs_over_the_edge_of_the_screen(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(page, address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(page: Page, address: str, scheme: str) -> None:
    """Contrast of every piece of text against what lies behind it, as WCAG AA asks: 4.5 to 1."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    sign_in(page, address)
    assert page.evaluate(CONTRAST) == []
