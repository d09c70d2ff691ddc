"""Keys on their pages: the secret is on one page, once; rotating and revoking reach the data plane at once."""

import hashlib
import re

from tests.gateway.admin.house import NOON, House
from tests.gateway.admin.pages.forms import held_by, send, sent
from tests.gateway.admin.test_sign_in import sign_in

SECRET = re.compile(r"tp-\w+-\w{49}")


def secret_in(text: str) -> str:
    found = SECRET.search(text)
    assert found is not None, text
    return found[0]


def known(house: House, secret: str) -> bool:
    return house.keyring.find(hashlib.sha256(secret.encode()).digest(), house.clock()) is not None


async def test_a_secret_is_shown_on_the_answer_and_on_no_other_page(house: House) -> None:
    await house.made("teams", id="team_a", name="Search")
    await sign_in(house)
    answer = await send(house, "/admin/new/key", name="ci", team_id="team_a", models_allowed="openai/*\nlab/*")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    secret = secret_in(answer.text)
    assert known(house, secret)
    (key,) = (await house.admin.get("/admin/v1/keys")).json()["data"]
    assert key["models_allowed"] == ["openai/*", "lab/*"]
    for path in ("/admin", "/admin/keys", f"/admin/keys/{key['id']}", f"/admin/keys/{key['id']}/edit", "/admin/audit"):
        assert secret not in (await house.browser.get(path)).text


async def test_loaded_anew_the_answer_shows_no_secret_and_makes_no_second_key(house: House) -> None:
    await sign_in(house)
    typed = {**held_by(await house.browser.get("/admin/new/key")), "name": "ci"}
    secret = secret_in((await house.browser.post("/admin/new/key", data=typed)).text)
    again = await house.browser.post("/admin/new/key", data=typed)
    assert secret not in again.text
    page = await house.browser.get(again.headers["location"]) if again.status_code == 303 else again
    assert secret not in page.text
    assert len((await house.admin.get("/admin/v1/keys")).json()["data"]) == 1


async def test_a_rotated_key_has_a_new_secret_and_the_old_one_goes_on_as_long_as_was_said(house: House) -> None:
    old = await house.virtual_key(id="key_a")
    await sign_in(house)
    answer = await send(house, "/admin/keys/key_a/rotate", overlap_s="3600")
    new = secret_in(answer.text)
    assert new != old
    assert known(house, old)
    assert known(house, new)
    house.clock.now_at_us = NOON + 3600 * 1_000_000
    assert not known(house, old)
    assert known(house, new)


async def test_revoking_asks_first_and_holds_at_once(house: House) -> None:
    secret = await house.virtual_key(id="key_a")
    await sign_in(house)
    assert "Revoke a virtual key?" in (await house.browser.get("/admin/keys/key_a/revoke")).text
    assert known(house, secret)  # to look is not to do
    text = await sent(house, "/admin/keys/key_a/revoke")
    assert not known(house, secret)
    assert ">revoked<" in text
    assert "/admin/keys/key_a/revoke" not in text


async def test_a_key_s_page_is_saved_as_it_was_and_changes_nothing(house: House) -> None:
    limits = {"requests_per_minute": 60, "models": {"gpt-*": {"concurrency_max": 2}}}
    await house.made("keys", id="key_a", name="ci", expires_at="2025-12-01T10:00:30Z", limits=limits)
    before = (await house.admin.get("/admin/v1/keys/key_a")).json()
    await sign_in(house)
    page = await house.browser.get("/admin/keys/key_a/edit")
    assert 'value="2025-12-01T10:00"' in page.text
    typed = {"name": "ci", "expires_at": "2025-12-01T10:00", "requests_per_minute": "60"}
    await sent(house, "/admin/keys/key_a/edit", **typed)
    after = (await house.admin.get("/admin/v1/keys/key_a")).json()
    assert {**after, "version": 0} == {**before, "version": 0}
    await sent(house, "/admin/keys/key_a/edit", name="ci", expires_at="", requests_per_minute="")
    after = (await house.admin.get("/admin/v1/keys/key_a")).json()
    assert after["expires_at"] is None
    assert after["limits"] == {"models": before["limits"]["models"]}


async def test_times_are_shown_and_read_in_the_chosen_zone(house: House) -> None:
    await house.made("keys", id="key_a", name="ci", expires_at="2025-12-01T10:00:00Z")
    await sign_in(house)
    assert "2025-12-01 10:00" in (await house.browser.get("/admin/keys/key_a")).text
    text = await sent(house, "/admin/timezone", timezone="Asia/Tokyo")
    assert "Times in Asia/Tokyo" in text
    assert "2025-12-01 19:00" in (await house.browser.get("/admin/keys/key_a")).text
    await sent(house, "/admin/keys/key_a/edit", name="ci", expires_at="2025-12-02T00:00")
    key = (await house.admin.get("/admin/v1/keys/key_a")).json()
    assert key["expires_at"] == "2025-12-01T15:00:00.000000Z"
    answer = await send(house, "/admin/timezone", timezone="Tokyo")
    assert answer.status_code == 422
    assert "as Europe/Berlin" in answer.text
