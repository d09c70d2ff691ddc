"""Checks of single values. Pure; a refusal says what would be accepted and never repeats what may be a secret."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Headers that frame a message or belong to one connection: whoever sets them can smuggle a request.
FRAMING_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# A client's credential is for Turnpike; a provider has no business with it.
CLIENT_CREDENTIALS: Final = frozenset({"authorization", "api-key", "cookie", "x-api-key", "x-goog-api-key"})


def no_bool(value: object) -> object:
    """`port: true` is a slip, though Python would read it as 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports a ValueError at the key, a TypeError crashes
    return value


def printable(value: object) -> object:
    """Text that may stand in a header or a URL. Spaces inside are fine, at the ends they are a copying slip."""
    if isinstance(value, str) and (value != value.strip() or any(char < " " or char == "\x7f" for char in value)):
        raise ValueError("holds a line break, a control character or a space at an end; remove it")
    return value


def secret(value: object) -> object:
    """A credential as a header can carry it."""
    if isinstance(value, str) and not value.isascii():
        raise ValueError("holds a character that no header can carry; copy the credential again")
    return printable(not_empty(value))


def not_empty(value: object) -> object:
    if value == "":
        raise ValueError("must not be empty")
    return value


def base_url(value: object) -> object:
    """An http(s) address without its last slash. A credential has a key of its own, which messages leave out."""
    if not isinstance(value, str):
        return value
    printable(value)
    try:
        url = urlsplit(value)
        _ = url.port
    except ValueError:
        raise ValueError("is not a URL; write it like https://host:port/v1") from None
    if url.scheme not in {"http", "https"} or not url.hostname or " " in value:
        raise ValueError("must be an http:// or https:// address, like https://host:port/v1")
    if url.username is not None or url.password is not None:
        raise ValueError("must not carry a user or a password; use api_key or headers")
    if url.query or url.fragment or value.endswith(("?", "#")):
        raise ValueError("must end with the path, without ? or #")
    return value.rstrip("/")


def webhook_url(value: object) -> object:
    """An http(s) address, with a query where the receiver needs one."""
    if not isinstance(value, str):
        return value
    base_url(value.partition("?")[0])
    return printable(value)


def database(value: object) -> object:
    """`sqlite`, the address of a SQLite file, or that of a PostgreSQL database as people have it."""
    if not isinstance(value, str) or value == "sqlite":
        return value
    scheme, separator, rest = value.partition("://")
    if separator and scheme.partition("+")[0] in {"postgres", "postgresql"}:
        return value
    if separator and scheme != "sqlite":
        raise ValueError("is not supported, except as sqlite, sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")
    if not separator or not rest.startswith("/") or not rest.strip("/") or rest.startswith("/:memory:"):
        raise ValueError("must be sqlite, sqlite:///PATH with the path of a file, or postgresql://…")
    return value


def header(name: object) -> str:
    """A header's name in lower case."""
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise ValueError("has a header name with a character that no header may have")
    if name.lower() in FRAMING_HEADERS:
        raise ValueError(f"names the header {name.lower()}, which Turnpike sets itself; remove it")
    return name.lower()


def client_header_name(value: object) -> object:
    """A header that a client may send through: not a framing one, not its credential, not one of Turnpike's own."""
    if not isinstance(value, str):
        return value
    name = header(value)
    if name in CLIENT_CREDENTIALS or name.startswith("x-turnpike-"):
        raise ValueError(f"names the header {name}, which is meant for Turnpike and never forwarded; remove it")
    return name


def exact_pico(value: object) -> object:
    """USD per million tokens, in whole pico-USD per token: at most six decimals."""
    return _exact(value, 6)


def exact_nano(value: object) -> object:
    """USD in whole nano-USD: at most nine decimals."""
    return _exact(value, 9)


def _exact(value: object, decimals_max: int) -> object:
    """An amount with no digit that the books could not keep. A Decimal comes from the text, unrounded."""
    if isinstance(value, bool | float):
        raise ValueError("must be an amount in USD, such as 0.60")  # noqa: TRY004
    if isinstance(value, str):
        if not re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE]-?[0-9]{1,2})?", value):
            raise ValueError("must be an amount in USD, such as 0.60")
        value = Decimal(value)
    if isinstance(value, Decimal):
        exponent = value.normalize().as_tuple().exponent
        if isinstance(exponent, int) and exponent < -decimals_max:
            raise ValueError(f"has more than {decimals_max} decimals, which cannot be billed exactly; round it")
    return value


def args_as_words(value: object) -> object:
    """What a command line can hold: numbers with their own digits, mappings as JSON, nothing for null."""
    if not isinstance(value, dict):
        return value
    return {name: _word(item) for name, item in value.items() if item is not None}


def _word(item: object) -> object:
    match item:
        case Decimal():
            return str(item)
        case dict():
            return json.dumps(item, separators=(",", ":"), default=float)
        case list():
            return tuple(
                json.dumps(part, default=float) if isinstance(part, dict | list) else str(part) for part in item
            )
    return item
