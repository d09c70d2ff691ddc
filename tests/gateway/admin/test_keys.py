"""Keys over HTTP: the secret once, the row and the ring always of one mind."""

import asyncio
import hashlib
import threading

import pytest

from billing.keys import digest, well_formed
from tests.gateway.admin.house import NOON, House

SECOND_US = 1_000_000


def opens(house: House, token: str) -> bool:
    return house.keyring.find(digest(token.encode()), house.clock()) is not None


async def test_a_key_is_made_and_its_secret_shown_this_once(house: House) -> None:
    answer = await house.admin.post("/admin/v1/keys", json={"name": "ci"})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert well_formed(made["key"].encode())
    assert made["key"].startswith(made["prefix"])
    assert opens(house, made["key"])
    read = (await house.admin.get(f"/admin/v1/keys/{made['id']}")).json()
    assert "key" not in read
    assert made["key"] not in (await house.admin.get("/admin/v1/keys")).text


async def test_everything_that_was_asked_of_a_key_is_kept(house: House) -> None:
    await house.admin.post("/admin/v1/teams", json={"name": "Search", "id": "team_a"})
    asked = {
        "name": "ci",
        "id": "key_ci",
        "team_id": "team_a",
        "user_id": "user_1",
        "models_allowed": ["openai/*", "small"],
        "expires_at": "2026-12-01T01:00:00+01:00",
        "scopes": ["chat"],
        "limits": {"requests_per_minute": 10},
    }
    made = (await house.admin.post("/admin/v1/keys", json=asked)).json()
    kept = (await house.admin.get("/admin/v1/keys/key_ci")).json()
    for shown in (made, kept):
        assert {name: shown[name] for name in asked} == {**asked, "expires_at": "2026-12-01T00:00:00.000000Z"}
    found = house.keyring.find(digest(made["key"].encode()), NOON)
    assert found is not None
    assert found.models_allowed == ("openai/*", "small")


async def test_a_key_from_elsewhere_may_move_in(house: House) -> None:
    secret = "sk-live-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c"
    made = (await house.admin.post("/admin/v1/keys", json={"name": "old", "key": secret})).json()
    assert made["key"] == secret
    assert opens(house, secret)


async def test_of_a_key_from_elsewhere_the_hash_is_enough(house: House) -> None:
    secret = "sk-live-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c"
    asked = {"name": "old", "key_sha256": hashlib.sha256(secret.encode()).hexdigest()}
    made = (await house.admin.post("/admin/v1/keys", json=asked)).json()
    assert made["key"] is None
    assert opens(house, secret)


@pytest.mark.parametrize("again", [{"id": "key_a"}, {"key": "sk-live-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c"}])
async def test_an_id_or_a_secret_that_exists_is_409(house: House, again: dict[str, str]) -> None:
    first = {"name": "first", "id": "key_a", "key": "sk-live-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c"}
    await house.admin.post("/admin/v1/keys", json=first)
    answer = await house.admin.post("/admin/v1/keys", json={"name": "again", **again})
    assert answer.status_code == 409
    assert answer.json()["code"] == "already_exists"
    found = house.keyring.find(digest(first["key"].encode()), NOON)
    assert found is not None
    assert found.name == "first"


async def test_a_key_of_an_unknown_team_is_refused(house: House) -> None:
    answer = await house.admin.post("/admin/v1/keys", json={"name": "ci", "team_id": "team_no"})
    assert answer.status_code == 404
    assert "team_no" in answer.json()["detail"]


async def test_a_creation_sent_twice_gives_one_key_and_the_same_secret(house: House) -> None:
    headers = {"idempotency-key": "k1"}
    answers = [await house.admin.post("/admin/v1/keys", json={"name": "ci"}, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len((await house.admin.get("/admin/v1/keys")).json()["data"]) == 1


async def test_a_revoked_key_opens_nothing_from_then_on_and_stays_listed(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci"})).json()
    answer = await house.admin.delete(f"/admin/v1/keys/{made['id']}")
    assert answer.status_code == 200
    assert answer.json()["revoked_at"] == "2025-11-25T12:00:00.000000Z"
    assert not opens(house, made["key"])
    (listed,) = (await house.admin.get("/admin/v1/keys")).json()["data"]
    assert listed["revoked_at"] is not None


async def test_a_revoked_key_does_not_come_back_by_a_change(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci"})).json()
    await house.admin.delete(f"/admin/v1/keys/{made['id']}")
    await house.admin.patch(f"/admin/v1/keys/{made['id']}", json={"name": "ci again"})
    assert not opens(house, made["key"])


async def test_a_change_counts_for_the_next_request(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci"})).json()
    changed = await house.admin.patch(
        f"/admin/v1/keys/{made['id']}", json={"models_allowed": ["small"], "expires_at": "2025-11-25T13:00:00Z"}
    )
    assert changed.json()["models_allowed"] == ["small"]
    found = house.keyring.find(digest(made["key"].encode()), NOON)
    assert found is not None
    assert found.models_allowed == ("small",)
    house.clock.now_at_us += 3600 * SECOND_US
    assert not opens(house, made["key"])


async def test_null_takes_a_value_away(house: House) -> None:
    await house.admin.post("/admin/v1/teams", json={"name": "Search", "id": "team_a"})
    asked = {"name": "ci", "id": "key_ci", "team_id": "team_a", "expires_at": "2025-11-25T13:00:00Z"}
    await house.admin.post("/admin/v1/keys", json=asked)
    changed = await house.admin.patch("/admin/v1/keys/key_ci", json={"team_id": None, "expires_at": None})
    assert changed.json()["team_id"] is None
    assert changed.json()["expires_at"] is None
    assert changed.json()["name"] == "ci"


async def test_a_stale_change_is_412_and_changes_neither_row_nor_ring(house: House) -> None:
    made = await house.admin.post("/admin/v1/keys", json={"name": "ci", "id": "key_ci"})
    read = await house.admin.get("/admin/v1/keys/key_ci")
    assert read.headers["etag"] == made.headers["etag"]
    seen = {"if-match": read.headers["etag"]}
    await house.admin.patch("/admin/v1/keys/key_ci", json={"name": "changed"}, headers=seen)
    stale = await house.admin.patch("/admin/v1/keys/key_ci", json={"models_allowed": ["x"]}, headers=seen)
    assert stale.status_code == 412
    assert (await house.admin.delete("/admin/v1/keys/key_ci", headers=seen)).status_code == 412
    assert opens(house, made.json()["key"])
    found = house.keyring.find(digest(made.json()["key"].encode()), NOON)
    assert found is not None
    assert found.models_allowed == ()


async def test_a_rotated_key_has_a_new_secret_and_the_old_one_ends_at_once(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci"})).json()
    answer = await house.admin.post(f"/admin/v1/keys/{made['id']}/rotate", json={})
    assert answer.status_code == 201
    rotated = answer.json()
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert opens(house, rotated["key"])
    assert not opens(house, made["key"])


async def test_an_overlap_keeps_the_old_secret_that_long(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci"})).json()
    rotated = (await house.admin.post(f"/admin/v1/keys/{made['id']}/rotate", json={"overlap_seconds": 60})).json()
    house.clock.now_at_us += 59 * SECOND_US
    assert opens(house, made["key"])
    assert opens(house, rotated["key"])
    house.clock.now_at_us += SECOND_US
    assert not opens(house, made["key"])
    assert opens(house, rotated["key"])


async def test_rotation_needs_no_body(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci"})).json()
    assert (await house.admin.post(f"/admin/v1/keys/{made['id']}/rotate")).status_code == 201


async def test_a_rotation_sent_twice_under_one_key_happens_once(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci"})).json()
    headers = {"idempotency-key": "r1"}
    answers = [await house.admin.post(f"/admin/v1/keys/{made['id']}/rotate", headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()


async def test_a_revoked_key_cannot_be_rotated_back(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci"})).json()
    await house.admin.delete(f"/admin/v1/keys/{made['id']}")
    answer = await house.admin.post(f"/admin/v1/keys/{made['id']}/rotate")
    assert answer.status_code == 409
    assert not opens(house, made["key"])


async def test_keys_are_listed_by_team(house: House) -> None:
    await house.admin.post("/admin/v1/teams", json={"name": "Search", "id": "team_a"})
    await house.virtual_key(team_id="team_a")
    await house.virtual_key()
    found = (await house.admin.get("/admin/v1/keys?team_id=team_a")).json()["data"]
    assert [key["team_id"] for key in found] == ["team_a"]


async def test_a_key_that_is_not_there_is_404(house: House) -> None:
    for answer in (
        await house.admin.get("/admin/v1/keys/key_no"),
        await house.admin.patch("/admin/v1/keys/key_no", json={"name": "x"}),
        await house.admin.delete("/admin/v1/keys/key_no"),
        await house.admin.post("/admin/v1/keys/key_no/rotate"),
    ):
        assert answer.status_code == 404
        assert "key_no" in answer.json()["detail"]


async def test_whatever_happens_at_once_row_and_ring_end_of_one_mind(house: House) -> None:
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci", "id": "key_ci"})).json()
    changes = [house.admin.patch("/admin/v1/keys/key_ci", json={"name": f"ci {number}"}) for number in range(10)]
    answers = await asyncio.gather(*changes[:5], house.admin.delete("/admin/v1/keys/key_ci"), *changes[5:])
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert (await house.admin.get("/admin/v1/keys/key_ci")).json()["revoked_at"] is not None
    assert not opens(house, made["key"])


async def test_a_key_stays_good_while_it_is_changed(house: House) -> None:
    """A request that looks it up in between must never be refused."""
    made = (await house.admin.post("/admin/v1/keys", json={"name": "ci", "id": "key_ci"})).json()
    done = threading.Event()
    missed = 0

    def look() -> None:
        nonlocal missed
        while not done.is_set():
            missed += not opens(house, made["key"])

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    for number in range(20):
        await house.admin.patch("/admin/v1/keys/key_ci", json={"name": f"ci {number}"})
    done.set()
    watcher.join(5)
    assert missed == 0
