"""Bad bodies by the hundred, mutated ones by the ten thousand: quick refusals, bounded memory, nothing passed on."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.gateway import Gateway, Key, chat
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.script import Says, refusal, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.provider import Provider

REFUSED_WITHIN_S: Final = 0.1
GROWTH_BYTES_MAX: Final = 64 * 1024 * 1024
MUTATIONS: Final = 10_000
BATCH: Final = 50
OVER_LIMIT_BYTES: Final = 60_000_000
# Every body that is taken must be seen to arrive.
UNKEPT: Final = ((b"x-turnpike-cache", b"off"),)

BAD_BODIES: Final = {
    "nested": b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "nested without end": b"[" * 1_000_000,
    "invalid UTF-8": b'{"model":"m","messages":[{"role":"user","content":"' + b"\xff\xfe" * 50_000 + b'"}]}',
    "broken JSON": b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 500_000,
    "broken at the end of 8 MB": b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 8_000_000 + b'"}],}',
    "a number of a million digits": b'{"model":"m","messages":[],"n":' + b"9" * 1_000_000 + b"}",
    "many keys": b"{" + b",".join(b'"k%d":0' % n for n in range(100_000)) + b"}",
    "missing fields": b"{}",
    "wrong types": b'{"model":1,"messages":2}',
    "unknown model": b'{"model":"nobody","messages":[{"role":"user","content":"x"}]}',
}


def refusal_s(gateway: Gateway, secret: str, body: bytes, status: int = 400) -> float:
    """Seconds between the body's last byte and the refusal's first."""
    with RawClient(gateway.port) as client:
        client.send(request_bytes(body, secret))
        sent_at = time.monotonic()
        answer = client.answer()
        seconds = time.monotonic() - sent_at
    assert answer.status == status, answer
    assert {"message", "type", "param", "code"} <= answer.error().keys()
    return seconds


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_within_a_tenth_of_a_second(gateway: Gateway, key: Key, one: Provider, name: str) -> None:
    before = len(one.requests)
    status = 404 if name == "unknown model" else 400
    # The best of a few: other processes of a busy machine must not decide.
    assert min(refusal_s(gateway, key.secret, BAD_BODIES[name], status) for _ in range(5)) < REFUSED_WITHIN_S
    assert len(one.requests) == before


def test_a_bad_key_is_refused_within_a_tenth_of_a_second(gateway: Gateway) -> None:
    body = json.dumps(chat("pool", "x" * 1_000_000)).encode()
    assert min(refusal_s(gateway, "tp-nobody", body, 401) for _ in range(5)) < REFUSED_WITHIN_S


def too_large(gateway: Gateway, secret: str) -> None:
    """A body of 60 MB, sent for as long as anybody listens."""
    with RawClient(gateway.port) as client:
        client.send(request_bytes(b"", secret).replace(b"content-length: 0", b"content-length: %d" % OVER_LIMIT_BYTES))
        for _ in range(OVER_LIMIT_BYTES // 1_000_000):
            if client.answered() or not client.send_if_open(b" " * 1_000_000):
                break
        assert client.read_head().startswith(b"HTTP/1.1 413 ")


def too_large_in_chunks(gateway: Gateway, secret: str) -> None:
    with RawClient(gateway.port) as client:
        client.send(request_bytes(b"", secret).replace(b"content-length: 0", b"transfer-encoding: chunked"))
        chunk = b"%x\r\n%s\r\n" % (1_000_000, b" " * 1_000_000)
        for _ in range(OVER_LIMIT_BYTES // 1_000_000):
            if client.answered() or not client.send_if_open(chunk):
                break
        assert client.read_head().startswith(b"HTTP/1.1 413 ")


def test_a_hundred_bad_requests_leave_memory_as_it_was(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    assert gateway.ask(key, chat(model)).status_code == 200
    before = len(one.requests)
    small = [body for name, body in BAD_BODIES.items() if name not in {"broken at the end of 8 MB", "unknown model"}]
    acts: list[Callable[[], object]] = [
        lambda: too_large(gateway, key.secret),
        lambda: too_large_in_chunks(gateway, key.secret),
    ]
    acts += [lambda body=body: refusal_s(gateway, key.secret, body) for body in small]  # type: ignore[misc]
    memory = gateway.resident_bytes()
    for n in range(100):
        acts[n % len(acts)]()
    assert gateway.resident_bytes() - memory <= GROWTH_BYTES_MAX
    assert len(one.requests) == before


class Mutator:
    """Bodies a step or a few away from good ones; the same ones in every run."""

    def __init__(self, seed: int, originals: list[bytes]) -> None:
        self._chance = random.Random(seed)
        self._originals = originals

    def body(self) -> bytes:
        body = bytearray(self._chance.choice(self._originals))
        for _ in range(self._chance.choice((1, 1, 1, 2, 4, 16))):
            self._mutate(body)
        return bytes(body)

    def _mutate(self, body: bytearray) -> None:
        chance = self._chance
        at = chance.randrange(len(body) + 1)
        match chance.randrange(8):
            case 0 if at < len(body):
                body[at] = chance.randrange(256)
            case 1:
                del body[at : at + chance.randrange(1, 9)]
            case 2:
                body[at:at] = chance.randbytes(chance.randrange(1, 5))
            case 3:
                body[at:at] = body[at : at + chance.randrange(1, 40)]
            case 4:
                body[at:at] = chance.choice(PIECES)
            case 5:
                del body[at:]
            case 6 if at < len(body):
                body[at] ^= 1 << chance.randrange(8)
            case _:
                self._swap_value(body)

    def _swap_value(self, body: bytearray) -> None:
        """Another value in the place of one: still JSON, most of the time."""
        at = body.find(b":", self._chance.randrange(len(body) + 1))
        if at >= 0:
            end = min((found for found in (body.find(b",", at), body.find(b"}", at)) if found > 0), default=len(body))
            body[at + 1 : end] = self._chance.choice(VALUES)


PIECES: Final = [
    b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\\u0000", b"\\ud800", b"\\",
    b'"', b"'",
    b"{", b"}", b"[", b"]", b",", b":", b"[[[[[[[[", b"null", b"NaN", b"-", b"1e999", b"\r\n\r\n", b"0\r\n\r\n", b"/*",
    b'"model":', b'"stream":true,',
]  # fmt: skip
VALUES: Final = [
    b"null", b"true", b"false", b"0", b"-1", b"1.5", b"1e400", b"9" * 30, b'""', b'"x"', b'"\\u0000"',
    b"[]", b"{}", b"[null]", b'{"a":[1,2]}', b"[" * 300 + b"]" * 300,
]  # fmt: skip


def originals(model: str) -> list[bytes]:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    parts = [
        {"type": "text", "text": "grüße 🚀"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    bodies = [
        chat(model),
        chat(model, stream=True, stream_options={"include_usage": True}),
        chat(model, parts, tools=[tool], tool_choice="auto", temperature=0.5, max_tokens=10, user="u"),
        chat(model, "x", metadata={"tags": "a=b"}, n=1, stop=["a"], response_format={"type": "json_object"}, seed=1),
    ]
    return [json.dumps(body, ensure_ascii=escaped).encode() for body in bodies for escaped in (True, False)]


def is_json(body: bytes) -> bool:
    try:
        json.loads(body.decode())
    except (ValueError, RecursionError):
        return False
    return True


def test_ten_thousand_mutated_bodies_bring_no_5xx_and_pass_nothing_malformed_on(
    gateway: Gateway, key: Key, one: Provider, mutant: str
) -> None:
    mutator = Mutator(4, originals(mutant))
    one.always(mutant, reply(Says(pieces=("ok",))))
    before = len(one.requests)
    statuses: list[int] = []
    with RawClient(gateway.port) as client:
        for _ in range(MUTATIONS // BATCH):
            bodies = [mutator.body() for _ in range(BATCH)]
            client.send(b"".join(request_bytes(body, key.secret, headers=UNKEPT) for body in bodies))
            for body in bodies:
                answer = client.answer()
                statuses.append(answer.status)
                assert answer.status in {200, 400, 404}, (answer, body)
                assert answer.status == 400 or is_json(body), ("taken although it is no JSON", body)
    assert gateway.alive()
    passed_on = one.requests[before:]
    assert len(passed_on) == statuses.count(200)
    assert statuses.count(400) > MUTATIONS // 4
    assert statuses.count(200) > MUTATIONS // 20
    for request in passed_on:
        document = json.loads(request.body.decode())
        assert isinstance(document["model"], str)
        assert isinstance(document["messages"], list)


def test_mutated_heads_bring_no_5xx_and_no_crash(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    """Whatever a mutated head is taken for, what goes on to the provider is a request of ours, whole."""
    chance = random.Random(11)
    body = json.dumps(chat(model)).encode()
    whole = request_bytes(body, key.secret)
    before = len(one.requests)
    for _ in range(400):
        head = bytearray(whole[: -len(body)])
        for _ in range(chance.choice((1, 2, 5))):
            at = chance.randrange(len(head))
            if chance.random() < 0.5:
                head[at] = chance.randrange(256)
            else:
                head[at:at] = chance.choice((b"\n", b"\r", b" ", b"\x00", b":", b"\r\n ", b"\xff", b",", b"\r\n\r\n"))
        with RawClient(gateway.port) as client:
            client.send_if_open(bytes(head) + body)
            client.half_close_if_open()
            answered = client.rest()
        assert not answered or answered.startswith(b"HTTP/1.1 "), answered[:100]
        assert not answered.startswith(b"HTTP/1.1 5") or answered.startswith((b"HTTP/1.1 501 ", b"HTTP/1.1 505 ")), (
            answered[:200]
        )
    assert gateway.alive()
    assert all(request.document()["messages"] for request in one.requests[before:])


@pytest.mark.parametrize("status", [400, 500])
def test_garbage_from_a_provider_never_becomes_a_500_of_ours(
    gateway: Gateway, key: Key, one: Provider, model: str, status: int
) -> None:
    one.always(model, refusal(status, "\x00\x1f\ud7ff\uffff " * 1000))
    assert gateway.ask(key, chat(model)).status_code in {400, 502}
