"""`env:NAME`, `os.environ/NAME`, `file:PATH` and NAME_FILE: values that stand elsewhere. A missing one is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.document import Document
    from gateway.config.problems import KeyPath, Problem

SECRET_FILE_BYTES_MAX: Final = 65_536
_REFERENCE: Final = re.compile(r"(?:env:|os\.environ/)(?P<name>.*)|file:(?P<path>.*)", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ADMIN_KEY_VARIABLE: Final = "TURNPIKE_ADMIN_KEY"


class UnresolvedError(Exception):
    """A value that is not to be had; the text says why and what to do."""


def variable(name: str, environ: Mapping[str, str]) -> str | None:
    """NAME, or what the file named by NAME_FILE holds; None where neither is set. An empty variable counts as unset."""
    value, path = environ.get(name) or None, environ.get(f"{name}_FILE") or None
    if value is not None and path is not None:
        raise UnresolvedError(f"both {name} and {name}_FILE are set; unset one of them")
    return value if path is None else secret_file(Path(path), f"{name}_FILE")


def secret_file(path: Path, named_by: str) -> str:
    """A small text file without the line break that editors leave at its end."""
    try:
        with path.open("rb") as file:
            raw = file.read(SECRET_FILE_BYTES_MAX + 1)
        text = raw.decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror or "unreadable" if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UnresolvedError(f"{named_by} names the file {path}, which cannot be read: {reason}") from None
    if len(raw) > SECRET_FILE_BYTES_MAX:
        raise UnresolvedError(f"{named_by} names the file {path}, which is longer than {SECRET_FILE_BYTES_MAX} bytes")
    return text


def names_in(value: object) -> Iterator[str]:
    """Every variable that a value refers to."""
    match value:
        case dict():
            for item in value.values():
                yield from names_in(item)
        case list():
            for item in value:
                yield from names_in(item)
        case str():
            found = _REFERENCE.fullmatch(value)
            if found and found["name"] is not None:
                yield found["name"]


def fill_admin_key(document: Document, environ: Mapping[str, str]) -> Iterator[Problem]:
    """The admin key comes from its variable also when nobody says so, and its absence is no error: one is generated."""
    auth = document.tree.get("auth") or {}
    usual = (None, f"env:{ADMIN_KEY_VARIABLE}", f"os.environ/{ADMIN_KEY_VARIABLE}")
    if not isinstance(auth, dict) or auth.get("admin_key") not in usual:
        return
    try:
        key = variable(ADMIN_KEY_VARIABLE, environ)
    except UnresolvedError as error:
        yield document.problem(("auth", "admin_key"), f"is not to be had: {error}")
        key = None
    document.tree["auth"] = {name: value for name, value in auth.items() if name != "admin_key"}
    if key is not None:
        document.tree["auth"] = auth | {"admin_key": key}


def resolve(document: Document, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Puts what they stand for in the place of all references. Values that came this way are not looked at again."""
    yield from _resolve(document, document.tree, (), environ)


def _resolve(document: Document, tree: object, path: KeyPath, environ: Mapping[str, str]) -> Iterator[Problem]:
    if not isinstance(tree, dict | list):
        return
    entries: list[tuple[str | int, object]] = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
    for key, value in entries:
        here = (*path, key)
        if not isinstance(value, str):
            yield from _resolve(document, value, here, environ)
            continue
        try:
            tree[key] = _value(value, document, here, environ)  # type: ignore[index]
        except UnresolvedError as error:
            yield document.problem(here, f"is not to be had: {error}")


def _value(text: str, document: Document, path: KeyPath, environ: Mapping[str, str]) -> str:
    found = _REFERENCE.fullmatch(text)
    if not found:
        return text
    if found["path"] is not None:
        if not found["path"].strip():
            raise UnresolvedError("file: names no file; write file:PATH")
        place = document.place(path)
        folder = place.folder if place and place.folder else Path()
        return secret_file(folder / _home(found["path"], environ), "it")
    name = found["name"]
    if not _NAME.fullmatch(name):
        raise UnresolvedError("env: is not followed by a variable's name; write env:NAME")
    value = variable(name, environ)
    if value is None:
        raise UnresolvedError(f"the environment variable {name} is not set; set it or {name}_FILE")
    return value


def _home(path: str, environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME")
    return Path(home, path[2:]) if home and path.startswith("~/") else Path(path)
