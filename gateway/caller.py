"""What a request's head says about its caller: whose key, which wishes, which headers may go on. Pure.

Read once for each distinct head of a connection and kept with it, so that a kept-alive client pays for it once.
"""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from billing.keys import digest
from billing.money import parse_usd
from gateway.errors import BadRequest
from gateway.wire.http1 import RequestHead

TAGS_MAX: Final = 32
TAG_BYTES_MAX: Final = 256
END_USER_BYTES_MAX: Final = 256
TIMEOUT_S_MAX: Final = 86400.0

# CONTRACT §4: these of a client's headers go upstream, and those that a provider's `forward_headers` names; no others.
FORWARDED: Final = frozenset({b"openai-beta", b"anthropic-beta", b"anthropic-version"})
CACHE_DIRECTIVES: Final = ("on", "off", "refresh", "only")
# Never forwarded, whatever a configuration says: they belong to one hop, or name us or the caller's secrets.
NOT_FORWARDABLE: Final = frozenset(
    {
        b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"content-length", b"host",
        b"expect", b"authorization", b"cookie", b"api-key", b"x-api-key", b"x-goog-api-key", b"proxy-connection",
        b"proxy-authorization", b"proxy-authenticate", b"accept-encoding", b"content-encoding", b"content-type",
    }
)  # fmt: skip


class Facts(NamedTuple):
    """What the head says, read."""

    key_digest: bytes | None
    cache: str | None
    timeout_s: float | None
    tags: tuple[str, ...]
    end_user: str | None
    forwarded: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    traceparent: bytes | None
    max_cost_nano_usd: int | None = None


def facts_of(head: RequestHead) -> Facts:
    """Reads the head, or gives what an equal head read before. Raises `BadRequest` on a malformed `x-turnpike-*`."""
    if head.facts is None:
        head.facts = _read(head)
    facts: Facts = head.facts
    return facts


def _read(head: RequestHead) -> Facts:
    headers: dict[bytes, bytes] = {}
    for name, value in head.headers:
        headers.setdefault(name, value)
    token = _token(headers)
    coding = headers.get(b"content-encoding", b"identity").lower()
    if coding != b"identity":
        raise BadRequest(
            "send the body without content-encoding", param="content-encoding", code="unsupported_encoding"
        )
    return Facts(
        key_digest=digest(token) if token else None,
        cache=_directive(headers.get(b"x-turnpike-cache")),
        timeout_s=_timeout(headers.get(b"x-turnpike-timeout")),
        tags=_tags(headers.get(b"x-turnpike-tags"), headers.get(b"x-litellm-tags")),
        end_user=_end_user(headers.get(b"x-turnpike-user")),
        forwarded=b"".join(b"%b: %b\r\n" % (name, headers[name]) for name in sorted(FORWARDED.intersection(headers))),
        headers=head.headers,
        traceparent=headers.get(b"traceparent"),
        max_cost_nano_usd=_max_cost(headers.get(b"x-turnpike-max-cost")),
    )


def _token(headers: dict[bytes, bytes]) -> bytes | None:
    own = headers.get(b"x-turnpike-key")
    if own:
        return own
    scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and bearer.strip():
        return bearer.strip()
    return headers.get(b"x-api-key") or headers.get(b"api-key") or headers.get(b"x-goog-api-key") or None


def _directive(value: bytes | None) -> str | None:
    if value is None:
        return None
    text = value.decode("latin-1").lower()
    if text not in CACHE_DIRECTIVES:
        raise BadRequest(
            "x-turnpike-cache must be on, off, refresh or only", param="x-turnpike-cache", code="invalid_value"
        )
    return text


def _timeout(value: bytes | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= TIMEOUT_S_MAX:
        raise BadRequest(
            f"x-turnpike-timeout must be a number of seconds, above 0 and at most {TIMEOUT_S_MAX:g}",
            param="x-turnpike-timeout",
            code="invalid_value",
        )
    return seconds


def _max_cost(value: bytes | None) -> int | None:
    if value is None:
        return None
    try:
        cost = parse_usd(value.decode("latin-1"))
    except ValueError:
        cost = 0
    if cost <= 0:
        raise BadRequest(
            "x-turnpike-max-cost must be an amount of USD above 0, such as 0.05, with at most nine decimals",
            param="x-turnpike-max-cost",
            code="invalid_value",
        )
    return cost


def _end_user(value: bytes | None) -> str | None:
    return text_of(value, "x-turnpike-user", END_USER_BYTES_MAX) if value else None


def text_of(value: bytes, name: str, bytes_max: int) -> str:
    """A header's value as text. Raises `BadRequest`."""
    if len(value) > bytes_max:
        raise BadRequest(f"{name} exceeds {bytes_max} bytes", param=name, code="invalid_value")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"{name} is not valid UTF-8", param=name, code="invalid_value") from error


def _tags(own: bytes | None, litellm: bytes | None) -> tuple[str, ...]:
    tags: list[str] = []
    for name, value in (("x-turnpike-tags", own), ("x-litellm-tags", litellm)):
        if value:
            tags += text_of(value, name, TAGS_MAX * TAG_BYTES_MAX).split(",")
    return clean_tags(tags, "x-turnpike-tags") if tags else ()


def clean_tags(tags: Iterable[object], param: str) -> tuple[str, ...]:
    """Tags in one order, each once. Raises `BadRequest` on too many or too long ones."""
    kept: set[str] = set()
    for tag in tags:
        if not isinstance(tag, str):
            raise BadRequest(f"each of {param} must be a string NAME=VALUE", param=param, code="invalid_type")
        text = tag.strip()
        if not text:
            continue
        if len(text) > TAG_BYTES_MAX or not text.isprintable():
            raise BadRequest(
                f"a tag must be printable and at most {TAG_BYTES_MAX} long", param=param, code="invalid_value"
            )
        kept.add(text)
    if len(kept) > TAGS_MAX:
        raise BadRequest(f"at most {TAGS_MAX} tags a request", param=param, code="invalid_value")
    return tuple(sorted(kept))
