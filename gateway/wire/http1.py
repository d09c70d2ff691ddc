"""HTTP/1.1 framing without I/O: bytes in, heads and body pieces out.

Strict towards clients: whatever two parsers might read differently (RFC 9112 §11.2, request smuggling) is refused,
never repaired.
Towards providers it is as strict about framing, and tolerant only where nothing is at stake (reason phrases, chunk
extensions).
"""

import re
from dataclasses import dataclass
from typing import Any, Final

CRLF2: Final = b"\r\n\r\n"
TARGET_BYTES_MAX: Final = 8192
TRAILER_BYTES_MAX: Final = 8192
CHUNK_SIZE_DIGITS_MAX: Final = 15
LENGTH_DIGITS_MAX: Final = 18

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELDS = rb"((?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])\r\n" + _FIELDS)
_TAKEN: Final = frozenset(
    {
        b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"connection", b"retry-after",
        b"retry-after-ms",
    }
)  # fmt: skip
_TAKEN_INITIALS: Final = frozenset({b"c", b"C", b"t", b"T", b"r", b"R"})
_FRAMING: Final = (b"content-length", b"transfer-encoding")
_BODILESS: Final = (204, 304)
_ONE: Final = ord("1")
_TRAILERS = re.compile(_FIELDS)
_ABSOLUTE = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,%d}" % LENGTH_DIGITS_MAX)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,%d})\r\n" % CHUNK_SIZE_DIGITS_MAX)
_CHUNK_SIZE_EXTENDED = re.compile(
    rb"([0-9A-Fa-f]{1,%d})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n" % CHUNK_SIZE_DIGITS_MAX
)
_CHUNK_LINE_BYTES_MAX: Final = 4096


class ProtocolError(Exception):
    """The peer broke HTTP/1.1. `status` is what a server answers; the connection cannot be used afterwards."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class RequestHead:
    """A request's first part. Header names are lower case, in the order of arrival.

    `content_length` is 0 where there is no body. `facts` is free for whoever reads the head: equal heads on one
    connection
    are parsed once, so what is derived from a head can be kept with it.
    """

    method: str
    target: bytes
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    content_length: int
    chunked: bool
    keep_alive: bool
    http10: bool
    expects_continue: bool
    facts: Any = None

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header (lower-case name)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(slots=True)
class ResponseHead:
    """An answer's first part; `headers` holds those that matter to a gateway, names in lower case.

    `content_length` is None where the body is chunked or ends with the connection.
    """

    status: int
    headers: dict[bytes, bytes]
    content_length: int | None
    chunked: bool
    keep_alive: bool


def _fields(block: bytes) -> list[tuple[bytes, bytes]]:
    fields = []
    for line in block.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def _why_malformed(head: bytes) -> str:
    """Names the first thing wrong with a head that did not match."""
    lines = head.split(b"\r\n")
    if re.search(rb"(?<!\r)\n|\r(?!\n)", head):
        return "lines must end in CRLF"
    if not re.fullmatch(rb"" + _TOKEN + rb" [\x21-\x7e]+ HTTP/1\.[01]", lines[0]):
        return "the request line must read METHOD TARGET HTTP/1.1"
    for line in lines[1:-2]:
        if line[:1] in (b" ", b"\t"):
            return "header lines must not be folded"
        if not re.fullmatch(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*", line):
            return "a header line is malformed"
    return "the request head is malformed"


def parse_request_head(head: bytes) -> RequestHead:
    """Reads a whole request head, its closing empty line included. Raises `ProtocolError` with the status to answer."""
    match = _REQUEST.fullmatch(head)
    if match is None:
        raise ProtocolError(_why_malformed(head))
    method, target, minor, block = match.groups()
    if len(target) > TARGET_BYTES_MAX:
        raise ProtocolError(f"the request target exceeds {TARGET_BYTES_MAX} bytes", 414)
    headers = tuple(_fields(block))
    http10 = minor == b"0"
    lengths: list[bytes] = []
    codings: list[bytes] = []
    hosts = 0
    keep_alive = not http10
    expects = False
    for name, value in headers:
        if name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"host":
            hosts += 1
        elif name == b"connection":
            options = {option.strip() for option in value.lower().split(b",")}
            keep_alive = b"close" not in options and (not http10 or b"keep-alive" in options)
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise ProtocolError("only `expect: 100-continue` is understood", 417)
            expects = not http10
    if hosts > 1 or (hosts == 0 and not http10):
        raise ProtocolError("send exactly one host header")
    length, chunked = _request_framing(lengths, codings, http10=http10)
    path, query = _split_target(target)
    return RequestHead(
        method.decode("ascii"), target, path, query, headers, length, chunked, keep_alive, http10, expects
    )


def _request_framing(lengths: list[bytes], codings: list[bytes], *, http10: bool) -> tuple[int, bool]:
    if codings:
        if lengths:
            raise ProtocolError("content-length and transfer-encoding exclude each other")
        if http10 or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise ProtocolError("the only transfer-encoding understood is a single `chunked`, in HTTP/1.1")
        return 0, True
    if not lengths:
        return 0, False
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise ProtocolError("send one content-length, a plain decimal number")
    return int(lengths[0]), False


def _split_target(target: bytes) -> tuple[str, bytes]:
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.match(target)
        if absolute:
            target = target[absolute.end() :] or b"/"
        elif target != b"*":
            raise ProtocolError("the request target must begin with `/`")
    path, _, query = target.partition(b"?")
    return path.partition(b"#")[0].decode("ascii"), query.partition(b"#")[0]


def parse_response_head(head: bytes, *, bodiless: bool = False) -> ResponseHead:
    """Reads a whole response head. `bodiless` for answers to HEAD. Raises `ProtocolError`.

    Only the headers that mean something to a gateway are taken up: an answer has twenty, and a dictionary of them all
    costs more
    than the rest of the reading.
    """
    lines = head.split(b"\r\n")
    code = lines[0][9:12]
    if not head.startswith(b"HTTP/1.") or not code.isdigit():
        raise ProtocolError("the provider's answer is not HTTP/1.1")
    status = int(code)
    headers: dict[bytes, bytes] = {}
    for line in lines:
        if line[:1] in _TAKEN_INITIALS:  # most lines are of no interest, and this is the cheapest way to see it
            name, _, value = line.partition(b":")
            lower = name.lower()
            if lower in _TAKEN:
                if lower in headers and lower in _FRAMING:
                    raise ProtocolError(f"the provider sent {lower.decode()} twice")
                headers[lower] = value.strip(b" \t")
    keep_alive = head[7] == _ONE
    connection = headers.get(b"connection")
    if connection is not None and b"close" in connection.lower():
        keep_alive = False
    if bodiless or status in _BODILESS or status < 200:
        return ResponseHead(status, headers, 0, False, keep_alive)
    coding = headers.get(b"transfer-encoding")
    length_text = headers.get(b"content-length")
    if coding is not None:
        if coding.lower() != b"chunked":
            raise ProtocolError("the provider's transfer-encoding is not `chunked`")
        # RFC 9112 §6.3: transfer-encoding overrides; the connection is not to be trusted afterwards.
        return ResponseHead(status, headers, None, True, keep_alive and length_text is None)
    if length_text is None:
        return ResponseHead(status, headers, None, False, False)
    if not length_text.isdigit() or len(length_text) > LENGTH_DIGITS_MAX:
        raise ProtocolError("the provider's content-length is not a number")
    return ResponseHead(status, headers, int(length_text), False, keep_alive)


class ChunkedDecoder:
    """Decodes `transfer-encoding: chunked`, however the bytes are cut. Trailers are checked and dropped."""

    __slots__ = ("_crlf_left", "_in_trailers", "_line", "_pending", "_remaining", "done")

    def __init__(self, *, extensions: bool) -> None:
        """`extensions`: chunk extensions are ignored; a server must refuse them, for proxies have disagreed on them."""
        self._line = _CHUNK_SIZE_EXTENDED if extensions else _CHUNK_SIZE
        self._pending = b""
        self._remaining = 0
        self._crlf_left = False
        self._in_trailers = False
        self.done = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Takes bytes, gives (payload pieces, what follows the body's end). Raises `ProtocolError`."""
        pieces: list[bytes] = []
        if self._pending:
            data = self._pending + data
            self._pending = b""
        at, end = 0, len(data)
        while True:
            if self._in_trailers:
                return pieces, self._trailers(data, at)
            if self._remaining:
                take = end - at
                if take < self._remaining:
                    if take:
                        pieces.append(data[at:] if at else data)
                    self._remaining -= take
                    return pieces, b""
                pieces.append(data[at : at + self._remaining])
                at += self._remaining
                self._remaining = 0
                self._crlf_left = True
            if self._crlf_left:
                closing = data[at : at + 2]
                if closing != b"\r\n":
                    if not b"\r\n".startswith(closing):
                        raise ProtocolError("a chunk is longer than its size line says")
                    self._pending = closing
                    return pieces, b""
                at += 2
                self._crlf_left = False
            match = self._line.match(data, at)
            if match is None:
                self._pending = self._partial_size_line(data, at)
                return pieces, b""
            at = match.end()
            self._remaining = int(match[1], 16)
            if not self._remaining:
                self._in_trailers = True

    def _partial_size_line(self, data: bytes, at: int) -> bytes:
        """What may still become a size line; refuses at once what cannot."""
        rest = data[at:]
        if b"\n" in rest or len(rest) > _CHUNK_LINE_BYTES_MAX:
            raise ProtocolError("a chunk size line is malformed")
        if self._line is _CHUNK_SIZE and not re.fullmatch(rb"[0-9A-Fa-f]{0,%d}\r?" % CHUNK_SIZE_DIGITS_MAX, rest):
            raise ProtocolError("a chunk size must be a plain hexadecimal number, without extensions")
        return rest

    def _trailers(self, data: bytes, at: int) -> bytes:
        if data.startswith(b"\r\n", at):
            self.done = True
            return data[at + 2 :]
        end = data.find(CRLF2, at)
        if end < 0:
            if len(data) - at > TRAILER_BYTES_MAX:
                raise ProtocolError(f"trailers exceed {TRAILER_BYTES_MAX} bytes")
            self._pending = data[at:]
            return b""
        if not _TRAILERS.fullmatch(data, at, end + 4):
            raise ProtocolError("a trailer line is malformed")
        self.done = True
        return data[end + 4 :]
