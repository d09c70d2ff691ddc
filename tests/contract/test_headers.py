"""Request and response headers of ours: what they say, what they do, and what they can never do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fixtures import KEY_TWO
from tests.e2e.gateway import Gateway, Key, chat, error_of, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.bill import Tokens, usd_text
from tests.fakes.script import Says, refusal, reply

if TYPE_CHECKING:
    from tests.fakes.provider import Provider

NINE_DECIMALS = re.compile(r"\d+\.\d{9}")


def test_an_answer_says_who_gave_it_why_and_what_it_cost(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    one.queue(model, reply(Says(tokens=Tokens(input=1234, output=567, cached=100))))
    answer = gateway.ask(key, chat(model))
    headers = answer.headers
    assert headers["x-turnpike-model"] == model
    assert headers["x-turnpike-provider"] == "one"
    assert headers["x-turnpike-cost-usd"] == usd_text(one.bill_nano_usd(model))
    assert headers["x-turnpike-cache"] == "miss"
    assert headers["x-turnpike-attempts"] == "1"
    assert headers["x-turnpike-route"] in {"pool", "pinned"}
    assert re.fullmatch(r"req_[0-9A-Za-z]{26,40}", headers["x-request-id"])
    assert NINE_DECIMALS.fullmatch(headers["x-turnpike-cost-usd"])


def test_a_stream_says_the_reserved_bound(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    answer = gateway.ask(key, chat(model, stream=True, max_tokens=50))
    bound = answer.headers["x-turnpike-cost-usd"]
    assert NINE_DECIMALS.fullmatch(bound)
    assert float(bound) >= float(usd_text(one.bill_nano_usd(model))) > 0
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-turnpike-provider"] == "one"
    assert answer.headers["x-turnpike-attempts"] == "1"


def test_a_pinned_model_says_so(gateway: Gateway, key: Key) -> None:
    for name in ("one/pinned-a", "one:pinned-a"):
        headers = gateway.ask(key, chat(name)).headers
        assert headers["x-turnpike-route"] == "pinned"
        assert headers["x-turnpike-model"] == "pinned-a"


def test_a_pool_is_drawn_by_weight(gateway: Gateway, key: Key, one: Provider, two: Provider) -> None:
    providers = [gateway.ask(key, chat("pool")).headers["x-turnpike-provider"] for _ in range(80)]
    assert {"one", "two"} == set(providers)
    assert providers.count("one") > providers.count("two"), "three to one"


def test_request_ids_are_unique_and_found_in_the_log_and_the_request_row(
    gateway: Gateway, key: Key, model: str
) -> None:
    ids = {gateway.ask(key, chat(model)).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5
    assert all(gateway.request_row(request_id)["attempts"] for request_id in ids)
    eventually(lambda: all(request_id in gateway.logs() for request_id in ids), "each has its log line")


def test_errors_carry_a_request_id_too(gateway: Gateway) -> None:
    answer = gateway.client.post("/v1/chat/completions", json=chat("m"))
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_only_named_client_headers_reach_the_provider(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    sent = {
        "openai-beta": "assistants=v2",
        "x-turnpike-tags": "feature=search",
        "x-turnpike-user": "u1",
        "x-turnpike-cache": "off",
        "x-turnpike-timeout": "20",
        "x-turnpike-secret-thing": "1",
        "x-turnpike-provider": "two",
        "x-turnpike-model": "other",
        "cookie": "session=abc",
        "x-forwarded-for": "10.0.0.1",
        "forwarded": "for=10.0.0.1",
        "x-real-ip": "10.0.0.1",
        "via": "1.1 somewhere",
        "proxy-authorization": "Basic eDp5",
        "te": "trailers",
        "trailer": "x-late",
        "upgrade": "h2c",
        "keep-alive": "timeout=5",
        "proxy-connection": "keep-alive",
        "x-litellm-tags": "a,b",
        "x-custom": "mine",
        "referer": "http://secret.example",
        "origin": "http://secret.example",
        "openai-organization": "org-of-the-client",
        "x-api-key": "sk-of-the-client",
    }
    answer = gateway.ask(key, chat(model), {**sent, "connection": "keep-alive, x-custom"})
    assert answer.status_code == 200
    [request] = one.asked(model)
    allowed = {
        "host", "authorization", "content-type", "content-length", "accept", "accept-encoding", "user-agent",
        "connection", "openai-beta",
    }  # fmt: skip
    assert request.header_names <= allowed
    assert request.header("openai-beta") == "assistants=v2"
    assert key.secret.encode() not in request.head
    assert request.header("host") == f"127.0.0.1:{one.port}"


def test_a_provider_row_adds_its_headers_and_lets_named_ones_through(gateway: Gateway, key: Key, two: Provider) -> None:
    gateway.ask(key, chat("headed"), {"x-forward-me": "hello", "x-team": "mallory"})
    [request] = two.asked("headed")
    assert request.header("x-team") == "lab"
    assert request.header("x-forward-me") == "hello"
    assert request.header("authorization") == f"Bearer {KEY_TWO}"


def test_tags_and_end_user_become_columns_of_usage(gateway: Gateway, key: Key, model: str) -> None:
    gateway.ask(key, chat(model), {"x-turnpike-tags": "feature=search,env=prod", "x-turnpike-user": "ada"})
    gateway.ask(key, chat(model, metadata={"tags": "feature=sort"}))
    gateway.ask(key, chat(model))
    rows = {row["tag:feature"]: row for row in gateway.usage_of(key, "tag:feature", requests=3)}
    assert {"search", "sort"} <= rows.keys()
    assert rows["search"]["requests"] == 1


def test_a_tag_cannot_write_a_header(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    body = b'{"model":"%s","messages":[{"role":"user","content":"x"}]}' % model.encode()
    with RawClient(gateway.port) as client:
        client.send(
            request_bytes(body, key.secret, headers=((b"x-turnpike-tags", b"a=b%0d%0aset-cookie: x=1,\xff\xfe=\xfd"),))
        )
        answer = client.answer()
    assert answer.header("set-cookie") is None
    assert answer.status in {200, 400}


def test_a_model_name_cannot_write_a_header(gateway: Gateway, key: Key) -> None:
    answer = gateway.ask(key, chat("one/x\r\nset-cookie: a=b"))
    assert "set-cookie" not in answer.headers
    assert answer.status_code in {200, 400, 404}


def test_a_providers_headers_do_not_override_ours(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    hostile = {"x-turnpike-cost-usd": "0.000000000", "set-cookie": "a=b", "x-request-id": "theirs", "server": "nginx"}
    one.queue(model, refusal(400, headers=hostile))
    answer = gateway.ask(key, chat(model))
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]
    assert "set-cookie" not in answer.headers


def test_the_timeout_of_a_request_counts_all_attempts(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str
) -> None:
    one.always(pair, reply(gap_s=5))
    two.always(pair, reply(gap_s=5))
    answer = gateway.ask(key, chat(pair), {"x-turnpike-timeout": "0.5"})
    error_of(answer, 504, "provider_timeout")
    assert answer.elapsed.total_seconds() < 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_timeout_that_is_long_enough_changes_nothing(gateway: Gateway, key: Key, model: str, stream: bool) -> None:
    assert gateway.ask(key, chat(model, stream=stream), {"x-turnpike-timeout": "20"}).status_code == 200
