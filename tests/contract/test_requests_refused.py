"""Every refusal that is the caller's own to mend: its status, its code, its words; none of it reaches a provider."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway, Key, chat, error_of
from tests.e2e.raw_client import RawClient, request_bytes

if TYPE_CHECKING:
    from tests.fakes.provider import Provider

USER = {"role": "user", "content": "hi"}


def nested(depth: int) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"x"}],"deep":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model": "m", "messages": [}',
        b"not json",
        b'{"model": "m"} trailing',
        b'{"model": "m", "messages": [],}',
        b"{'model': 'm'}",
        b'{"model": "\xff\xfe", "messages": []}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}',
        b'\xef\xbb\xbf{"model": "m\xc3"}',
        b"\x00" * 64,
        b"[]",
        b'"text"',
        b"null",
        b"3",
        nested(257),
        nested(100_000),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_body_that_is_no_json_object_of_bounded_depth_is_400(
    gateway: Gateway, key: Key, one: Provider, body: bytes
) -> None:
    before = len(one.requests)
    error_of(gateway.ask(key, body), 400)
    assert len(one.requests) == before


def test_depth_is_named_when_it_is_the_reason(gateway: Gateway, key: Key) -> None:
    assert "256" in str(error_of(gateway.ask(key, nested(100_000)), 400)["message"])


def test_nesting_that_is_allowed_arrives(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    deep = b"[" * 200 + b"]" * 200
    body = b'{"model":"%s","messages":[{"role":"user","content":"x"}],"deep":%s}' % (model.encode(), deep)
    assert gateway.ask(key, body).status_code == 200
    assert deep in one.asked(model)[0].body


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"model": ["m"]}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [{"content": "no role"}]}, "role"),
        ({"messages": [{"role": 7, "content": "x"}]}, "role"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": "all"}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, "include_usage"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"n": "two"}, "n"),
        ({"tools": "hammer"}, "tools"),
        ({"metadata": "x"}, "metadata"),
        ({"user": 9}, "user"),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_type_is_400_and_named(
    gateway: Gateway, key: Key, one: Provider, model: str, change: dict[str, object], field: str
) -> None:
    error = error_of(gateway.ask(key, {**chat(model), **change}), 400)
    assert field in str(error["message"])
    assert field in str(error["param"])
    assert one.asked(model) == []


@pytest.mark.parametrize("field", ["model", "messages"])
def test_a_missing_field_is_400_and_named(gateway: Gateway, key: Key, field: str, model: str) -> None:
    body = chat(model)
    del body[field]
    error = error_of(gateway.ask(key, body), 400)
    assert error["param"] == field
    assert field in str(error["message"])


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer tp-nobody-0000000000000000000000000000000000000000000000"},
        {"authorization": "Bearer " + "x" * 4000},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"x-api-key": "sk-unknown"},
    ],
    ids=str,
)
def test_no_key_or_an_unknown_one_is_401(gateway: Gateway, one: Provider, model: str, header: dict[str, str]) -> None:
    answer = gateway.client.post("/v1/chat/completions", json=chat(model), headers=header)
    error_of(answer, 401, "invalid_api_key")
    assert one.asked(model) == []


def test_the_admin_key_is_no_data_plane_key(gateway: Gateway, model: str) -> None:
    error_of(gateway.ask(Key("admin", gateway.admin_key), chat(model)), 401, "invalid_api_key")


def test_a_refused_key_is_not_repeated_in_the_answer(gateway: Gateway, model: str) -> None:
    secret = "tp-hush-hush-0123456789abcdefghijklmnopqrstuvwxyz"
    assert secret not in gateway.ask(Key("x", secret), chat(model)).text


@pytest.mark.parametrize("name", ["x-turnpike-key", "x-api-key", "api-key", "x-goog-api-key"])
def test_a_key_is_taken_from_each_header_that_clients_use(gateway: Gateway, key: Key, model: str, name: str) -> None:
    answer = gateway.client.post("/v1/chat/completions", json=chat(model), headers={name: key.secret})
    assert answer.status_code == 200


def test_x_turnpike_key_wins(gateway: Gateway, key: Key, model: str) -> None:
    both = {"x-turnpike-key": key.secret, "authorization": "Bearer sk-of-somebody-else"}
    assert gateway.client.post("/v1/chat/completions", json=chat(model), headers=both).status_code == 200


def test_an_unknown_model_is_404(gateway: Gateway, key: Key, one: Provider) -> None:
    before = len(one.requests)
    error = error_of(gateway.ask(key, chat("no-such-model")), 404, "model_not_found")
    assert "no-such-model" in str(error["message"])
    assert error["param"] == "model"
    error_of(gateway.ask(key, chat("no-such-provider/model")), 404, "model_not_found")
    assert len(one.requests) == before


def test_a_declared_length_over_the_limit_is_413_at_once(gateway: Gateway, key: Key, model: str) -> None:
    head = request_bytes(b"", key.secret).replace(b"content-length: 0", b"content-length: 60000000")
    with RawClient(gateway.port) as client:
        started = time.monotonic()
        client.send(head)
        answer = client.answer()
        assert time.monotonic() - started < 2
        assert answer.status == 413
        assert answer.error()["code"] == "request_too_large"
        assert client.closed(), "what follows would be a body nobody asked for"


def test_a_chunked_body_is_413_at_the_first_byte_over_the_limit(impatient: Gateway, model: str) -> None:
    key = impatient.create_key()
    head = request_bytes(b"", key.secret).replace(b"content-length: 0", b"transfer-encoding: chunked")
    with RawClient(impatient.port) as client:
        client.send(head + b"%x\r\n%s\r\n" % (100_000, b" " * 100_000) + b"1\r\n \r\n")
        answer = client.answer()
        assert answer.status == 413
        assert answer.error()["code"] == "request_too_large"
        assert "100000" in str(answer.error()["message"])


def test_a_body_of_exactly_the_limit_is_taken(impatient: Gateway, one: Provider, model: str) -> None:
    key = impatient.create_key()
    body = json.dumps(chat(model)).encode()
    answer = impatient.ask(key, body + b" " * (100_000 - len(body)))
    assert answer.status_code == 200
    with RawClient(impatient.port) as client:
        # In one piece with its head, too.
        client.send(request_bytes(body + b" " * (100_001 - len(body)), key.secret))
        assert client.answer().status == 413
    assert len(one.asked(model)) == 1


def test_a_body_that_does_not_arrive_is_408(impatient: Gateway, one: Provider, model: str) -> None:
    key = impatient.create_key()
    whole = request_bytes(json.dumps(chat(model)).encode(), key.secret)
    with RawClient(impatient.port) as client:
        started = time.monotonic()
        client.send(whole[:-5])
        answer = client.answer()
        assert answer.status == 408
        assert answer.error()["code"] == "request_timeout"
        assert "in time" in str(answer.error()["message"])
        assert 0.8 < time.monotonic() - started < 4
        assert client.closed()
    assert one.asked(model) == []


def test_a_body_that_trickles_is_408_although_each_byte_is_quick(impatient: Gateway, one: Provider, model: str) -> None:
    key = impatient.create_key()
    whole = request_bytes(b"{" + b" " * 5000, key.secret)
    started = time.monotonic()
    with RawClient(impatient.port) as client:
        client.send(whole[:-5000])
        while time.monotonic() - started < 1.5 and client.send_if_open(b" "):
            time.sleep(0.02)
        answer = client.answer()
    assert answer.status == 408


@pytest.mark.parametrize(
    "headers",
    [
        {"x-turnpike-timeout": "soon"},
        {"x-turnpike-timeout": "-1"},
        {"x-turnpike-timeout": "nan"},
        {"x-turnpike-cache": "maybe"},
    ],
    ids=str,
)
def test_a_header_of_ours_that_means_nothing_is_400_and_named(
    gateway: Gateway, key: Key, model: str, headers: dict[str, str]
) -> None:
    error = error_of(gateway.ask(key, chat(model), headers), 400)
    assert next(iter(headers)) in str(error["message"])


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/chat/completions", 405), ("GET", "/v1/nothing", 404)]
)
def test_an_unknown_path_or_method_answers_in_the_same_shape(
    gateway: Gateway, key: Key, method: str, path: str, status: int
) -> None:
    error_of(gateway.client.request(method, path, headers=key.bearer), status)
