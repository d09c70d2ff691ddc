"""TURNPIKE_SERVER__PORT=8080: any key as an environment variable, above what the file says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.config.document import parse_value
from gateway.config.problems import ConfigError, KeyPath, Place, Problem
from gateway.config.references import UnresolvedError, names_in, variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.document import Document

PREFIX: Final = "TURNPIKE_"
# Not configuration: secrets with a name of their own (TURNPIKE_KEY is a client's), tests' switches, and what Kubernetes
# sets for a service.
_FOREIGN: Final = re.compile(
    r"TURNPIKE_(?:(?:(?:ADMIN|SECRET)_)?KEY(?:_FILE)?|TEST_.*|SERVICE_(?:HOST|PORT)(?:_.*)?|PORT(?:_[0-9]+_(?:TCP|UDP)(?:_.*)?)?)"
)


def lay_over(document: Document, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Writes each variable into the tree. A whole section is written before its parts."""
    referred = set(names_in(document.tree)) | set(names_in(list(environ.values())))
    names = {name.removesuffix("_FILE") for name in environ if name.startswith(PREFIX) and not _FOREIGN.fullmatch(name)}
    for name in sorted(names - referred, key=lambda name: (name.count("__"), name)):
        place = Place(name if name in environ else f"{name}_FILE")
        try:
            text = variable(name, environ)
            if text is None and name not in environ:
                continue
            value, places = _read(text or "", place)
            _write(document, name.removeprefix(PREFIX).split("__"), value, places)
        except UnresolvedError as error:
            yield Problem(place, (), str(error))
        except ConfigError as error:
            yield from error.problems


def _read(text: str, place: Place) -> tuple[object, dict[KeyPath, Place]]:
    """YAML where it begins like a list, a mapping or a quoted text; else the text as it stands, as a secret must.

    Numbers and booleans may stay text here: the schema reads them, digits unharmed.
    """
    if text.lstrip()[:1] in {"[", "{", '"', "'"}:
        return parse_value(text, place)
    return (None if text.strip() in {"", "null", "~"} else text), {(): place}


def _write(document: Document, segments: list[str], value: object, places: Mapping[KeyPath, Place]) -> None:
    node: object = document.tree
    path: KeyPath = ()
    own = places[()]
    for at, segment in enumerate(segments):
        key = _key(node, segment)
        if key is None:
            raise ConfigError(
                [Problem(own, path, f'holds no "{segment.lower()}"; a list\'s entries are numbered from 0')]
            )
        path = (*path, key)
        if at == len(segments) - 1:
            node[key] = value  # type: ignore[index]
            break
        if isinstance(node, dict) and node.get(key) is None:
            node[key] = {}
            document.places[path] = own
        node = node[key]  # type: ignore[index]
        if not isinstance(node, dict | list):
            raise ConfigError([Problem(own, path, "is a single value and holds no keys")])
    for old in [old for old in document.places if old[: len(path)] == path]:
        del document.places[old]
    document.places.update({(*path, *below): place for below, place in places.items()})


def _key(node: object, segment: str) -> str | int | None:
    """The key that a segment means: variables know neither lower case nor dashes, and names in the file do."""
    if isinstance(node, list):
        return int(segment) if segment.isdecimal() and len(segment) < 6 and int(segment) < len(node) else None
    if not segment or not isinstance(node, dict):
        return None
    wanted = segment.lower()
    return next((name for name in node if re.sub(r"[^a-z0-9]", "_", name.lower()) == wanted), wanted)
