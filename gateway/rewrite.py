"""Turns a caller's body into a provider's by changing the few bytes that must change. Pure.

A body is patched in place where that is provably right, else written anew member by member.
"""

import re
from typing import Final

import msgspec
import orjson

from gateway.chat_request import ChatAsk
from gateway.providers.registry import FITS, Fit

_MODEL_VALUE: Final = re.compile(rb'\s*:\s*"[^"\\]*"')
_USAGE_WANTED: Final = b',"stream_options":{"include_usage":true}}'


def body_for(ask: ChatAsk, model_json: bytes, *, ask_usage: bool, fit: Fit) -> bytes:
    """The body to send: `model` replaced (`model_json` is its JSON text), a stream's usage asked for, fields fitted."""
    ask_usage = ask_usage and ask.stream and not ask.wants_usage
    if fit is not FITS:
        return _written_anew(ask, model_json, ask_usage=ask_usage, fit=fit)
    body = patched(ask.body, model_json)
    if body is None or (ask_usage and "stream_options" in ask.fields):
        return _written_anew(ask, model_json, ask_usage=ask_usage, fit=fit)
    return body.rstrip()[:-1] + _USAGE_WANTED if ask_usage else body


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


def _written_anew(ask: ChatAsk, model_json: bytes, *, ask_usage: bool, fit: Fit) -> bytes:
    """Member by member; each value but ours keeps its bytes."""
    renamed = dict(fit.renamed)
    members = {
        renamed.get(name, name): value for name, value in _decode_members(ask.body).items() if name not in fit.dropped
    }
    members["model"] = msgspec.Raw(model_json)
    if ask_usage:
        options = {**(ask.fields.get("stream_options") or {}), "include_usage": True}
        members["stream_options"] = msgspec.Raw(orjson.dumps(options))
    return msgspec.json.encode(members)


_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
