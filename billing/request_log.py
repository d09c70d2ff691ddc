"""A request as its log line and its page tell it: who asked, who answered, each attempt and why.

Structs, not dataclasses: one is made per request on the hot path, and msgspec writes it as JSON in one call.
"""

from typing import Final

import msgspec

from billing.price import Usage


class AttemptRow(msgspec.Struct, frozen=True, array_like=True):
    """In a line, the list of its values: the names would be half of the line and say nothing new."""

    attempt: int
    provider: str
    model: str
    why: str
    status: int | None
    outcome: str
    error: str | None
    started_at_us: int
    duration_us: int
    usage: Usage
    cost_nano_usd: int


class RequestRow(msgspec.Struct, frozen=True, tag_field="event", tag="request"):
    request_id: str
    at_us: int
    key_id: str
    team_id: str | None
    user_id: str | None
    model_asked: str
    model: str | None
    provider: str | None
    route: str
    why: str
    cache: str
    stream: bool
    status: int
    error_code: str | None
    duration_us: int
    first_content_us: int | None
    cost_nano_usd: int
    attempts: tuple[AttemptRow, ...]
    tags: tuple[str, ...] = ()
    end_user: str | None = None


as_line: Final = msgspec.json.Encoder().encode
_pack: Final = msgspec.msgpack.Encoder().encode
_values: Final = msgspec.structs.astuple
_Maybe = str | None
_unpack: Final = msgspec.msgpack.Decoder(
    tuple[
        str,
        int,
        str,
        _Maybe,
        _Maybe,
        str,
        _Maybe,
        _Maybe,
        str,
        str,
        str,
        bool,
        int,
        _Maybe,
        int,
        int | None,
        int,
        tuple[AttemptRow, ...],
        tuple[str, ...],
        _Maybe,
    ]
).decode


def pack_request(row: RequestRow) -> bytes:
    """A row without its names, a third of its line: what the database is given costs by the byte."""
    return _pack(_values(row))


def unpack_request(document: bytes) -> RequestRow:
    return RequestRow(*_unpack(document))
