"""Reads a chat completion's body once: what Turnpike needs of it, and nothing that the provider could judge better.

Unknown fields are none of our business and survive; of known ones the JSON type is checked, so that nothing malformed
reaches
a provider. Raises `BadRequest`, naming the field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.errors import BadRequest

DEPTH_MAX: Final = 256
COUNTED_BYTES_MAX: Final = 16_384
CHOICES_MAX: Final = 128

_NUMBER: Final = (int, float)
_OBJECT_OR_STRING: Final = (dict, str)
# The JSON types that OpenAI's specification gives; null always means absent.
_EXPECTED: Final[Mapping[str, tuple[type | tuple[type, ...], str]]] = {
    "model": (str, "a string"),
    "messages": (list, "an array"),
    "audio": (dict, "an object"),
    "frequency_penalty": (_NUMBER, "a number"),
    "function_call": (_OBJECT_OR_STRING, "a string or an object"),
    "functions": (list, "an array"),
    "logit_bias": (dict, "an object"),
    "logprobs": (bool, "a boolean"),
    "max_completion_tokens": (int, "an integer"),
    "max_tokens": (int, "an integer"),
    "metadata": (dict, "an object"),
    "modalities": (list, "an array"),
    "n": (int, "an integer"),
    "parallel_tool_calls": (bool, "a boolean"),
    "prediction": (dict, "an object"),
    "presence_penalty": (_NUMBER, "a number"),
    "prompt_cache_key": (str, "a string"),
    "reasoning_effort": (str, "a string"),
    "response_format": (dict, "an object"),
    "safety_identifier": (str, "a string"),
    "seed": (int, "an integer"),
    "service_tier": (str, "a string"),
    "stop": ((str, list), "a string or an array"),
    "store": (bool, "a boolean"),
    "stream": (bool, "a boolean"),
    "stream_options": (dict, "an object"),
    "temperature": (_NUMBER, "a number"),
    "tool_choice": (_OBJECT_OR_STRING, "a string or an object"),
    "tools": (list, "an array"),
    "top_logprobs": (int, "an integer"),
    "top_p": (_NUMBER, "a number"),
    "user": (str, "a string"),
    "verbosity": (str, "a string"),
}
# Exact classes: JSON's true is no number, although Python's True is an int.
_TYPES: Final[Mapping[str, frozenset[type]]] = {
    name: frozenset((types if isinstance(types, tuple) else (types,)) + (type(None),))
    for name, (types, _) in _EXPECTED.items()
}


@dataclass(slots=True)
class ChatAsk:
    """One chat request as it came (`body`) and as it reads (`fields`)."""

    body: bytes
    fields: dict[str, Any]
    model: str
    stream: bool
    wants_usage: bool
    output_tokens_max: int | None
    choices: int
    images: int = 0


def parse_chat(body: bytes) -> ChatAsk:
    """Bytes to a request. Raises `BadRequest`."""
    fields = _parse_object(body)
    shallow = True
    for name, value in fields.items():
        kind = value.__class__
        types = _TYPES.get(name)
        if types is not None and kind not in types:
            raise BadRequest(f"`{name}` must be {_EXPECTED[name][1]}", param=name, code="invalid_type")
        if (kind is dict or kind is list) and name != "messages":
            shallow = False
    model = fields.get("model")
    if not model:
        raise BadRequest(
            "`model` is required: name one of GET /v1/models", param="model", code="missing_required_parameter"
        )
    plain = _check_messages(fields.get("messages"))
    if not (plain and shallow):
        _check_depth(body, fields)
    options = fields.get("stream_options")
    if options and options.get("include_usage").__class__ not in _TYPES["stream"]:
        name = "stream_options.include_usage"
        raise BadRequest(f"`{name}` must be a boolean", param=name, code="invalid_type")
    choices = fields.get("n")
    if choices is not None and not 1 <= choices <= CHOICES_MAX:
        raise BadRequest(f"`n` must be from 1 to {CHOICES_MAX}", param="n", code="invalid_value")
    limit = fields.get("max_completion_tokens")
    if limit is None:
        limit = fields.get("max_tokens")
    if limit is not None and limit < 1:
        name = "max_completion_tokens" if fields.get("max_completion_tokens") is not None else "max_tokens"
        raise BadRequest(f"`{name}` must be at least 1", param=name, code="invalid_value")
    return ChatAsk(
        body,
        fields,
        model,
        bool(fields.get("stream")),
        bool(options and options.get("include_usage")),
        limit,
        choices or 1,
        0 if plain else images_in(fields["messages"]),
    )


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(_why_unreadable(body, error), code="invalid_json") from error
    if fields.__class__ is not dict:
        raise BadRequest("the body must be a JSON object", code="invalid_json")
    return fields


def _check_depth(body: bytes, fields: dict[str, Any]) -> None:
    """A body with few brackets cannot nest deep; one that is long is walked at once rather than counted first."""
    if (len(body) > COUNTED_BYTES_MAX or body.count(b"[") + body.count(b"{") > DEPTH_MAX) and deeper_than(
        fields, DEPTH_MAX
    ):
        raise BadRequest(f"the body is nested deeper than {DEPTH_MAX}", code="invalid_json")


def _why_unreadable(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body:
        return "the body is empty: send a JSON object"
    if "depth" in error.msg or "ecursion" in error.msg:
        return f"the body is nested deeper than {DEPTH_MAX}"
    if "UTF-8" in error.msg or "utf-8" in error.msg:
        return "the body is not valid UTF-8"
    return f"the body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"


def deeper_than(document: object, depth_max: int) -> bool:
    """Whether a parsed JSON document nests deeper. Level by level, so that no recursion limit is met."""
    level = [document]
    for _ in range(depth_max):
        level = [
            child
            for parent in level
            for child in (parent.values() if parent.__class__ is dict else parent)  # type: ignore[attr-defined]
            if child.__class__ is dict or child.__class__ is list
        ]
        if not level:
            return False
    return True


def images_in(messages: list[dict[str, Any]]) -> int:
    """Pictures among the parts of checked messages."""
    return sum(
        part.__class__ is dict and part.get("type") == "image_url"
        for message in messages
        if message.get("content").__class__ is list
        for part in message["content"]
    )


def _check_messages(messages: object) -> bool:
    """Whether each message is a role and a plain text, so that none nests. Raises `BadRequest`."""
    if messages is None:
        raise BadRequest("`messages` is required", param="messages", code="missing_required_parameter")
    if not messages:
        raise BadRequest("`messages` must not be empty", param="messages", code="invalid_value")
    plain = True
    for message in messages:  # type: ignore[attr-defined]  # a list: the table has checked it
        if message.__class__ is not dict or message.get("role").__class__ is not str:
            place = next(place for place, each in enumerate(messages) if each is message)  # type: ignore[arg-type, var-annotated]
            name = f"messages[{place}]" if message.__class__ is not dict else f"messages[{place}].role"
            words = "an object" if message.__class__ is not dict else "a string"
            raise BadRequest(f"`{name}` must be {words}", param=name, code="invalid_type")
        if len(message) > 2 or message.get("content").__class__ is not str:
            plain = False
    return plain
