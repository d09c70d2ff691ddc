"""Pydantic's findings in our words: where, which key, what to do; never the value, which may be a secret."""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gateway.config.later import as_pattern, known_later
from gateway.config.problems import KeyPath, Problem, nearest
from gateway.config.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from gateway.config.document import Document

MESSAGES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "dict_type": "must be a mapping of names",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "tuple_type": "must be a list",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "decimal_type": "must be an amount in USD, such as 0.60",
    "decimal_parsing": "must be an amount in USD, such as 0.60",
    "path_type": "must be a path",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


def validate(document: Document, known_bad: frozenset[KeyPath]) -> tuple[Settings, list[Problem]]:
    """The settings, or the defaults and all that is wrong, less what `known_bad` names: that was reported before."""
    try:
        return Settings.model_validate(document.tree), []
    except ValidationError as error:
        return Settings(), _problems(document, error.errors(include_url=False, include_input=False), known_bad)


def _problems(document: Document, found: list[ErrorDetails], known_bad: frozenset[KeyPath]) -> list[Problem]:
    problems: dict[KeyPath, Problem] = {}
    for detail in found:
        path = _path(document, detail["loc"])
        if any(bad[: len(path)] == path or path[: len(bad)] == bad for bad in known_bad):
            continue
        problems.setdefault(path, document.problem(path, _message(detail, path)))
    return list(problems.values())


def _path(document: Document, loc: tuple[str | int, ...]) -> KeyPath:
    """The written key: pydantic adds marks of its own (`[key]`, a union's branch), and `api_key` becomes a list."""
    path: KeyPath = ()
    node: object = document.tree
    for part in loc:
        if part == "api_keys" and isinstance(node, dict) and part not in node:
            return (*path, "api_key")
        if isinstance(node, dict) and part in node:
            node = node[str(part)]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        elif part == loc[-1] and isinstance(node, dict) and isinstance(part, str):
            node = None
        else:
            break
        path = (*path, part)
    return path


def _message(detail: ErrorDetails, path: KeyPath) -> str:
    if detail["type"] == "extra_forbidden":
        return f"is unknown; {nearest(str(path[-1]), keys_at(path[:-1]))}"
    template = MESSAGES.get(detail["type"])
    if template is None:
        return re.sub(r"^(Input|Value) should", "must", detail["msg"])
    return template.format(**detail.get("ctx", {}))


def keys_at(path: KeyPath) -> frozenset[str]:
    """All names that may stand under this key, those of later versions included."""
    annotation: Any = Settings
    for part in path:
        annotation = _step(_bare(annotation), part)
    bare = _bare(annotation)
    known = frozenset(bare.model_fields) if _is_model(bare) else frozenset()
    return known | known_later(as_pattern(path))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _bare(annotation: Any) -> Any:
    """The type without its constraints and without its None."""
    while get_origin(annotation) in {Annotated, Union, UnionType}:
        annotation = next(inner for inner in get_args(annotation) if inner is not NoneType)
    return annotation


def _step(annotation: Any, part: str | int) -> Any:
    """The type of what stands under a key, or in a list."""
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return field and field.annotation
    inner = get_args(annotation)
    return inner[1 if get_origin(annotation) is dict else 0] if inner else None
