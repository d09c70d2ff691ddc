"""YAML text to a plain tree that remembers its lines; numbers keep their digits, hostile text is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NoReturn

import yaml

from gateway.config.problems import ConfigError, KeyPath, Place, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEPTH_MAX: Final = 32
# Aliases multiply: nine lines of them can stand for a billion nodes.
NODES_MAX: Final = 100_000
TEXT_BYTES_MAX: Final = 1024 * 1024
NUMBER_DIGITS_MAX: Final = 40

_TAG: Final = "tag:yaml.org,2002:"
_CONTAINERS: Final = {_TAG + "map", _TAG + "seq"}


class ConfigLoader(yaml.SafeLoader):
    """YAML 1.2's idea of plain scalars (`no`, `on` and `12:30` are text), and a bound on depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise yaml.MarkedYAMLError(problem=f"is nested deeper than {DEPTH_MAX}", problem_mark=self.get_mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


# Assigned, not added to: the parent's resolvers are YAML 1.1's.
ConfigLoader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
):
    ConfigLoader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _first)


@dataclass(slots=True)
class Document:
    """A tree of dicts, lists, text, ints, bools, Decimals and None, and where each of its values was written."""

    tree: dict[str, object] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place | None:
        """The place of the key, or of the nearest thing around it that was written down."""
        return next((self.places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.places), None)

    def problem(self, path: KeyPath, message: str) -> Problem:
        return Problem(self.place(path), path, message)


def parse(text: str, source: str, folder: Path | None = None) -> Document:
    """The document that a file holds. An empty file is an empty document."""
    value, places = parse_value(text, Place(source, 1, folder))
    if value is None:
        return Document({}, places)
    if not isinstance(value, dict):
        raise ConfigError(
            [Problem(Place(source, 1), (), "the file must hold keys and values, such as `server: {port: 8787}`")]
        )
    return Document(value, places)


def parse_value(text: str, place: Place) -> tuple[object, dict[KeyPath, Place]]:
    """One YAML value and the places of everything in it. Raises ConfigError and nothing else."""
    if len(text) > TEXT_BYTES_MAX:
        raise ConfigError(
            [Problem(place, (), f"is longer than {TEXT_BYTES_MAX} characters; a configuration is a short file")]
        )
    try:
        loader = ConfigLoader(text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        raise ConfigError([Problem(_at(place, getattr(error, "problem_mark", None)), (), _words(error))]) from None
    except (ValueError, OverflowError):
        # PyYAML turns `"\UFFFFFFFF"` and a version of a million digits over to chr() and int().
        raise ConfigError(
            [Problem(place, (), "is not valid YAML: an escape or a number in it stands for nothing")]
        ) from None
    if node is None:
        return None, {(): place}
    walk = _Walk(place)
    return walk.value(node, ()), walk.places


@dataclass(slots=True)
class _Walk:
    """Turns nodes into values. The depth bounds it, so an alias to its own parent ends as a refusal."""

    start: Place
    places: dict[KeyPath, Place] = field(default_factory=dict)
    nodes: int = 0

    def count(self, node: yaml.Node, path: KeyPath) -> None:
        self.nodes += 1
        if self.nodes > NODES_MAX or len(path) > DEPTH_MAX:
            self.refuse(node, path[:2], "repeats itself too often through aliases; write it out")

    def value(self, node: yaml.Node, path: KeyPath, key_node: yaml.Node | None = None) -> object:
        self.count(node, path)
        # A key's own line: the value of a block stands a line below it.
        self.places[path] = _at(self.start, (key_node or node).start_mark)
        if isinstance(node, yaml.MappingNode) and node.tag in _CONTAINERS:
            return {key: self.value(child, (*path, key), at) for key, at, child in self.items(node, path)}
        if isinstance(node, yaml.SequenceNode) and node.tag in _CONTAINERS:
            return [self.value(child, (*path, at)) for at, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag.startswith(_TAG):
            return self.scalar(node, path)
        return self.refuse(node, path, "carries a YAML tag that has no meaning here; remove it")

    def items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """The mapping's own entries, then what `<<` brings in and the mapping does not have."""
        seen: set[str] = set()
        merged: list[yaml.Node] = []
        for key_node, child in node.value:
            if key_node.tag == _TAG + "merge":
                merged += child.value if isinstance(child, yaml.SequenceNode) else [child]
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.refuse(key_node, path, "has a key that is not a word")
            key = self.text(key_node, path)
            if key in seen:
                self.refuse(key_node, (*path, key), "is written twice; keep one of them")
            seen.add(key)
            yield key, key_node, child
        for source in merged:
            self.count(source, path)
            if not isinstance(source, yaml.MappingNode):
                self.refuse(node, path, "merges (`<<`) something that is not a mapping")
            for key, key_node, child in self.items(source, (*path, "<<")):
                if key not in seen:
                    seen.add(key)
                    yield key, key_node, child

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        text = self.text(node, path)
        match node.tag.removeprefix(_TAG):
            case "str" | "merge":
                return text
            case "null":
                return None
            case "bool" if text.lower() in {"true", "false"}:
                return text.lower() == "true"
            case "int" | "float":
                return self.number(node, path, text)
        return self.refuse(node, path, "carries a YAML tag that does not fit it; remove the tag")

    def number(self, node: yaml.ScalarNode, path: KeyPath, text: str) -> int | Decimal:
        """An int or, from its own digits, a Decimal: a price never passes through a binary float."""
        digits = text.replace("_", "")
        try:
            if len(digits) > NUMBER_DIGITS_MAX:
                raise ValueError(text)  # noqa: TRY301
            if digits[:2] in {"0x", "0o"}:
                return int(digits, 0)
            if digits.lstrip("+-").isdecimal():
                return int(digits)
            number = Decimal(digits)
            if not number.is_finite() or abs(number.adjusted()) > NUMBER_DIGITS_MAX:
                raise ValueError(text)  # noqa: TRY301
        except (ValueError, ArithmeticError):
            self.refuse(node, path, f"is not a number of at most {NUMBER_DIGITS_MAX} digits; put text in quotes")
        return number

    def text(self, node: yaml.ScalarNode, path: KeyPath) -> str:
        text: str = node.value
        if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            self.refuse(node, path, "holds a character that no file, URL or header may hold")
        return text

    def refuse(self, node: yaml.Node, path: KeyPath, message: str) -> NoReturn:
        raise ConfigError([Problem(_at(self.start, node.start_mark), path, message)])


def _at(start: Place, mark: yaml.Mark | None) -> Place:
    """A variable has no lines; a file has."""
    return start if start.line is None or mark is None else Place(start.source, mark.line + 1, start.folder)


def _words(error: yaml.YAMLError) -> str:
    """The parser's reason without what it quotes: the quoted text may be part of a secret."""
    problem = getattr(error, "problem", None) or "a character in it is not allowed"
    unquoted = re.sub(r"'[^']{2,}'", "a name", str(problem))
    return f"is not valid YAML: {unquoted}"
