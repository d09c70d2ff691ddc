"""Plain HTTP/1.1 as clients speak it: slowly, in a hurry, in odd order; and limits on what one of them may take."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway, Key, chat, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.script import Says, Wire, reply

if TYPE_CHECKING:
    from tests.fakes.provider import Provider


def encoded(model: str, content: object = "hi", **more: object) -> bytes:
    return json.dumps(chat(model, content, **more)).encode()


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    for n in range(8):
        # The first is the slowest.
        one.queue(model, reply(Says(pieces=(f"answer {n}",)), gap_s=0.1 if n == 0 else 0))
    whole = b"".join(request_bytes(encoded(model, f"q{n}", stream=n % 3 == 2), key.secret) for n in range(8))
    with RawClient(gateway.port) as client:
        client.send(whole)
        answers = [client.answer() for _ in range(8)]
    assert [answer.status for answer in answers] == [200] * 8
    for n, answer in enumerate(answers):
        assert b"answer %d" % n in answer.body


def test_hot_and_other_paths_share_a_connection(gateway: Gateway, key: Key, model: str) -> None:
    hot = request_bytes(encoded(model), key.secret)
    health = request_bytes(b"", key.secret, method="GET", target="/healthz")
    admin = request_bytes(b"", gateway.admin_key, method="GET", target="/admin/v1/teams")
    with RawClient(gateway.port) as client:
        for request in (hot, health, hot, admin, hot, health, admin, hot):
            client.send(request)
            assert client.answer().status == 200
        client.send(hot + admin + hot + health)
        assert [client.answer().status for _ in range(4)] == [200] * 4


def test_a_request_may_come_a_byte_at_a_time(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    with RawClient(gateway.port) as client:
        for byte in request_bytes(encoded(model, "ü🚀"), key.secret):
            client.send(bytes([byte]))
        assert client.answer().status == 200
        head = request_bytes(b"", key.secret).replace(b"content-length: 0", b"transfer-encoding: chunked")
        body = encoded(model)
        for byte in head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body):
            client.send(bytes([byte]))
        assert client.answer().status == 200
    assert len(one.asked(model)) == 2


def test_a_client_that_expects_100_gets_it_and_one_that_is_refused_does_not(
    gateway: Gateway, key: Key, model: str
) -> None:
    body = encoded(model)
    whole = request_bytes(body, key.secret, headers=((b"expect", b"100-continue"),))
    with RawClient(gateway.port) as client:
        client.send(whole[: -len(body)])
        assert client.read_head().startswith(b"HTTP/1.1 100 ")
        client.send(body)
        assert client.answer().status == 200
    with RawClient(gateway.port) as client:
        client.send(whole[: -len(body)].replace(b"content-length: ", b"content-length: 9999999"))
        assert client.read_head().startswith(b"HTTP/1.1 413 ")


def test_connection_close_is_honoured(gateway: Gateway, key: Key, model: str) -> None:
    for stream in (False, True):
        with RawClient(gateway.port) as client:
            client.send(request_bytes(encoded(model, stream=stream), key.secret, headers=((b"connection", b"close"),)))
            assert client.answer().status == 200
            assert client.closed()


def test_http_1_0_is_answered_without_chunks_and_closed(gateway: Gateway, key: Key, model: str) -> None:
    for stream in (False, True):
        with RawClient(gateway.port) as client:
            client.send(request_bytes(encoded(model, stream=stream), key.secret).replace(b"HTTP/1.1", b"HTTP/1.0"))
            rest = client.rest()
        head, _, body = rest.partition(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0]
        assert b"transfer-encoding" not in head.lower()
        assert body.startswith(b"data: " if stream else b"{")


def test_header_names_are_read_in_any_case_and_values_with_any_space(gateway: Gateway, key: Key, model: str) -> None:
    body = encoded(model)
    shouted = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHOST:gateway.test\r\nAUTHORIZATION:   bearer %s  \r\n"
        b"Content-LENGTH:\t%d\t\r\nX-Empty:\r\nx-high: caf\xe9\r\n\r\n" % (key.secret.encode(), len(body))
    )
    with RawClient(gateway.port) as client:
        client.send(shouted + body)
        assert client.answer().status == 200


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/v1/models", "/admin/v1/openapi.json", "/v1/chat/completions"]
)
def test_head_has_no_body_and_keeps_the_connection(gateway: Gateway, key: Key, path: str) -> None:
    with RawClient(gateway.port) as client:
        client.send(request_bytes(b"", key.secret, method="HEAD", target=path))
        answer = client.answer(to_head=True)
        assert answer.status in ({405} if path.endswith("completions") else {200, 405})
        client.send(request_bytes(b"", key.secret, method="GET", target="/healthz"))
        assert client.answer().status == 200


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "post"])
def test_other_methods_reach_nobody(gateway: Gateway, key: Key, one: Provider, model: str, method: str) -> None:
    with RawClient(gateway.port) as client:
        client.send(request_bytes(encoded(model), key.secret, method=method))
        answer = client.answer()
    assert answer.status in {204, 400, 405, 501} if method == "OPTIONS" else {400, 405, 501}
    assert "access-control-allow-origin" not in dict(answer.headers)
    assert one.asked(model) == []


def test_a_405_names_what_is_allowed(gateway: Gateway, key: Key) -> None:
    answer = gateway.client.put("/v1/chat/completions", headers=key.bearer)
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


def test_a_query_does_not_change_the_path(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    with RawClient(gateway.port) as client:
        client.send(
            request_bytes(encoded(model), key.secret, target="/v1/chat/completions?api-version=2024-10-21&x=%2e%2e")
        )
        assert client.answer().status == 200
    assert "?" not in one.asked(model)[0].target


@pytest.mark.parametrize(
    "target",
    [
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/../v1/chat/completions",
        "/v1/chat%2fcompletions",
        "//v1/chat/completions",
    ],
)
def test_a_path_is_taken_as_it_is_written(gateway: Gateway, key: Key, one: Provider, model: str, target: str) -> None:
    with RawClient(gateway.port) as client:
        client.send(request_bytes(encoded(model), key.secret, target=target))
        assert client.answer().status in {307, 308, 400, 404, 405}
    assert one.asked(model) == []


@pytest.mark.parametrize(
    "headers",
    [
        ((b"x-long", b"a" * 100_000),),
        tuple((b"x-%d" % n, b"a" * 100) for n in range(1000)),
        tuple((b"x-%d" % n, b"") for n in range(10_000)),
    ],
    ids=["one long", "many", "many empty"],
)
def test_headers_above_the_limit_are_431(
    gateway: Gateway, key: Key, one: Provider, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    before = len(one.requests)
    with RawClient(gateway.port) as client:
        client.send_if_open(request_bytes(encoded("solo-0"), key.secret, headers=headers))
        answer = client.answer()
        assert answer.status == 431
        assert "exceeds" in str(answer.error()["message"])
        client.rest()
    assert len(one.requests) == before


def test_a_head_without_end_is_431(gateway: Gateway) -> None:
    with RawClient(gateway.port) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
        for _ in range(2000):
            if not client.send_if_open(b"x-more: " + b"a" * 200 + b"\r\n"):
                break
        assert client.answer().status == 431


def test_a_request_line_above_the_limit_is_refused(gateway: Gateway, key: Key) -> None:
    with RawClient(gateway.port) as client:
        client.send_if_open(request_bytes(b"", key.secret, target="/v1/" + "a" * 100_000))
        assert client.answer().status in {414, 431}
        client.rest()


def test_ordinary_large_headers_are_taken(gateway: Gateway, key: Key, model: str) -> None:
    headers = tuple((b"x-ordinary-%d" % n, b"v" * 150) for n in range(40))
    with RawClient(gateway.port) as client:
        client.send(request_bytes(encoded(model), key.secret, headers=headers))
        assert client.answer().status == 200


def test_a_head_that_does_not_arrive_is_cut_off(impatient: Gateway) -> None:
    """What binds a body binds a head."""
    with RawClient(impatient.port) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\n")
        started = time.monotonic()
        rest = client.rest()
    assert time.monotonic() - started < 5
    assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")


def test_a_head_that_trickles_is_cut_off(impatient: Gateway) -> None:
    with RawClient(impatient.port) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
        started = time.monotonic()
        while not client.answered() and client.send_if_open(b"x: y\r\n"):
            assert time.monotonic() - started < 5, "still read after five seconds"
            time.sleep(0.05)
        assert client.answer().status == 408


def test_an_idle_connection_may_wait_longer_than_a_body(impatient: Gateway, model: str) -> None:
    key = impatient.create_key()
    with RawClient(impatient.port) as client:
        client.send(request_bytes(encoded(model), key.secret))
        assert client.answer().status == 200
        assert not client.closed(within_s=1.5)
        client.send(request_bytes(encoded(model), key.secret))
        assert client.answer().status == 200


def test_many_connections_that_say_nothing_do_not_stop_the_others(gateway: Gateway, key: Key, model: str) -> None:
    idle = [RawClient(gateway.port) for _ in range(300)]
    try:
        assert gateway.ask(key, chat(model)).status_code == 200
    finally:
        for client in idle:
            client.close()


def test_a_large_answer_is_whole_for_a_client_that_reads_slowly(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    one.queue(model, reply(Says(pieces=("z" * 2_000_000,)), Wire(framing="chunked")))
    with RawClient(gateway.port, receive_buffer_bytes=4096) as client:
        client.send(request_bytes(encoded(model), key.secret))
        head = client.read_head()
        assert b" 200 " in head
        eventually(lambda: one.bytes_sent > 10_000, "the provider answers")
        body = client.read_until(b'"system_fingerprint":"fp_fake"}')
    assert body.count(b"z") >= 2_000_000


def test_a_client_that_stops_reading_is_cut_off(impatient: Gateway, one: Provider, model: str) -> None:
    key = impatient.create_key()
    one.queue(model, reply(Says(pieces=tuple("z" * 100_000 for _ in range(300)))))
    with RawClient(impatient.port, receive_buffer_bytes=4096) as client:
        client.send(request_bytes(encoded(model, stream=True), key.secret))
        client.read_until(b"zzz")
        left = eventually(lambda: [seen for seen in one.left if seen.request.model == model], "the provider is let go")
        assert left[0].bytes_sent < 30_000_000
        assert not client.rest().endswith(b"[DONE]\n\n")
