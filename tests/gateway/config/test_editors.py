"""The schema for editors says what every key is for, and agrees with what is read."""

from collections.abc import Iterator
from typing import Any

from gateway.config.editors import json_schema


def objects(node: object, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, list):
        for item in node:
            yield from objects(item, name)
    if isinstance(node, dict):
        if "properties" in node:
            yield name, node
        for key, value in node.items():
            yield from objects(value, key)


def test_every_key_has_a_description_and_no_object_takes_unknown_keys() -> None:
    found = dict(objects(json_schema()))
    assert {"ServerSection", "ProviderRow", "PriceRow", ""} <= set(found)
    for name, node in found.items():
        assert node["additionalProperties"] is False, name
        for key, item in node["properties"].items():
            assert item.get("description"), f"{name}.{key}"


def test_bounds_references_and_nothing_are_in_it() -> None:
    port = json_schema()["$defs"]["ServerSection"]["properties"]["port"]
    assert {"minimum": 0, "maximum": 65535, "type": "integer"} in port["anyOf"]
    assert {"type": "null"} in port["anyOf"]
    assert any(choice.get("pattern", "").startswith("^(env:") for choice in port["anyOf"])


def test_it_holds_no_secret_and_no_path_of_this_machine() -> None:
    text = str(json_schema())
    assert "~/.local/share/turnpike" in text
    assert "/root" not in text
    assert "/home/" not in text
