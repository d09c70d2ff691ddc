"""Providers that speak HTTP oddly, wrongly or with intent: what is harmless is understood, the rest is a 502."""

from __future__ import annotations

import gzip
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import Gateway, Key, chat, error_of, eventually
from tests.fakes.script import (
    Behaviour,
    Close,
    Pause,
    Received,
    Says,
    Send,
    Step,
    Wire,
    completion,
    document,
    events,
    raw,
    reply,
    response,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.provider import Provider

OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def framed(head: bytes, *, chunked: bool = False, after: bytes = b"") -> Behaviour:
    """A right body under this head."""

    def behaviour(request: Received) -> tuple[Step, ...]:
        body = completion(Says(), request.model)
        if chunked:
            return (Send(head + b"\r\n%x\r\n%s\r\n0\r\n" % (len(body), body) + after + b"\r\n"),)
        return (Send(head + b"content-length: %d\r\n\r\n" % len(body) + body + after),)

    return behaviour


HARMLESS: Final = {
    "interim answers": framed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK),
    "no reason phrase": framed(OK.replace(b" OK", b"")),
    "a reason in UTF-8": framed(OK.replace(b"OK", "Très bien".encode())),
    "HTTP/1.0": framed(OK.replace(b"HTTP/1.1", b"HTTP/1.0")),
    "shouted headers": framed(OK.upper()),
    "no space after colons": framed(OK.replace(b": ", b":")),
    "no content-type": framed(b"HTTP/1.1 200 OK\r\n"),
    "many headers": framed(OK + b"".join(b"x-h-%d: v\r\n" % n for n in range(80))),
    "trailers": framed(OK + b"transfer-encoding: chunked\r\n", chunked=True, after=b"x-checksum: abc\r\n"),
    "upper-case chunked": framed(OK + b"Transfer-Encoding: CHUNKED\r\n", chunked=True),
    "upper-case gzip": lambda request: _zipped(request, b"GZIP"),
    "x-gzip": lambda request: _zipped(request, b"x-gzip"),
}


def _zipped(request: Received, name: bytes) -> tuple[Step, ...]:
    body = gzip.compress(completion(Says(), request.model))
    return (Send(OK + b"content-encoding: %s\r\ncontent-length: %d\r\n\r\n" % (name, len(body)) + body),)


@pytest.mark.parametrize("behaviour", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_is_harmless_is_understood(
    gateway: Gateway, key: Key, one: Provider, model: str, behaviour: Behaviour
) -> None:
    one.queue(model, behaviour)
    answer = gateway.ask(key, chat(model))
    assert answer.status_code == 200, answer.text
    assert answer.content == completion(Says(), model)


BROKEN: Final = {
    "two lengths that differ": framed(OK + b"content-length: 5\r\n"),
    "a length that is no number": raw(Send(OK + b"content-length: many\r\n\r\n{}"), Close()),
    "a negative length": raw(Send(OK + b"content-length: -1\r\n\r\n{}"), Close()),
    "an unknown coding": raw(Send(OK + b"transfer-encoding: gzip\r\n\r\n{}"), Close()),
    "a bad chunk size": raw(Send(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), Close()),
    "a chunk size beyond 64 bits": raw(
        Send(OK + b"transfer-encoding: chunked\r\n\r\n1" + b"0" * 16 + b"\r\n"), Close()
    ),
    "no status": raw(Send(b"HTTP/1.1 OK\r\n\r\n"), Close()),
    "a status of four digits": raw(Send(b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\n{}"), Close()),
    "HTTP/2": raw(Send(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18), Close()),
    "switching protocols": raw(Send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n"), Pause(0.05), Close()),
    "interim answers without end": raw(*[Send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)] * 2000, Close()),
    "headers without end": raw(
        *[Send(b"HTTP/1.1 200 OK\r\n")], *[Send(b"x-more: %s\r\n" % (b"a" * 60_000))] * 200, Close()
    ),
    "204": raw(Send(b"HTTP/1.1 204 No Content\r\n\r\n")),
    "a redirect": raw(Send(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")),
    "gzip that is none": raw(Send(OK + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd")),
    "gzip cut short": lambda request: (
        Send(OK + b"content-encoding: gzip\r\ncontent-length: 40\r\n\r\n"),
        Send(gzip.compress(completion(Says(), request.model))[:40]),
    ),
    "a coding nobody asked for": raw(Send(OK + b"content-encoding: br\r\ncontent-length: 4\r\n\r\nabcd")),
    "an empty body": document(b""),
    "null": document(b"null"),
    "an array": document(b"[]"),
    "text": document(b"hello", "text/plain"),
    "JSON cut short": document(b'{"id":"x","choices":['),
    "an error with status 200": document(b'{"error":{"message":"no","type":"server_error","code":null}}'),
}


@pytest.mark.parametrize("behaviour", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_502_and_the_next_request_is_served(
    gateway: Gateway, key: Key, one: Provider, model: str, behaviour: Behaviour
) -> None:
    # A deployment of one is asked once an attempt: as often as it is tried, it answers so.
    one.always(model, behaviour)
    error_of(gateway.ask(key, chat(model)), 502, "provider_error")
    one.always(model, reply())
    assert gateway.ask(key, chat(model)).content == completion(Says(), model)


def test_bytes_after_an_answer_are_not_the_next_ones_answer(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    """A provider (or somebody on the way) that sends more than it announced must not answer another caller."""
    evil = b'{"choices":["evil"]}'
    injected = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(evil), evil)
    for behaviour in (framed(OK, after=injected), lambda request: (*framed(OK)(request), Pause(0.05), Send(injected))):
        one.queue(model, behaviour)
        assert gateway.ask(key, chat(model)).content == completion(Says(), model)
        # While the connection is idle; what comes after the next request has left, nobody could tell apart.
        answered = one.asked(model)[-1].connection
        eventually(lambda answered=answered: answered not in one.connected, "the gateway hangs up")  # type: ignore[misc]
        for _ in range(3):
            answer = gateway.ask(key, chat(model))
            assert answer.status_code == 200, answer.text
            assert answer.content == completion(Says(), model)


@pytest.fixture(scope="module")
def small(one: Provider, two: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that takes a megabyte of an answer and one request at a time."""
    limits = {"response_body_bytes_max": 1_000_000, "requests_in_flight_max": 1, "sse_keepalive_s": 0.3}
    models = {name: [deployment("one", name)] for name in ("bomb", "big", "busy", "late", "late-and-broken")}
    config = {"server": limits, "providers": hosted(one, two), "models": models}
    with Gateway(tmp_path_factory.mktemp("small"), config) as gateway:
        yield gateway


def test_a_bomb_of_gzip_is_not_unpacked(small: Gateway, one: Provider) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * 10_000_000) for _ in range(50)) + packer.flush()
    head = OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    one.always("bomb", raw(Send(head + bomb)))
    key = small.create_key()
    small.forget_peak()
    memory = small.resident_bytes()
    error_of(small.ask(key, chat("bomb")), 502, "provider_error")
    assert small.peak_bytes() - memory < 64_000_000


@pytest.mark.parametrize("wire", [Wire(), Wire(framing="chunked", piece_bytes=60_000)], ids=["length", "chunked"])
def test_an_answer_beyond_the_limit_is_502(small: Gateway, one: Provider, wire: Wire) -> None:
    one.always("big", reply(Says(pieces=("x" * 1_500_000,)), wire))
    error_of(small.ask(small.create_key(), chat("big")), 502, "provider_error")


def test_more_than_may_be_in_flight_is_shed_with_a_time_to_come_back(small: Gateway, one: Provider) -> None:
    key = small.create_key()
    one.always("busy", reply(gap_s=0.4))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: small.ask(key, chat("busy")), range(4)))
    shed = [answer for answer in answers if answer.status_code != 200]
    assert 1 <= len(shed) <= 3
    for answer in shed:
        error_of(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
    assert small.client.get("/healthz").status_code == 200


def test_a_silent_stream_is_pinged_before_its_first_content_and_after(small: Gateway, one: Provider) -> None:
    """Proxies and clients cut what is silent; a comment keeps the road open and is no content."""
    told = events(Says(), "late", include_usage=True)

    def slow(request: Received) -> tuple[Step, ...]:
        first, second = (
            response((part,), Wire(framing="chunked"), "text/event-stream", whole=False) for part in told[:2]
        )
        rest = b"".join(told[2:])
        return (Pause(0.8), *first, *second[1:], Pause(0.8), Send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest)))

    one.always("late", slow)
    answer = small.ask(small.create_key(), chat("late", stream=True))
    before, word, after = answer.content.partition(b'"Hello"')
    assert word
    assert before.count(b": ping\n\n") >= 2
    assert after.count(b": ping\n\n") >= 2
    plain = answer.content.replace(b": ping\n\n", b"")
    assert plain == b"".join(events(Says(), "late", include_usage=False))


def test_after_a_ping_a_failure_is_an_event_of_the_stream(small: Gateway, one: Provider) -> None:
    one.always("late-and-broken", raw(Pause(0.8), Close()))
    answer = small.ask(small.create_key(), chat("late-and-broken", stream=True))
    assert answer.status_code == 200
    assert b": ping" in answer.content
    assert b'"provider_error"' in answer.content
    assert b"[DONE]" not in answer.content
