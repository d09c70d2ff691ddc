"""HTTP/1.1 framing: however the bytes are cut they mean the same; what two parsers could read apart is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.http1 import (
    LENGTH_DIGITS_MAX,
    TARGET_BYTES_MAX,
    TRAILER_BYTES_MAX,
    ChunkedDecoder,
    ProtocolError,
    RequestHead,
    parse_request_head,
    parse_response_head,
)

TOKEN: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
FRAMING: Final = {"content-length", "transfer-encoding", "host", "connection", "expect", "upgrade", "proxy-connection"}

names = st.text(TOKEN, min_size=1, max_size=20).filter(lambda name: name.lower() not in FRAMING)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40).filter(
    lambda value: not any(0x7F <= ord(char) < 0x80 for char in value)
)
targets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=60)


@st.composite
def request_heads(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]))
    target = "/" + draw(targets)
    lines = [f"{name}:{draw(st.sampled_from(['', ' ', chr(9)]))}{draw(values)}" for name in draw(st.lists(names))]
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["Host: a.test", "host:b", "HOST: c:1"])))
    if draw(st.booleans()):
        lines.append(f"content-length: {draw(st.integers(0, 10**6))}")
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from(["Connection: close", "connection: keep-alive", "Connection: Close"])))
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")


@dataclass
class Oracle:
    """What httptools makes of the same bytes."""

    url: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    whole: bool = False
    parser: httptools.HttpRequestParser = field(init=False)
    keep_alive: bool = False

    def __post_init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.whole = True
        self.keep_alive = self.parser.should_keep_alive()


@given(request_heads())
def test_a_valid_head_reads_as_another_parser_reads_it(head: bytes) -> None:
    oracle = Oracle()
    oracle.parser.feed_data(head)
    assert oracle.whole
    ours = parse_request_head(head)
    assert ours.target == oracle.url
    assert list(ours.headers) == oracle.headers
    assert ours.method.encode() == oracle.parser.get_method()
    assert ours.keep_alive == oracle.keep_alive
    assert ours.content_length == int(dict(oracle.headers).get(b"content-length", b"0"))


@given(request_heads(), st.integers(0, 10**6), st.binary(min_size=1, max_size=1))
def test_a_head_with_a_byte_exchanged_is_read_or_refused(head: bytes, place: int, byte: bytes) -> None:
    place %= len(head)
    changed = head[:place] + byte + head[place + 1 :]
    try:
        read = parse_request_head(changed)
    except ProtocolError:
        pass  # refused, and nothing else
    else:
        assert all(
            b"\r" not in part and b"\n" not in part and b"\x00" not in part for pair in read.headers for part in pair
        )


def head(*lines: str, first: str = "POST /v1/chat/completions HTTP/1.1") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def why(*lines: str, first: str = "POST / HTTP/1.1", host: str = "host: a") -> str:
    with pytest.raises(ProtocolError) as caught:
        parse_request_head(head(*([host] if host else []), *lines, first=first))
    return f"{caught.value.status} {caught.value}"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("content-length: 3", "content-length: 3"), "one content-length"),
        (("content-length: 3, 3",), "one content-length"),
        (("content-length: +3",), "one content-length"),
        (("content-length: 0x3",), "one content-length"),
        (("content-length: 1_0",), "one content-length"),
        (("content-length:",), "one content-length"),
        (("content-length: ²",), "one content-length"),
        (("content-length: " + "9" * (LENGTH_DIGITS_MAX + 1),), "one content-length"),
        (("content-length: 3", "transfer-encoding: chunked"), "exclude each other"),
        (("transfer-encoding: chunked", "transfer-encoding: chunked"), "single `chunked`"),
        (("transfer-encoding: gzip, chunked",), "single `chunked`"),
        (("transfer-encoding: xchunked",), "single `chunked`"),
        (("transfer-encoding:",), "single `chunked`"),
        (("host: b",), "exactly one host"),
        (("content-length : 3",), "a header line is malformed"),
        (("x-a\t: 3",), "a header line is malformed"),
        (("x-a: b\x00c",), "a header line is malformed"),
        (("x-a: b\x7fc",), "a header line is malformed"),
        ((": b",), "a header line is malformed"),
        (("x-a",), "a header line is malformed"),
        (("x-a: b", " folded"), "must not be folded"),
        (("x-a: b\nc: d",), "lines must end in CRLF"),
        (("x-a: b\rc: d",), "lines must end in CRLF"),
        (("expect: 200-ok",), "417 only `expect: 100-continue`"),
    ],
)
def test_what_two_parsers_could_read_apart_is_refused_by_name(lines: tuple[str, ...], said: str) -> None:
    assert said in why(*lines)


@pytest.mark.parametrize(
    "first",
    ["POST  / HTTP/1.1", "POST / HTTP/1.2", "POST / HTTP/2.0", "POST / http/1.1", "POST /\x7f HTTP/1.1", "POST /", ""],
)
def test_a_first_line_of_another_shape_is_refused(first: str) -> None:
    assert "the request line must read" in why(first=first)


@pytest.mark.parametrize("first", ["GET v1 HTTP/1.1", "GET ftp://a/ HTTP/1.1", "CONNECT a:1 HTTP/1.1"])
def test_a_target_without_a_path_is_refused(first: str) -> None:
    assert "must begin with `/`" in why(first=first)


def test_a_target_has_a_limit_and_a_host_is_asked_for() -> None:
    assert why(first=f"GET /{'a' * TARGET_BYTES_MAX} HTTP/1.1").startswith("414 ")
    assert "exactly one host" in why(host="")
    assert "the request head is malformed" in _why_bytes(b"GET / HTTP/1.1\r\nhost: a\r\n")


def _why_bytes(raw: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        parse_request_head(raw)
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a?b=c#d", "/a", b"b=c"),
        ("/a#b?c", "/a", b"c"),
        ("http://host:80/a?b", "/a", b"b"),
        ("HTTPS://host", "/", b""),
        ("*", "*", b""),
        ("/%2e%2e/a", "/%2e%2e/a", b""),
    ],
)
def test_a_target_is_cut_into_path_and_query_and_nothing_is_decoded(target: str, path: str, query: bytes) -> None:
    read = parse_request_head(head("host: a", first=f"GET {target} HTTP/1.1"))
    assert (read.path, read.query) == (path, query)


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "upgrade, Close", False),
        ("1.1", "keep-alive", True),
        ("1.0", None, False),
        ("1.0", "Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
    ],
)
def test_whether_a_connection_stays(version: str, connection: str | None, kept: bool) -> None:
    lines = ["host: a", *([f"connection: {connection}"] if connection else [])]
    assert parse_request_head(head(*lines, first=f"GET / HTTP/{version}")).keep_alive is kept


def test_http_1_0_needs_no_host_knows_no_chunks_and_awaits_no_100() -> None:
    assert parse_request_head(head("expect: 100-continue", first="POST / HTTP/1.0")).expects_continue is False
    assert parse_request_head(head("host: a", "Expect: 100-Continue")).expects_continue is True
    assert "single `chunked`" in why("transfer-encoding: chunked", first="POST / HTTP/1.0")


def test_the_first_of_equal_headers_is_given_and_names_are_in_lower_case() -> None:
    read = parse_request_head(head("host: a", "X-A:  one\t", "x-a: two"))
    assert isinstance(read, RequestHead)
    assert read.get(b"x-a") == b"one"
    assert read.get(b"x-b") is None


# --- answers ---


def answer(*lines: str, first: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def test_an_answers_framing_is_read() -> None:
    plain = parse_response_head(answer("Content-Length: 12", "Content-Type: a/b", "x-other: c"))
    assert (plain.status, plain.content_length, plain.chunked, plain.keep_alive) == (200, 12, False, True)
    assert plain.headers == {b"content-length": b"12", b"content-type": b"a/b"}
    chunked = parse_response_head(answer("transfer-encoding: Chunked"))
    assert (chunked.content_length, chunked.chunked, chunked.keep_alive) == (None, True, True)
    closing = parse_response_head(answer())
    assert (closing.content_length, closing.chunked, closing.keep_alive) == (None, False, False)


@pytest.mark.parametrize("status", [100, 103, 204, 304])
def test_an_answer_without_a_body_by_its_status_has_none(status: int) -> None:
    read = parse_response_head(answer("content-length: 9", first=f"HTTP/1.1 {status} X"))
    assert (read.content_length, read.chunked) == (0, False)


def test_an_answer_to_head_has_no_body() -> None:
    assert parse_response_head(answer("content-length: 9"), bodiless=True).content_length == 0


def test_both_framings_let_chunks_win_and_end_the_connection() -> None:
    both = parse_response_head(answer("transfer-encoding: chunked", "content-length: 5"))
    assert (both.chunked, both.content_length, both.keep_alive) == (True, None, False)


@pytest.mark.parametrize(
    ("line", "first", "kept"),
    [
        ("connection: close", "HTTP/1.1 200 OK", False),
        ("connection: Keep-Alive, Close", "HTTP/1.1 200 OK", False),
        ("x: y", "HTTP/1.0 200 OK", False),
        ("x: y", "HTTP/1.1 200", True),
    ],
)
def test_whether_a_provider_keeps_its_connection(line: str, first: str, kept: bool) -> None:
    assert parse_response_head(answer("content-length: 0", line, first=first)).keep_alive is kept


@pytest.mark.parametrize(
    ("lines", "first", "said"),
    [
        ((), "ICY 200 OK", "not HTTP/1.1"),
        ((), "HTTP/2 200 OK", "not HTTP/1.1"),
        ((), "HTTP/1.1 abc OK", "not HTTP/1.1"),
        (("content-length: 1", "content-length: 1"), "HTTP/1.1 200 OK", "content-length twice"),
        (("transfer-encoding: chunked",) * 2, "HTTP/1.1 200 OK", "transfer-encoding twice"),
        (("transfer-encoding: gzip, chunked",), "HTTP/1.1 200 OK", "not `chunked`"),
        (("content-length: 1, 1",), "HTTP/1.1 200 OK", "not a number"),
        (("content-length: -1",), "HTTP/1.1 200 OK", "not a number"),
        (("content-length: " + "1" * 19,), "HTTP/1.1 200 OK", "not a number"),
    ],
)
def test_an_answer_whose_end_is_in_doubt_is_refused(lines: tuple[str, ...], first: str, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        parse_response_head(answer(*lines, first=first))


# --- chunks ---


def chunk_encoded(parts: list[bytes], trailers: bytes = b"", extension: bytes = b"") -> bytes:
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
    return framed + b"0" + extension + b"\r\n" + trailers + b"\r\n"


def decoded(pieces: list[bytes], *, extensions: bool = False) -> tuple[bytes, bytes, bool]:
    decoder = ChunkedDecoder(extensions=extensions)
    body, rest = b"", b""
    for piece in pieces:
        if decoder.done:
            rest += piece
            continue
        found, rest = decoder.feed(piece)
        body += b"".join(found)
    return body, rest, decoder.done


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)]


chunks = st.lists(st.binary(max_size=40), max_size=6)
places = st.lists(st.integers(0, 10_000), max_size=12)
TRAILERS: Final = (b"", b"x-a: b\r\n", b"x-a:b\r\nX-C: d\r\n")


@given(chunks, places, st.sampled_from(TRAILERS), st.binary(max_size=10))
def test_a_chunked_body_means_the_same_however_it_is_cut(
    parts: list[bytes], places: list[int], trailers: bytes, after: bytes
) -> None:
    data = chunk_encoded(parts, trailers) + after
    assert decoded(cut(data, places)) == (b"".join(parts), after, True)


@given(chunks)
def test_a_chunked_body_may_come_a_byte_at_a_time(parts: list[bytes]) -> None:
    data = chunk_encoded(parts, b"a: b\r\n")
    assert decoded([data[at : at + 1] for at in range(len(data))]) == (b"".join(parts), b"", True)


@given(chunks, places, st.sampled_from([b";a", b";a=b", b' ; a="b c"', b"  ", b";"]))
def test_extensions_are_read_over_from_providers_and_refused_from_clients(
    parts: list[bytes], places: list[int], extension: bytes
) -> None:
    data = chunk_encoded(parts, b"", extension)
    assert decoded(cut(data, places), extensions=True) == (b"".join(parts), b"", True)
    with pytest.raises(ProtocolError, match=r"without extensions|malformed"):
        decoded(cut(data, places))


@given(chunks, st.integers(0, 10_000), st.binary(min_size=1, max_size=1), places)
def test_a_chunked_body_with_a_byte_exchanged_is_judged_alike_however_it_is_cut(
    parts: list[bytes], place: int, byte: bytes, places: list[int]
) -> None:
    data = chunk_encoded(parts)
    place %= len(data)
    changed = data[:place] + byte + data[place + 1 :]

    def judged(pieces: list[bytes]) -> tuple[bytes, bytes, bool] | None:
        try:
            return decoded(pieces)
        except ProtocolError:
            return None

    assert judged([changed]) == judged(cut(changed, places))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"5\nhello\r\n", "size line is malformed"),
        (b"5;a\r\n", "size line is malformed"),
        (b"5;a", "without extensions"),
        (b"0x5\r", "without extensions"),
        (b" 5", "without extensions"),
        (b"\r\n", "size line is malformed"),
        (b"-5", "without extensions"),
        (b"f" * 16, "without extensions"),
        (b"2\r\nabc\r\n", "longer than its size line"),
        (b"2\r\nab\rx", "longer than its size line"),
        (b"0\r\nbad line\r\n\r\n", "trailer line is malformed"),
        (b"0\r\na: b\nc: d\r\n\r\n", "trailer line is malformed"),
        (b"0\r\na:" + b"b" * TRAILER_BYTES_MAX, "trailers exceed"),
    ],
)
def test_a_chunked_body_that_is_none_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        ChunkedDecoder(extensions=False).feed(data)


def test_an_extension_without_end_is_refused() -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        ChunkedDecoder(extensions=True).feed(b"5;" + b"a" * 5000)
