"""Which path leads where, who may read what, and one shape for everything that is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from tests.gateway.whole_gateway import ANSWER, House, opened, turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with opened(tmp_path / "state", monkeypatch) as made:
        yield made


def code_of(body: bytes, head: bytes) -> str:
    told = json.loads(body)
    assert f"x-request-id: {told['request_id']}".encode() in head
    code: str = told["error"]["code"]
    assert told["error"]["message"]
    return code


@pytest.mark.parametrize("path", ["/healthz", "/health/liveliness", "/health/liveness", "/readyz", "/health/readiness"])
async def test_health_is_known_by_each_name(house: House, path: str) -> None:
    status, _, body = house.get(path)
    assert (status, json.loads(body)["status"]) == (200, "ok")


async def test_draining_is_not_ready_but_alive(house: House) -> None:
    house.app.services.gate.draining = True
    status, _, body = house.get("/readyz")
    assert status == 503
    [missing] = json.loads(body)["missing"]
    assert "about to stop" in missing
    assert house.get("/healthz")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/v1", 404, "unknown_url"),
        ("GET", "/v1/models/", 404, "model_not_found"),
        ("GET", "/v1/models/nothing", 404, "model_not_found"),
        ("GET", "/v1/chat/completions/", 404, "unknown_url"),
        ("GET", "//healthz", 404, "unknown_url"),
        ("GET", "/administrator", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/v1/models/m", 405, "method_not_allowed"),
        ("POST", "/v1/key", 405, "method_not_allowed"),
        ("DELETE", "/v1/key/usage", 405, "method_not_allowed"),
        ("GET", "/v1/keys", 404, "unknown_url"),
        ("GET", "/v1/organizations", 404, "unknown_url"),
        ("OPTIONS", "*", 404, "unknown_url"),
    ],
)
async def test_what_leads_nowhere_is_told_in_openais_shape(
    house: House, method: str, path: str, status: int, code: str
) -> None:
    found, head, body = house.get(path, method=method)
    assert (found, code_of(body, head)) == (status, code)
    if status == 405:
        assert b"\r\nallow: " in head


async def test_models_and_the_key_are_read_with_the_key_alone(house: House) -> None:
    assert [entry["id"] for entry in json.loads(house.get("/v1/models")[2])["data"]] == ["m"]
    assert json.loads(house.get("/v1/models/m")[2])["id"] == "m"
    assert json.loads(house.get("/v1/models/one%2Fother")[2])["id"] == "one/other"
    assert json.loads((await house.looks_up("/v1/key"))[2])["object"] == "key"
    for path in ("/v1/models", "/v1/models/m", "/v1/key", "/v1/key/usage"):
        status, head, body = house.get(path, "x-turnpike-key: unknown")
        assert (status, code_of(body, head)) == (401, "invalid_api_key")


async def test_head_is_answered_like_get_without_the_body(house: House) -> None:
    status, head, body = house.get("/v1/models", method="HEAD")
    assert (status, body) == (200, b"")
    assert b"content-length: 0" not in head


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_metrics_answer_loopback(house: House, peer: str) -> None:
    status, head, body = house.get("/metrics", peer=peer)
    assert status == 200
    assert b"text/plain; version=0.0.4" in head
    assert b"turnpike_event_loop_lag_seconds" in body


async def test_metrics_answer_nobody_else_without_a_token(house: House) -> None:
    status, _, body = house.get("/metrics")
    assert status == 404
    assert b"metrics.token" in body


async def test_with_a_token_metrics_answer_whoever_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = "metrics: {token: a-token-of-some-length}\n"
    async with opened(tmp_path / "state", monkeypatch, more=more) as house:
        assert house.get("/metrics", bearer="a-token-of-some-length")[0] == 200
        assert house.get("/metrics", peer="127.0.0.1")[0] == 401


def dates_in(head: bytes) -> list[datetime]:
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"date:")]
    return [parsedate_to_datetime(line.partition(b":")[2].decode()) for line in lines]


async def test_every_answer_tells_its_date_once(house: House) -> None:
    heads = [house.get(path)[1] for path in ("/healthz", "/v1/models", "/nowhere")]
    heads.append((await house.looks_up("/v1/key"))[1])
    heads.append((await house.looks_up("/admin/v1/openapi.json"))[1])
    client = house.client()
    client.feed(b"GET / HTTP/9\r\n\r\n")
    heads.append(client.take())
    client = house.asks()
    await house.far.opens()
    house.far.transports[-1].feed(ANSWER)
    await turn()
    heads.append(client.take())
    client = house.asks(stream=True)
    house.far.transports[-1].feed(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: [DONE]\n\n")
    house.far.transports[-1].hang_up()
    await turn()
    heads.append(client.take())
    now = datetime.now(UTC)  # noqa: TID251 - the gateway tells the world's time
    for head in heads:
        [told] = dates_in(head.partition(b"\r\n\r\n")[0])
        assert timedelta(0) <= now - told < timedelta(seconds=10)


async def test_an_address_with_too_many_keys_that_do_not_exist_is_told_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = "\nauth: {failures_per_minute_max: 3}\n"
    async with opened(tmp_path / "state", monkeypatch, more=few) as house:
        found = [house.get("/v1/models", "x-turnpike-key: unknown") for _ in range(4)]
        found.append(house.get("/v1/key", "x-turnpike-key: other"))
        assert [status for status, _, _ in found] == [401, 401, 401, 429, 429]
        _, head, body = found[-1]
        assert code_of(body, head) == "rate_limit_exceeded"
        [wait] = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.startswith(b"retry-after:")]
        assert 1 <= int(wait) <= 60
        assert house.get("/v1/models")[0] == 200, "a good key is never refused by it"
        assert house.get("/v1/models", "x-turnpike-key: unknown", peer="192.0.2.8")[0] == 401, (
            "another address waits for none"
        )


async def test_what_never_became_a_request_has_the_same_shape(house: House) -> None:
    client = house.client()
    client.feed(b"GET / HTTP/9\r\n\r\n")
    head, _, body = client.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert code_of(body, head) == "malformed_request"
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_a_read_that_fails_is_500_and_told_to_the_log(house: House) -> None:
    def broken() -> float:
        raise RuntimeError("a secret")

    house.app.services.metrics.gauge("turnpike_broken", "Broken.", broken)
    status, head, body = house.get("/metrics", peer="127.0.0.1")
    assert (status, code_of(body, head)) == (500, "internal_error")
    assert b"secret" not in body
    assert house.app.services.metrics.surprises == 1
