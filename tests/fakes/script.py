"""What a fake provider does with one request: bytes, waits and breakages in order, by pure functions of it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from tests.fakes.bill import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOREVER_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Received:
    """A request exactly as it came."""

    connection: int
    nth_on_connection: int
    at_s: float
    head: bytes
    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name.encode()), None)

    @property
    def header_names(self) -> frozenset[str]:
        return frozenset(key.decode("latin-1").lower() for key, _ in self.headers)

    def document(self) -> dict[str, object]:
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document

    @property
    def model(self) -> str:
        try:
            return str(self.document().get("model"))
        except (ValueError, AssertionError):
            return ""

    @property
    def streams(self) -> bool:
        return self.document().get("stream") is True

    @property
    def wants_usage(self) -> bool:
        options = self.document().get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing happens; `FOREVER_S` is a stall that only the client's leaving ends."""

    s: float


@dataclass(frozen=True, slots=True)
class Charged:
    """From here on the provider bills these tokens for this attempt."""

    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Close:
    """The connection ends in order (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection breaks (RST)."""


Step = Send | Pause | Charged | Close | Reset
Behaviour = Callable[[Received], "tuple[Step, ...]"]


@dataclass(frozen=True, slots=True)
class Wire:
    """How an answer's bytes are framed and cut."""

    framing: Literal["length", "chunked", "close"] = "length"
    encoding: Literal["identity", "gzip", "deflate"] = "identity"
    # Each piece of so many bytes leaves alone, with a breath between them.
    piece_bytes: int | None = None
    chunk_extension: bytes = b""
    status: int = 200
    reason: str = "OK"
    headers: tuple[tuple[str, str], ...] = ()


PLAIN: Final = Wire()
STREAMED: Final = Wire(framing="chunked")


@dataclass(frozen=True, slots=True)
class Says:
    """A completion. The extras are fields that no gateway can know."""

    pieces: tuple[str, ...] = ("Hello", ", ", "world")
    tokens: Tokens = field(default_factory=lambda: Tokens(input=11, output=7, cached=3))
    finish: str = "stop"
    # Whole `tool_calls` objects; a stream cuts their arguments in two.
    tool_calls: tuple[Mapping[str, object], ...] = ()
    logprobs: Mapping[str, object] | None = None
    message_extra: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    system_fingerprint: str = "fp_fake"
    created: int = 1_760_000_000
    id: str = "chatcmpl-fake"


def compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def completion(says: Says, model: str) -> bytes:
    """The body of an answer that is not streamed."""
    message: dict[str, object] = {"role": "assistant", "content": "".join(says.pieces) or None, **says.message_extra}
    if says.tool_calls:
        message["tool_calls"] = list(says.tool_calls)
    choice = {"index": 0, "message": message, "logprobs": says.logprobs, "finish_reason": says.finish}
    return compact(
        {
            "id": says.id,
            "object": "chat.completion",
            "created": says.created,
            "model": model,
            "choices": [choice],
            "usage": says.tokens.document(),
            "system_fingerprint": says.system_fingerprint,
            **says.extra,
        }
    )


def events(says: Says, model: str, *, include_usage: bool) -> tuple[bytes, ...]:
    """The events of a stream, `[DONE]` and, as OpenAI does it, the usage chunk and `usage: null` beside it included."""

    def chunk(choices: list[object], usage: Mapping[str, object] | None = None) -> bytes:
        document: dict[str, object] = {
            "id": says.id,
            "object": "chat.completion.chunk",
            "created": says.created,
            "model": model,
            "system_fingerprint": says.system_fingerprint,
            "choices": choices,
            **says.extra,
        }
        if include_usage:
            document["usage"] = usage
        return event(compact(document))

    def delta(delta: Mapping[str, object], finish: str | None = None) -> bytes:
        choice: dict[str, object] = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        if says.logprobs and "content" in delta and "role" not in delta:
            choice["logprobs"] = says.logprobs
        return chunk([choice])

    out = [delta({"role": "assistant", "content": ""})]
    out += [delta({name: value}) for name, value in says.message_extra.items()]
    out += [delta({"content": piece}) for piece in says.pieces]
    for index, call in enumerate(says.tool_calls):
        out += [delta({"tool_calls": [part]}) for part in _call_parts(index, call)]
    out.append(delta({}, says.finish))
    if include_usage:
        out.append(chunk([], says.tokens.document()))
    return (*out, DONE)


def _call_parts(index: int, call: Mapping[str, object]) -> tuple[Mapping[str, object], ...]:
    function = call["function"]
    assert isinstance(function, dict)
    arguments = str(function["arguments"])
    half = len(arguments) // 2
    first = {**call, "index": index, "function": {"name": function["name"], "arguments": arguments[:half]}}
    return first, {"index": index, "function": {"arguments": arguments[half:]}}


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


DONE: Final = event(b"[DONE]")


def reply(says: Says | None = None, wire: Wire = PLAIN, *, gap_s: float = 0.0) -> Behaviour:
    """Answers, streamed or not, as the request asks."""
    said = says or Says()

    def behaviour(request: Received) -> tuple[Step, ...]:
        if request.streams:
            body = events(said, request.model, include_usage=request.wants_usage)
            framed = wire if wire.framing == "close" else replace(wire, framing="chunked")
            # Billed before its last byte is sent, so that whoever has read it all may read the bill, too.
            return (Charged(said.tokens), *response(body, framed, "text/event-stream", gap_s=gap_s))
        pauses = (Pause(gap_s),) if gap_s else ()
        return (*pauses, Charged(said.tokens), *response((completion(said, request.model),), wire, "application/json"))

    return behaviour


def broken_stream(
    says: Says, *end: Step, after: int, gap_s: float = 0.0, billed: Tokens | None = None, wire: Wire = STREAMED
) -> Behaviour:
    """A stream that ends in `end` after so many events (the first is the role alone), without its framing's end."""

    def behaviour(request: Received) -> tuple[Step, ...]:
        body = events(says, request.model, include_usage=request.wants_usage)[:after]
        charge = (Charged(billed),) if billed else ()
        head = response(body, wire, "text/event-stream", gap_s=gap_s, whole=False)
        return (*head, *charge, *end)

    return behaviour


def raw(*steps: Step) -> Behaviour:
    return lambda _: steps


def document(body: bytes, content_type: str = "application/json", wire: Wire = PLAIN) -> Behaviour:
    """This body, whatever was asked."""
    return lambda _: response((body,), wire, content_type)


def refusal(
    status: int,
    message: str = "the fake refuses",
    *,
    code: str | None = None,
    param: str | None = None,
    kind: str = "invalid_request_error",
    headers: Mapping[str, str] | None = None,
) -> Behaviour:
    """An error in OpenAI's shape."""
    body = compact({"error": {"message": message, "type": kind, "param": param, "code": code}})
    wire = Wire(status=status, reason="Refused", headers=tuple((headers or {}).items()))
    return document(body, wire=wire)


def hang_up() -> Behaviour:
    """The request is read, and the connection closes without one byte."""
    return raw(Close())


def stall() -> Behaviour:
    """No byte ever comes."""
    return raw(Pause(FOREVER_S))


def truncated(says: Says, *, missing_bytes: int = 10) -> Behaviour:
    """The length promised is not kept."""

    def behaviour(request: Received) -> tuple[Step, ...]:
        body = completion(says, request.model)
        head = _head(PLAIN, "application/json", len(body))
        return Send(head + body[:-missing_bytes]), Close()

    return behaviour


def response(
    parts: Iterable[bytes], wire: Wire, content_type: str, *, gap_s: float = 0.0, whole: bool = True
) -> tuple[Step, ...]:
    """The parts as one answer. With `whole` false its end is left to the caller."""
    encoded = _encoded(tuple(parts), wire.encoding, whole=whole)
    length = sum(map(len, encoded)) if wire.framing == "length" else None
    framed = [_framed(part, wire) for part in encoded if part]
    if whole and wire.framing == "chunked":
        framed.append(b"0\r\n\r\n")
    steps: list[Step] = [Send(_head(wire, content_type, length))]
    for at, part in enumerate(framed):
        if at and gap_s:
            steps.append(Pause(gap_s))
        steps += _cut(part, wire.piece_bytes)
    if whole and wire.framing == "close":
        steps.append(Close())
    return tuple(steps)


def _head(wire: Wire, content_type: str, length: int | None) -> bytes:
    lines = [f"HTTP/1.1 {wire.status} {wire.reason}", f"content-type: {content_type}"]
    if wire.encoding != "identity":
        lines.append(f"content-encoding: {wire.encoding}")
    if length is not None:
        lines.append(f"content-length: {length}")
    if wire.framing == "chunked":
        lines.append("transfer-encoding: chunked")
    if wire.framing == "close":
        lines.append("connection: close")
    lines += [f"{name}: {value}" for name, value in wire.headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def _encoded(parts: tuple[bytes, ...], encoding: str, *, whole: bool) -> tuple[bytes, ...]:
    if encoding == "identity":
        return parts
    if encoding == "gzip" and len(parts) == 1 and whole:
        return (gzip.compress(parts[0], mtime=0),)
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    # Flushed after every part, as a server that compresses a stream must.
    packed = [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts]
    return (*packed, packer.flush()) if whole else tuple(packed)


def _framed(part: bytes, wire: Wire) -> bytes:
    if wire.framing != "chunked":
        return part
    return b"%x%s\r\n%s\r\n" % (len(part), wire.chunk_extension, part)


def _cut(data: bytes, piece_bytes: int | None) -> list[Step]:
    if piece_bytes is None:
        return [Send(data)]
    steps: list[Step] = []
    for at in range(0, len(data), piece_bytes):
        # Now and then long enough for the other side to act on what it has.
        steps += [Send(data[at : at + piece_bytes]), Pause(0.001 if at // piece_bytes % 32 == 0 else 0)]
    return steps
