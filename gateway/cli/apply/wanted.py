"""A file for `turnpike apply`, read: things by section, each with its line. Nothing is asked and nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from gateway.cli.apply.kinds import KINDS, Fields
from gateway.cli.apply.same import DAY
from gateway.config.problems import ConfigError, Problem, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config.document import Document
    from gateway.config.problems import KeyPath


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing as a file wants it: the fields that it names, and no others, are to be so."""

    kind: str
    at: int
    fields: Fields
    document: Document | None = field(default=None, repr=False, compare=False)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """At the line of the field, else at the line where the thing begins."""
        whole = (self.kind, self.at, *path)
        return Problem(None if self.document is None else self.document.place(whole), whole, message)


Desired: TypeAlias = Mapping[str, tuple[Wanted, ...]]


def desired(document: Document) -> dict[str, tuple[Wanted, ...]]:
    """The sections that the file has. Raises `ConfigError` with everything that is not even of the right shape."""
    problems: list[Problem] = []
    found = {}
    for name, section in document.tree.items():
        if name not in KINDS:
            problems.append(document.problem((name,), f"is no section; {nearest(name, KINDS)}"))
        elif section is not None and not isinstance(section, list):
            problems.append(document.problem((name,), "must be a list, each entry beginning with a dash"))
        else:
            found[name] = tuple(_things(document, name, section or [], problems))
    if problems:
        raise ConfigError(problems)
    return found


def _things(document: Document, name: str, section: Sequence[object], problems: list[Problem]) -> Iterator[Wanted]:
    for at, fields in enumerate(section):
        if not isinstance(fields, dict):
            problems.append(document.problem((name, at), "must be keys and values, such as `- {name: research}`"))
            continue
        yield Wanted(name, at, _dated(plain(fields)), document)


def _dated(fields: dict[str, Any]) -> dict[str, Any]:
    """A day ends a key as it begins, in UTC, as `turnpike keys` has it."""
    expires = fields.get("expires_at")
    if isinstance(expires, str) and DAY.fullmatch(expires):
        return fields | {"expires_at": f"{expires}T00:00:00Z"}
    return fields


def plain(value: Any) -> Any:
    """As JSON has it, decimals as their text: an amount never passes through a binary fraction."""
    match value:
        case Decimal():
            return format(value, "f")
        case Mapping():
            return {name: plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return value
