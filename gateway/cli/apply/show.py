"""A plan for people: what is made, changed and removed, a line for each field; never what a secret is."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.apply.kinds import KINDS
from gateway.cli.apply.plan import Change, Verb
from gateway.cli.tables import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIGNS: Final = {Verb.CREATE: "+", Verb.UPDATE: "~", Verb.DELETE: "-"}
SECRETS: Final = ("key",)
WITHHELD: Final = "(a secret)"
WHOLE: Final = ("id", "name")  # what the line of a thing says already


def diff(changes: Sequence[Change]) -> str:
    return "\n".join(line for change in changes for line in _lines(change))


def _lines(change: Change) -> Iterator[str]:
    kind = KINDS[change.kind]
    known_as = change.id or change.fields.get("id")
    label = shown(change.label)
    named = f" ({known_as})" if kind.has_id and known_as not in (None, label) else ""
    yield f"{SIGNS[change.verb]} {kind.one} {label}{named}"
    if change.verb is Verb.DELETE:
        return
    for name, value in visible(change.fields).items():
        if change.verb is Verb.UPDATE and name in change.before:
            yield f"    {name}: {_text(change.before[name])} -> {_text(value)}"
        elif change.verb is Verb.CREATE and name not in WHOLE and value not in (None, [], {}):
            yield f"    {name}: {_text(value)}"


def visible(fields: Any) -> dict[str, Any]:
    return {name: WITHHELD if name in SECRETS and value is not None else value for name, value in fields.items()}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else shown(value)


def summary(changes: Sequence[Change], *, dry_run: bool) -> str:
    if not changes:
        return "nothing to do: everything is as the file says"
    count = Counter(change.verb for change in changes)
    words = {
        Verb.CREATE: ("created", "to create"),
        Verb.UPDATE: ("changed", "to change"),
        Verb.DELETE: ("removed", "to remove"),
    }
    return ", ".join(f"{count[verb]} {words[verb][dry_run]}" for verb in Verb if count[verb])


def as_json(changes: Sequence[Change], *, dry_run: bool) -> dict[str, Any]:
    return {
        "data": [
            {
                "action": str(change.verb),
                "kind": KINDS[change.kind].one,
                "id": change.id or change.fields.get("id"),
                "name": change.label,
                "fields": visible(change.fields),
                "before": visible(change.before) if change.verb is Verb.UPDATE else {},
            }
            for change in changes
        ],
        "dry_run": dry_run,
        "has_more": False,
        "next": None,
    }
