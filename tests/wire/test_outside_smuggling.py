"""Requests whose end two servers could see in two places: refused, the connection closed, nothing passed on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.gateway import Gateway, Key, chat
from tests.e2e.raw_client import RawClient, request_bytes

if TYPE_CHECKING:
    from collections.abc import Container

    from tests.fakes.provider import Provider

BODY: Final = json.dumps(chat("solo-0")).encode()
LENGTH: Final = b"%d" % len(BODY)
SMUGGLED: Final = b"GET /healthz HTTP/1.1\r\nhost: gateway.test\r\n\r\n"


def post(
    key: Key, *lines: bytes, first: bytes = b"POST /v1/chat/completions HTTP/1.1", host: bytes = b"host: gateway.test"
) -> bytes:
    """A head of exactly these lines, with a key in it."""
    return b"\r\n".join([first, host, b"authorization: Bearer " + key.secret.encode(), *lines]) + b"\r\n\r\n"


def chunked(*lines: bytes) -> tuple[bytes, ...]:
    return (b"transfer-encoding: chunked", *lines)


CL: Final = b"content-length: " + LENGTH
CHUNKS: Final = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

AMBIGUOUS_HEADS: Final = {
    "two content-lengths that differ": (CL, b"content-length: 5"),
    "two equal content-lengths": (CL, CL),
    "a list of content-lengths": (b"content-length: " + LENGTH + b", " + LENGTH,),
    "content-length and chunked": (CL, b"transfer-encoding: chunked"),
    "chunked and content-length": (b"transfer-encoding: chunked", CL),
    "content-length and an unknown coding": (CL, b"transfer-encoding: xchunked"),
    "an unknown coding": (b"transfer-encoding: xchunked",),
    "identity": (CL, b"transfer-encoding: identity"),
    "chunked, identity": (b"transfer-encoding: chunked, identity",),
    "identity, chunked": (b"transfer-encoding: identity, chunked",),
    "chunked, chunked": (b"transfer-encoding: chunked, chunked",),
    "two transfer-encodings": (b"transfer-encoding: chunked", b"transfer-encoding: chunked"),
    "gzip, chunked": (b"transfer-encoding: gzip, chunked",),
    "an empty coding": (CL, b"transfer-encoding: "),
    "chunked in quotes": (b'transfer-encoding: "chunked"',),
    "chunked with a vertical tab": (b"transfer-encoding: \x0bchunked",),
    "chunked with a parameter": (b"transfer-encoding: chunked;a=b",),
    "a signed length": (b"content-length: +" + LENGTH,),
    "a negative length": (b"content-length: -1",),
    "an empty length": (b"content-length: ",),
    "a length in hexadecimal": (b"content-length: 0x10",),
    "a length with an underscore": (b"content-length: 1_0",),
    "a length with a space within": (b"content-length: 1 0",),
    "a length in other digits": ("content-length: ١٢".encode(),),
    "a length beyond counting": (b"content-length: " + b"9" * 40,),
    "space before the colon": (b"content-length : " + LENGTH,),
    "tab before the colon": (b"transfer-encoding\t: chunked", CL),
    "obs-fold": (CL, b"x-folded: a\r\n b"),
    "obs-fold with a tab": (b"transfer-encoding:\r\n\tchunked", CL),
    "a line that begins with a space": (b" x-led: a", CL),
    "bare LF between headers": (b"x-a: b\ncontent-length: 5", CL),
    "bare CR in a value": (b"x-a: b\rcontent-length: 5", CL),
    "bare CR before the name": (b"\rx-a: b", CL),
    "NUL in a value": (b"x-a: b\x00c", CL),
    "NUL in a name": (b"x-\x00a: b", CL),
    "a control byte in a value": (b"x-a: b\x01c", CL),
    "DEL in a value": (b"x-a: b\x7fc", CL),
    "a control byte in a name": (b"x-\x08a: b", CL),
    "a name with a space": (b"x a: b", CL),
    "a name that is no token": (b"x(a): b", CL),
    "a name in UTF-8": ("x-ü: b".encode(), CL),
    "an empty name": (b": b", CL),
    "a line without a colon": (b"x-a", CL),
    "two hosts": (b"host: other.test", CL),
}


def refused(gateway: Gateway, one: Provider, data: bytes, statuses: Container[int] = (400,)) -> None:
    before = len(one.requests)
    with RawClient(gateway.port) as client:
        # What follows would be answered with a 200 of its own, were the boundary seen elsewhere.
        client.send_if_open(data + SMUGGLED)
        answer = client.answer()
        assert answer.status in statuses, answer
        error = answer.error()
        assert error["type"] == "invalid_request_error"
        assert "internal" not in str(error["message"]), "the client must learn what to mend"
        assert client.rest() == b"", "nothing may be answered after the refusal"
    assert len(one.requests) == before


@pytest.mark.parametrize("lines", AMBIGUOUS_HEADS.values(), ids=AMBIGUOUS_HEADS.keys())
def test_a_head_that_can_be_read_in_two_ways_is_refused(
    gateway: Gateway, key: Key, one: Provider, lines: tuple[bytes, ...]
) -> None:
    body = CHUNKS if any(b"chunked" in line for line in lines) else BODY
    statuses = {400, 501} if any(b"transfer-encoding" in line for line in lines) else {400}
    if lines == AMBIGUOUS_HEADS["a length beyond counting"]:
        statuses = {400, 413}
    refused(gateway, one, post(key, *lines) + body, statuses)


FIRST_LINES: Final = {
    "two spaces": b"POST  /v1/chat/completions HTTP/1.1",
    "a tab": b"POST\t/v1/chat/completions HTTP/1.1",
    "a space in the target": b"POST /v1/chat/ completions HTTP/1.1",
    "no version": b"POST /v1/chat/completions",
    "another version": b"POST /v1/chat/completions HTTP/1.2",
    "a version with a plus": b"POST /v1/chat/completions HTTP/+1.1",
    "a version of two digits": b"POST /v1/chat/completions HTTP/1.10",
    "HTTP/2": b"POST /v1/chat/completions HTTP/2.0",
    "lower case": b"POST /v1/chat/completions http/1.1",
    "a trailing space": b"POST /v1/chat/completions HTTP/1.1 ",
    "NUL in the target": b"POST /v1/chat/comple\x00tions HTTP/1.1",
    "bare CR in the target": b"POST /v1/chat/completions\r HTTP/1.1",
    "bytes above ASCII in the target": b"POST /v1/ch\xc3\xa4t HTTP/1.1",
    "a method that is no token": b"PO(ST /v1/chat/completions HTTP/1.1",
    "no target": b"POST HTTP/1.1",
    "a relative target": b"POST v1/chat/completions HTTP/1.1",
}


@pytest.mark.parametrize("first", FIRST_LINES.values(), ids=FIRST_LINES.keys())
def test_a_first_line_that_is_none_is_refused(gateway: Gateway, key: Key, one: Provider, first: bytes) -> None:
    refused(gateway, one, post(key, CL, first=first) + BODY, (400, 505))


def test_lines_that_end_in_a_bare_lf_are_refused(gateway: Gateway, key: Key, one: Provider) -> None:
    refused(gateway, one, post(key, CL).replace(b"\r\n", b"\n") + BODY)
    refused(gateway, one, post(key, CL).replace(b"\r\n\r\n", b"\r\n\n") + BODY)
    refused(gateway, one, post(key, CL).replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n") + BODY)


def test_a_request_without_a_host_is_refused(gateway: Gateway, key: Key, one: Provider) -> None:
    refused(gateway, one, post(key, CL, host=b"x-no: host") + BODY)


def test_chunks_in_http_1_0_are_refused(gateway: Gateway, key: Key, one: Provider) -> None:
    refused(gateway, one, post(key, *chunked(), first=b"POST /v1/chat/completions HTTP/1.0") + CHUNKS)


BAD_CHUNKS: Final = {
    "an extension": b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "an extension without a name": b"%x;\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "an extension with a bare LF": b"%x;a\nb\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "an extension on the last chunk": b"%x\r\n%s\r\n0;a=b\r\n\r\n" % (len(BODY), BODY),
    "0x before the size": b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a plus": b"+%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a minus": b"-%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a space after the size": b"%x \r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a space before the size": b" %x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "an underscore": b"1_0\r\n%s\r\n0\r\n\r\n" % BODY[:16],
    "no size": b"\r\n%s\r\n0\r\n\r\n" % BODY,
    "no number": b"xyz\r\n%s\r\n0\r\n\r\n" % BODY,
    "more digits than a size has": b"%s%x\r\n%s\r\n0\r\n\r\n" % (b"0" * 64, len(BODY), BODY),
    "a size beyond 64 bits": b"1%s\r\n" % (b"0" * 16),
    "a bare LF after the size": b"%x\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a bare CR after the size": b"%x\r%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "data longer than its size": b"%x\r\n%sXX\r\n0\r\n\r\n" % (len(BODY), BODY),
    "data that ends in a bare LF": b"%x\r\n%s\n0\r\n\r\n" % (len(BODY), BODY),
    "data that ends in other bytes": b"%x\r\n%sab0\r\n\r\n" % (len(BODY), BODY),
    "a last chunk that ends in a bare LF": b"%x\r\n%s\r\n0\n\n" % (len(BODY), BODY),
    "a trailer that is folded": b"%x\r\n%s\r\n0\r\nx-a: b\r\n c\r\n\r\n" % (len(BODY), BODY),
    "a trailer without a colon": b"%x\r\n%s\r\n0\r\nx-a\r\n\r\n" % (len(BODY), BODY),
    "trailers without end": b"%x\r\n%s\r\n0\r\n%s" % (len(BODY), BODY, b"x-trailer: abcdefgh\r\n" * 10_000),
}


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_chunks_that_can_be_read_in_two_ways_are_refused(
    gateway: Gateway, key: Key, one: Provider, chunks: bytes
) -> None:
    refused(gateway, one, post(key, *chunked()) + chunks, (400, 413, 431))


def test_trailers_never_become_headers(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    body = json.dumps(chat(model)).encode()
    trailers = b"authorization: Bearer sk-trailer\r\nx-trailer: yes\r\n"
    with RawClient(gateway.port) as client:
        client.send(post(key, *chunked()) + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers))
        assert client.answer().status in {200, 400}
    assert all(b"trailer" not in request.head for request in one.asked(model))


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"\x00" * 100,
        b"\xff" * 100 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"\r\n" * 100_000,
    ],
    ids=["HTTP/0.9", "HTTP/2 preface", "TLS", "zeros", "high bytes", "an answer", "empty lines"],
)
def test_what_is_no_http_1_is_refused_and_closed(gateway: Gateway, one: Provider, data: bytes) -> None:
    before = len(one.requests)
    with RawClient(gateway.port) as client:
        client.send_if_open(data)
        client.send_if_open(b"\r\n\r\n")
        client.half_close_if_open()
        rest = client.rest()
    assert rest == b"" or rest.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))
    assert b" 200 " not in rest
    assert len(one.requests) == before


def test_a_target_with_an_address_leads_nowhere_else(
    gateway: Gateway, key: Key, one: Provider, two: Provider, model: str
) -> None:
    """The absolute form is a server's to accept; its host names nobody we would connect to."""
    body = json.dumps(chat(model)).encode()
    connections = two.connections
    with RawClient(gateway.port) as client:
        client.send(request_bytes(body, key.secret, target=f"http://127.0.0.1:{two.port}/v1/chat/completions"))
        answer = client.answer()
    assert answer.status in {200, 400}
    assert two.connections == connections
    assert len(one.asked(model)) == (answer.status == 200)


def test_connect_opens_no_tunnel(gateway: Gateway, two: Provider) -> None:
    connections = two.connections
    with RawClient(gateway.port) as client:
        client.send(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n" % (two.port, two.port))
        assert client.answer().status in {400, 404, 405, 501}
    assert two.connections == connections


def test_the_refusal_of_a_pipelined_request_leaves_the_one_before_it_answered(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    body = json.dumps(chat(model)).encode()
    with RawClient(gateway.port) as client:
        client.send(request_bytes(body, key.secret) + post(key, CL, CL) + BODY)
        assert client.answer().status == 200
        assert client.answer().status == 400
        assert client.closed()
    assert len(one.asked(model)) == 1
