"""Signing in with a browser: by the form alone, slowly when guessed, and out for good when signed out."""

import re

import httpx
import pytest

from gateway.admin.session import COOKIE, SESSION_US_MAX
from gateway.admin.sign_in_limit import FAILURES_MAX, WINDOW_US
from tests.gateway.admin.house import ADMIN_KEY, House


def token_in(page: httpx.Response) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
    assert found is not None, page.text
    return found[1]


async def sign_in(house: House, key: str = ADMIN_KEY) -> httpx.Response:
    form = await house.browser.get("/admin/login")
    return await house.browser.post("/admin/login", data={"key": key, "token": token_in(form)})


async def test_who_is_not_signed_in_is_led_to_the_form(house: House) -> None:
    answer = await house.browser.get("/admin")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/admin/login"


async def test_the_admin_key_opens_the_page(house: House) -> None:
    answer = await sign_in(house)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/admin"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/admin" in cookie
    assert "Secure" not in cookie  # plain HTTP here: the browser would not send it back
    assert ADMIN_KEY not in cookie
    page = await house.browser.get("/admin")
    assert page.status_code == 200
    assert "Sign out" in page.text


async def test_under_tls_the_cookie_is_secure(house: House) -> None:
    async with httpx.AsyncClient(transport=house.transport, base_url="https://gateway.test") as browser:
        form = await browser.get("/admin/login")
        answer = await browser.post("/admin/login", data={"key": ADMIN_KEY, "token": token_in(form)})
    assert "Secure" in answer.headers["set-cookie"]


async def test_behind_a_prefix_links_and_cookies_carry_it(house: House) -> None:
    transport = httpx.ASGITransport(house.app, root_path="/gate")
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as browser:
        answer = await browser.get("/admin")
        form = await browser.get("/admin/login")
    assert answer.headers["location"] == "/gate/admin/login"
    assert 'action="/gate/admin/login"' in form.text
    assert "Path=/gate/admin" in form.headers["set-cookie"]


async def test_another_key_does_not(house: House) -> None:
    answer = await sign_in(house, "a guess")
    assert answer.status_code == 401
    assert "neither the admin key" in answer.text
    assert (await house.browser.get("/admin")).status_code == 303


async def test_a_form_from_another_site_signs_nobody_in(house: House) -> None:
    """It lacks the token, or has that of another browser's form."""
    other = token_in(await house.anonymous.get("/admin/login"))
    await house.browser.get("/admin/login")
    for form in ({"key": ADMIN_KEY}, {"key": ADMIN_KEY, "token": other}, {"key": ADMIN_KEY, "token": "ü"}):
        answer = await house.browser.post("/admin/login", data=form)
        assert answer.status_code == 403
        assert (await house.browser.get("/admin")).status_code == 303


async def test_a_form_that_was_open_too_long_says_so(house: House) -> None:
    form = await house.browser.get("/admin/login")
    house.clock.now_at_us += 3600 * 1_000_000
    answer = await house.browser.post("/admin/login", data={"key": ADMIN_KEY, "token": token_in(form)})
    assert answer.status_code == 403
    assert "open for too long" in answer.text


async def test_guessing_is_slowed_down_and_the_right_key_has_to_wait_too(house: House) -> None:
    for _ in range(FAILURES_MAX):
        assert (await sign_in(house, "a guess")).status_code == 401
    answer = await sign_in(house)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"
    assert (await house.admin.get("/admin/v1/health")).status_code == 200
    house.clock.now_at_us += WINDOW_US
    assert (await sign_in(house)).status_code == 303


async def test_a_session_ends_by_itself(house: House) -> None:
    await sign_in(house)
    house.clock.now_at_us += SESSION_US_MAX
    assert (await house.browser.get("/admin")).status_code == 303


async def test_signing_out_ends_the_session_even_for_a_copied_cookie(house: House) -> None:
    await sign_in(house)
    copied = house.browser.cookies[COOKIE]
    page = await house.browser.get("/admin")
    answer = await house.browser.post("/admin/logout", data={"token": token_in(page)})
    assert answer.status_code == 303
    assert COOKIE not in house.browser.cookies
    again = await house.anonymous.get("/admin", headers={"cookie": f"{COOKIE}={copied}"})
    assert again.status_code == 303


async def test_signing_out_takes_the_pages_own_token(house: House) -> None:
    await sign_in(house)
    answer = await house.browser.post("/admin/logout", data={"token": "0" * 64})
    assert answer.status_code == 403
    assert (await house.browser.get("/admin")).status_code == 200


async def test_an_unreadable_form_is_refused(house: House) -> None:
    await sign_in(house)
    for content in (b"\xff\xfe", b"&".join(b"a=1" for _ in range(30))):
        answer = await house.browser.post("/admin/logout", content=content)
        assert answer.status_code == 400


async def test_a_session_reads_the_api(house: House) -> None:
    await sign_in(house)
    assert (await house.browser.get("/admin/v1/teams")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"origin": "https://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"x-csrf-token": "0" * 64}, 403),
        ({"origin": "http://gateway.test"}, 201),
        ({"sec-fetch-site": "same-origin"}, 201),
    ],
)
async def test_a_session_changes_things_only_from_our_own_pages(
    house: House, headers: dict[str, str], status: int
) -> None:
    await sign_in(house)
    answer = await house.browser.post("/admin/v1/teams", json={"name": "Search"}, headers=headers)
    assert answer.status_code == status


async def test_the_pages_token_proves_a_session_too(house: House) -> None:
    await sign_in(house)
    token = token_in(await house.browser.get("/admin"))
    answer = await house.browser.post("/admin/v1/teams", json={"name": "Search"}, headers={"x-csrf-token": token})
    assert answer.status_code == 201


async def test_an_open_form_is_no_session(house: House) -> None:
    await house.browser.get("/admin/login")
    assert (await house.browser.get("/admin/v1/teams")).status_code == 401


async def test_who_is_signed_in_needs_no_form(house: House) -> None:
    await sign_in(house)
    assert (await house.browser.get("/admin/login")).headers["location"] == "/admin"


async def test_a_users_key_opens_the_page_with_the_users_role(house: House) -> None:
    await house.made("users", id="user_v", name="V", email="v@example.org", role="viewer")
    key = await house.made("keys", id="key_v", name="of V", user_id="user_v")
    assert (await sign_in(house, key["key"])).status_code == 303
    assert key["key"] not in str(house.browser.cookies.jar)
    assert (await house.browser.get("/admin")).status_code == 200
    same_origin = {"sec-fetch-site": "same-origin", "accept": "application/json"}
    made = await house.browser.post("/admin/v1/teams", json={"name": "A"}, headers=same_origin)
    assert (made.status_code, made.json()["code"]) == (403, "not_allowed")
    await house.admin.patch("/admin/v1/users/user_v", json={"role": "admin"})
    made = await house.browser.post("/admin/v1/teams", json={"name": "A", "id": "team_a"}, headers=same_origin)
    assert made.status_code == 201
    (row,) = (await house.admin.get("/admin/v1/audit", params={"object_id": "team_a"})).json()["data"]
    assert row["actor"] == {"type": "user", "id": "user_v"}


@pytest.mark.parametrize("end", ["rotate", "revoke"])
async def test_a_users_session_ends_with_the_secret(house: House, end: str) -> None:
    await house.made("users", id="user_v", name="V", email="v@example.org", role="viewer")
    key = await house.made("keys", id="key_v", name="of V", user_id="user_v")
    await sign_in(house, key["key"])
    assert (await house.browser.get("/admin")).status_code == 200
    if end == "rotate":
        await house.admin.post("/admin/v1/keys/key_v/rotate")
        house.clock.now_at_us += 1
    else:
        await house.admin.delete("/admin/v1/keys/key_v")
    assert (await house.browser.get("/admin")).status_code == 303


async def test_a_key_of_nobody_signs_nobody_in(house: House) -> None:
    key = await house.made("keys", name="of nobody")
    assert (await sign_in(house, key["key"])).status_code == 401
    assert (await house.browser.get("/admin")).status_code == 303
