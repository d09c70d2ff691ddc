"""A request as its log line and its page tell it: who asked, who answered, each attempt and why.

Structs, not dataclasses: one is made per request on the hot path, and msgspec writes it as JSON in one call.
"""

from typing import Final

import msgspec

from billing.price import Usage


class AttemptRow(msgspec.Struct, frozen=True):
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


encode_request: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(RequestRow)


def decode_request(document: str) -> RequestRow:
    return _decoder.decode(document)
