"""The pages: what an operator wants to know, no script, no other origin, and every name shown as text."""

import re

import httpx
import pytest

from tests.gateway.admin.house import ADMIN_KEY, House
from tests.gateway.admin.scene import PLACES, furnished
from tests.gateway.admin.test_sign_in import sign_in


async def home(house: House) -> str:
    await sign_in(house)
    answer = await house.browser.get("/admin")
    assert answer.status_code == 200
    return answer.text


async def test_the_page_says_whether_the_gateway_can_serve(house: House) -> None:
    assert "not ready" not in await home(house)
    house.missing.append("a provider's key")
    text = (await house.browser.get("/admin")).text
    assert "not ready" in text
    assert "a provider&#39;s key" in text


async def test_the_page_shows_deployments_and_which_cool(house: House) -> None:
    text = await home(house)
    assert "gpt-5-mini" in text
    assert "cooling" in text
    assert "5 answers of 503 in a row" in text


async def test_lists_name_teams_and_keys_but_no_secret(house: House) -> None:
    await house.admin.post("/admin/v1/teams", json={"name": "Search", "id": "team_a"})
    secret = await house.virtual_key(team_id="team_a")
    await sign_in(house)
    for path, name in (("/admin/teams", "Search"), ("/admin/keys", "a virtual key")):
        text = (await house.browser.get(path)).text
        assert name in text
        assert secret not in text
        assert ADMIN_KEY not in text


async def test_a_revoked_and_an_expired_key_say_so(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci"})).json()
    await house.admin.delete(f"/admin/v1/keys/{made['id']}")
    await house.virtual_key(expires_at="2025-11-25T11:59:59Z")
    await sign_in(house)
    text = (await house.browser.get("/admin/keys")).text
    assert ">revoked<" in text
    assert ">expired<" in text


@pytest.mark.parametrize("path", ["/admin/teams", "/admin/teams/team_a", "/admin/teams/team_a/edit", "/admin/audit"])
async def test_a_name_is_text_and_never_markup(house: House, path: str) -> None:
    await house.made("teams", id="team_a", name='"><script>alert(1)</script>')
    await sign_in(house)
    text = (await house.browser.get(path)).text
    assert "<script" not in text
    assert "&lt;script&gt;" in text


async def test_an_empty_gateway_says_what_to_do_next(house: House) -> None:
    text = await home(house)
    assert "turnpike teams create" in text
    assert "turnpike keys create" in text
    assert "base_url" in text


async def test_the_page_starts_and_stops_local_models(house: House) -> None:
    text = await home(house)
    token = re.search(r'name="token" value="(.*?)"', text)
    assert token is not None
    answer = await house.browser.post("/admin/local/tiny/start", data={"token": token[1]})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/admin#local"
    forged = await house.browser.post("/admin/local/tiny/stop", data={"token": "0" * 64})
    assert forged.status_code == 403


@pytest.mark.parametrize("path", ["/admin/login", "/admin/requests/req_no", "/admin/static/no.css", *PLACES])
async def test_every_page_forbids_scripts_and_other_origins(house: House, path: str) -> None:
    await furnished(house)
    await sign_in(house)
    answer = await house.browser.get(path)
    if answer.status_code == 303:
        answer = await house.anonymous.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script|style=|<style|\son[a-z]+=|https?://", answer.text)
    assert answer.status_code < 500


async def test_a_request_that_is_not_there_is_a_page_for_people_and_json_for_programs(house: House) -> None:
    await sign_in(house)
    page = await house.browser.get("/admin/requests/req_no")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "req_no" in page.text
    answer = await house.admin.get("/admin/requests/req_no")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_stylesheet_comes_from_here(house: House) -> None:
    answer = await house.anonymous.get("/admin/static/admin.css")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "prefers-color-scheme: dark" in answer.text
    assert "http" not in answer.text


@pytest.mark.parametrize("name", ["..%2fapp.py", "app.py", "%2e%2e%2fapp.py"])
async def test_nothing_else_is_served_from_the_folder(house: House, name: str) -> None:
    assert (await house.anonymous.get(f"/admin/static/{name}")).status_code == 404


async def test_the_admin_key_reads_the_page_without_a_form(house: House) -> None:
    answer = await house.admin.get("/admin")
    assert answer.status_code == 200
    assert "Sign out" not in answer.text


async def test_an_unforeseen_error_says_little_and_reaches_the_server(house: House) -> None:
    house.missing.append(None)  # type: ignore[arg-type]  # what no code of ours does: the door to an unforeseen error
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    transport = httpx.ASGITransport(house.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test", headers=headers) as admin:
        answer = await admin.get("/admin/v1/health")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "ValidationError" in answer.json()["detail"]
    with pytest.raises(Exception, match="missing"):
        await house.admin.get("/admin/v1/health")
