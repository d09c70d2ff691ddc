"""Turns a caller's body into a provider's by changing the few bytes that must change. Pure.

A body is patched in place where that is provably right, else written anew member by member.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
import orjson

from gateway.chat_request import ChatAsk
from gateway.providers.registry import FITS, Fit

_MODEL_VALUE: Final = re.compile(rb'\s*:\s*"[^"\\]*"')
_LIMIT_FIELDS: Final = ("max_completion_tokens", "max_tokens")
_NO_LIMITS: Final[Mapping[str, int]] = MappingProxyType({})
_USAGE_WANTED: Final = b',"stream_options":{"include_usage":true}}'


def body_for(
    ask: ChatAsk,
    model_json: bytes,
    *,
    ask_usage: bool,
    fit: Fit,
    output_tokens: int | None = None,
    limit_field: str = "max_tokens",
) -> bytes:
    """The body to send: `model` replaced (`model_json` is its JSON text), a stream's usage asked for, fields fitted.

    `output_tokens` is a limit that the provider must be told, under `limit_field` where the caller set none.
    """
    ask_usage = ask_usage and ask.stream and not ask.wants_usage
    limits = _NO_LIMITS if output_tokens is None else _limits(ask, output_tokens, limit_field)
    if fit is not FITS:
        return _written_anew(ask, model_json, limits, ask_usage=ask_usage, fit=fit)
    body = patched(ask.body, model_json)
    if body is None or (ask_usage and "stream_options" in ask.fields):
        return _written_anew(ask, model_json, limits, ask_usage=ask_usage, fit=fit)
    if limits:
        if limits.keys() & ask.fields.keys():
            return _written_anew(ask, model_json, limits, ask_usage=ask_usage, fit=fit)
        body = _open_ended(body) + b',"%b":%d}' % (limit_field.encode(), output_tokens or 0)
    return _open_ended(body) + _USAGE_WANTED if ask_usage else body


def _limits(ask: ChatAsk, output_tokens: int, limit_field: str) -> dict[str, int]:
    """The members that must change so that the provider bounds its answer: none where the caller's do already."""
    if ask.output_tokens_max is None:
        return {limit_field: output_tokens}
    given = {name: ask.fields[name] for name in _LIMIT_FIELDS if ask.fields.get(name) is not None}
    return {name: output_tokens for name, value in given.items() if value > output_tokens}


def _open_ended(body: bytes) -> bytes:
    """An object without its closing brace."""
    return body[:-1] if body[-1:] == b"}" else body.rstrip()[:-1]


def patched(body: bytes, model_json: bytes) -> bytes | None:
    r"""The body with its model replaced, or None where the bytes do not prove which member is the model.

    There is a top-level member `model` (parsing found it). Without `\u00` no key is spelled in escapes, so it is
    spelled
    `"model"`; where that stands exactly once, it is this one, and no second reading by another parser is possible.
    """
    if b"\\" in body and b"\\u00" in body:
        return None
    at = body.find(b'"model"')
    if at < 0 or body.find(b'"model"', at + 7) >= 0:
        return None
    match = _MODEL_VALUE.match(body, at + 7)
    if match is None:
        return None
    return b"%b:%b%b" % (body[: at + 7], model_json, body[match.end() :])


def _written_anew(ask: ChatAsk, model_json: bytes, limits: Mapping[str, int], *, ask_usage: bool, fit: Fit) -> bytes:
    """Member by member; each value but ours keeps its bytes."""
    renamed = dict(fit.renamed)
    given = _decode_members(ask.body)
    given.update((name, msgspec.Raw(b"%d" % tokens)) for name, tokens in limits.items())
    members = {renamed.get(name, name): value for name, value in given.items() if name not in fit.dropped}
    members["model"] = msgspec.Raw(model_json)
    if ask_usage:
        options = {**(ask.fields.get("stream_options") or {}), "include_usage": True}
        members["stream_options"] = msgspec.Raw(orjson.dumps(options))
    return msgspec.json.encode(members)


_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
