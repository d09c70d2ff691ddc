"""Virtual keys from the outside: shown once, limited to their models, gone within a second of being revoked."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway, Key, chat, error_of, eventually
from tests.fakes.script import refusal

if TYPE_CHECKING:
    from tests.fakes.provider import Provider

WITHIN_S = 1.0


def test_a_key_is_shown_once_and_kept_nowhere(gateway: Gateway) -> None:
    key = gateway.create_key("shown once")
    assert key.secret.startswith("tp-")
    assert len(key.secret) > 50
    assert key.secret not in gateway.admin("GET", f"keys/{key.id}", 200).text
    assert key.secret not in gateway.admin("GET", "keys", 200, params={"limit": 1000}).text
    assert key.secret not in gateway.logs()
    for path in gateway.state.rglob("*"):
        assert not path.is_file() or key.secret.encode() not in path.read_bytes(), f"{path.name} holds a secret"


def test_a_revoked_key_is_refused_within_a_second(gateway: Gateway, key: Key, model: str) -> None:
    assert gateway.ask(key, chat(model)).status_code == 200
    gateway.admin("DELETE", f"keys/{key.id}", 200)
    eventually(lambda: gateway.ask(key, chat(model)).status_code == 401, "the key is refused", within_s=WITHIN_S)
    error_of(gateway.ask(key, chat(model)), 401, "invalid_api_key")


def test_a_new_key_works_within_a_second(gateway: Gateway, model: str) -> None:
    key = gateway.create_key()
    eventually(lambda: gateway.ask(key, chat(model)).status_code == 200, "the key is taken", within_s=WITHIN_S)


def test_an_expired_key_is_refused(gateway: Gateway, model: str) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the gateway compares with the world's clock
    past = gateway.create_key(expires_at=(now - timedelta(days=1)).isoformat())
    error_of(gateway.ask(past, chat(model)), 401, "invalid_api_key")
    brief = gateway.create_key(expires_at=(now + timedelta(seconds=2)).isoformat())
    assert gateway.ask(brief, chat(model)).status_code == 200
    eventually(lambda: gateway.ask(brief, chat(model)).status_code == 401, "the key expires", within_s=4)


def test_a_rotated_key_keeps_the_old_secret_for_the_overlap(gateway: Gateway, key: Key, model: str) -> None:
    made = gateway.admin("POST", f"keys/{key.id}/rotate", 201, json={"overlap_seconds": 60}).json()
    fresh = Key(made["id"], made["key"])
    assert fresh.secret != key.secret
    eventually(lambda: gateway.ask(fresh, chat(model)).status_code == 200, "the new secret works", within_s=WITHIN_S)
    assert gateway.ask(key, chat(model)).status_code == 200
    again = gateway.admin("POST", f"keys/{fresh.id}/rotate", 201, json={"overlap_seconds": 0}).json()
    eventually(lambda: gateway.ask(fresh, chat(model)).status_code == 401, "the old secret is gone", within_s=WITHIN_S)
    assert gateway.ask(Key(again["id"], again["key"]), chat(model)).status_code == 200


@pytest.mark.parametrize(
    ("globs", "asked", "allowed"),
    [
        (["pinned-c"], "one/pinned-c", False),
        (["one/pinned-c"], "one/pinned-c", True),
        (["one/*"], "one/pinned-c", True),
        (["one/*"], "one:pinned-c", True),
        (["two/*"], "one/pinned-c", False),
        (["poo*"], "pool", True),
        (["poo*"], "headed", False),
        (["headed", "pool"], "pool", True),
        (["*"], "one/pinned-c", True),
        (["POOL"], "pool", False),
    ],
)
def test_a_key_may_use_the_models_that_its_globs_name(
    gateway: Gateway, one: Provider, globs: list[str], asked: str, allowed: bool
) -> None:
    key = gateway.create_key(models_allowed=globs)
    before = len(one.requests)
    answer = gateway.ask(key, chat(asked))
    if allowed:
        assert answer.status_code == 200
    else:
        error = error_of(answer, 403, "model_not_allowed")
        assert asked.replace(":", "/") in str(error["message"]).replace(":", "/")
        assert len(one.requests) == before


def test_a_fallback_does_not_lead_past_the_allow_list(
    gateway: Gateway, one: Provider, two: Provider, pair: str
) -> None:
    key = gateway.create_key(models_allowed=[pair])
    one.always(pair, refusal(500))
    answer = gateway.ask(key, chat(pair))
    assert answer.status_code >= 400
    assert answer.json()["error"]["code"] in {"model_not_allowed", "provider_error"}
    assert two.asked(pair) == []


def test_a_changed_allow_list_binds_within_a_second(gateway: Gateway, key: Key, model: str) -> None:
    etag = gateway.admin("GET", f"keys/{key.id}", 200).headers["etag"]
    gateway.admin("PATCH", f"keys/{key.id}", 200, json={"models_allowed": ["other"]}, headers={"if-match": etag})
    eventually(lambda: gateway.ask(key, chat(model)).status_code == 403, "the model is refused", within_s=WITHIN_S)


def test_a_key_from_elsewhere_moves_in(gateway: Gateway, model: str) -> None:
    secret = "sk-moved-in-4f9aZ1c8Qe7Lm2Xv0Rt5Yb3N"
    gateway.admin("POST", "keys", 201, json={"name": "a", "id": "key_moved-in", "key": secret})
    assert gateway.ask(Key("key_moved-in", secret), chat(model)).status_code == 200
    other = "sk-by-digest-9Z8y7X6w5V4u3T2s1R0qPoNm"
    gateway.admin("POST", "keys", 201, json={"name": "b", "key_sha256": hashlib.sha256(other.encode()).hexdigest()})
    assert gateway.ask(Key("", other), chat(model)).status_code == 200


def test_a_key_tells_about_itself(gateway: Gateway) -> None:
    key = gateway.create_key("about me", models_allowed=["pool", "one/*"])
    about = gateway.client.get("/v1/key", headers=key.bearer)
    assert about.status_code == 200
    document = about.json()
    assert document["id"] == key.id
    assert document["name"] == "about me"
    assert document["models_allowed"] == ["pool", "one/*"]
    assert document["budgets"] == []
    assert key.secret not in about.text
    error_of(gateway.client.get("/v1/key"), 401, "invalid_api_key")
