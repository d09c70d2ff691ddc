"""The JSON Schema that lets an editor complete and check `turnpike.yaml`, made from the very models that read it."""

from __future__ import annotations

from typing import Any, Final

from gateway.config.schema import Settings

BOUNDS: Final = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
# Any value may be taken from elsewhere, numbers and booleans too; text may be anyway.
REFERENCE: Final = {"type": "string", "pattern": r"^(env:|file:|os\.environ/)"}


def json_schema() -> dict[str, Any]:
    """The schema, in draft 2020-12."""
    schema: dict[str, Any] = _fit(Settings.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "turnpike.yaml"}


def _fit(node: Any) -> Any:
    """The schema with the bounds that pydantic hides behind our own checks, and with what may stand for a value."""
    if isinstance(node, list):
        return [_fit(item) for item in node]
    if not isinstance(node, dict):
        return node
    fitted = {BOUNDS.get(key, key): _fit(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict):
        fitted["properties"] = {name: _value(_fit(item)) for name, item in node["properties"].items()}
    return fitted


def _value(item: dict[str, Any]) -> dict[str, Any]:
    """One key: what its type allows, nothing at all (its default), or a reference."""
    if "$ref" in item:
        return {"description": item.get("description", ""), "anyOf": [{"$ref": item["$ref"]}, {"type": "null"}]}
    outside = {key: value for key, value in item.items() if key in {"description", "default", "title"}}
    inside = {key: value for key, value in item.items() if key not in outside}
    choices = [choice for choice in inside.pop("anyOf", [inside]) if choice != {"type": "null"}]
    return outside | {"anyOf": [*choices, {"type": "null"}, REFERENCE]}
