"""What has to happen so that things are as a file wants them. Pure: wanted and present in, changes or problems out.

Applied, and planned again, it comes to nothing: what is there already, in whatever spelling, is not changed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.cli.apply.kinds import EACH, KINDS, SCOPE_KINDS, Fields, Kind
from gateway.cli.apply.same import in_order, natural_name, natural_names, same, slug
from gateway.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from gateway.cli.apply.wanted import Desired, Wanted

Present = dict[str, list[dict[str, Any]]]


class Verb(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """`fields` is what is sent; `before` what stands there now, of a change the changed fields; `read` all of it."""

    verb: Verb
    kind: str
    label: str
    id: str | None  # by which it is addressed; None: it has none yet, or (a member) is addressed by two
    fields: Fields
    before: Fields
    wanted: Wanted | None = None
    read: Fields | None = None


class _Matched(NamedTuple):
    wanted: Wanted
    fields: dict[str, Any]  # with ids where the file has names
    present: Mapping[str, Any] | None


def plan(wanted: Desired, present: Present, now: datetime, *, prune: bool) -> tuple[Change, ...]:
    """The changes in the order in which they can be made. Raises `ConfigError` with every contradiction in the file."""
    names = _Names(wanted, present, now)
    matched = {kind: list(names.matched(KINDS[kind])) for kind in KINDS if kind in wanted}
    if names.problems:
        raise ConfigError(sorted(names.problems, key=lambda one: (one.place.line or 0) if one.place else 0))
    changes = [change for kind, found in matched.items() for change in _changes(KINDS[kind], found)]
    if prune:
        for kind in reversed(matched):
            changes += _removals(KINDS[kind], matched[kind], present.get(kind, []))
    return tuple(changes)


class _Names:
    """Who is meant: ids for names, given the things that there are and those that are to be."""

    def __init__(self, wanted: Desired, present: Present, now: datetime) -> None:
        self.problems: list[Problem] = []
        self._now = now
        self._wanted = wanted
        self._present = {kind: [row for row in rows if not gone(row)] for kind, rows in present.items()}
        self._gone = {kind: {row["id"] for row in rows if gone(row)} for kind, rows in present.items()}
        self._ids: dict[str, dict[int, str]] = {}
        self._by_name: dict[str, dict[str, set[str]]] = {}
        for kind in KINDS.values():
            if kind.mints_id:
                self._ids[kind.name] = dict(self._mint(kind))
                self._by_name[kind.name] = self._named(kind)

    def matched(self, kind: Kind) -> Iterator[_Matched]:
        here = self._present.get(kind.name, [])
        by_id = {row["id"]: row for row in here if "id" in row}
        by_nature = {name: row for row in in_order(kind, here) for name in natural_names(kind, row, self._now)}
        seen: dict[object, int] = {}
        for one in self._wanted[kind.name]:
            fields = self._resolved(kind, one)
            if fields is None:
                continue
            given = fields.get("id")
            name: object = ("id", given) if given is not None else natural_name(kind, fields)
            if name in seen:
                advice = ", or give both ids" if kind.has_id and "id" not in one.fields else ""
                message = f"is the same as {kind.name}[{seen[name]}]; keep one of them{advice}"
                self.problems.append(one.problem((), message))
                continue
            seen[name] = one.at
            row = by_nature.get(natural_name(kind, fields)) if given is None else by_id.get(given)
            self._demand_same(kind, one, fields, row or {})
            yield _Matched(one, fields, row)

    def _demand_same(self, kind: Kind, one: Wanted, fields: Fields, present: Mapping[str, Any]) -> None:
        for name in kind.fixed:
            if present and name in fields and not same(name, fields[name], present.get(name)):
                message = f"is {present.get(name)} and stays so; make another {kind.one} with another id"
                self.problems.append(one.problem((name,), message))

    def _mint(self, kind: Kind) -> Iterator[tuple[int, str]]:
        """An id for each that is wanted: its own, that of the one that bears its name, or one made of the name."""
        here = self._present.get(kind.name, [])
        by_nature: dict[object, list[str]] = defaultdict(list)
        for row in here:
            by_nature[natural_name(kind, row)].append(row["id"])
        wanted = self._wanted.get(kind.name, ())
        taken = (
            {row["id"] for row in here} | {one.fields.get("id") for one in wanted} | self._gone.get(kind.name, set())
        )
        seen: dict[object, str] = {}
        for one in wanted:
            given, name = one.fields.get("id"), natural_name(kind, one.fields)
            if given is not None:
                if given in self._gone.get(kind.name, ()):
                    self.problems.append(one.problem(("id",), f"is that of a revoked {kind.one}; give it another id"))
                yield one.at, str(given)
                continue
            found = [seen[name]] if name in seen else by_nature.get(name, [])
            if len(found) > 1:
                ids = ", ".join(found)
                self.problems.append(one.problem((), f"could be several {kind.name}; say which by its id: {ids}"))
            made = found[0] if found else _free(slug(str(one.fields.get(kind.natural[0], kind.one))), taken)
            taken.add(made)
            seen[name] = made
            yield one.at, made

    def _named(self, kind: Kind) -> dict[str, set[str]]:
        """Ids by everything that one may be called."""
        named: dict[str, set[str]] = defaultdict(set)
        for one_id, fields in (
            *((row["id"], row) for row in self._present.get(kind.name, [])),
            *((self._ids[kind.name][one.at], one.fields) for one in self._wanted.get(kind.name, ())),
        ):
            for name in kind.label:
                if name != "id" and isinstance(fields.get(name), str):
                    named[fields[name]].add(one_id)
        # Whatever else has that name: an id is what it says.
        for one_id in {
            *(row["id"] for row in self._present.get(kind.name, [])),
            *self._ids[kind.name].values(),
        }:
            named[one_id] = {one_id}
        return named

    def _resolved(self, kind: Kind, one: Wanted) -> dict[str, Any] | None:
        """Its fields with ids in them; None where one of them points nowhere."""
        fields = dict(one.fields)
        count = len(self.problems)
        if kind.mints_id:
            fields["id"] = self._ids[kind.name][one.at]
        for name, other in kind.refers.items():
            unknown = name in kind.loose and not self._by_name[other].get(str(fields.get(name)))
            if fields.get(name) is not None and not unknown:
                fields[name] = self._id_of(other, fields[name], one, (name,))
        scope = fields.get("scope")
        if kind.name == "budgets" and isinstance(scope, dict):
            fields["scope"] = self._scope(scope, one)
        return fields if len(self.problems) == count else None

    def _scope(self, scope: dict[str, Any], one: Wanted) -> dict[str, Any]:
        other = SCOPE_KINDS.get(str(scope.get("type")))
        found = dict(scope)
        if other is not None and scope.get("id") not in (None, EACH):
            found["id"] = self._id_of(other, scope["id"], one, ("scope", "id"))
        if scope.get("team_id") is not None:
            found["team_id"] = self._id_of("teams", scope["team_id"], one, ("scope", "team_id"))
        return found

    def _id_of(self, kind: str, name: object, one: Wanted, path: tuple[str, ...]) -> str:
        found = self._by_name[kind].get(str(name), set())
        if len(found) == 1:
            return next(iter(found))
        if found:
            message = f"could be several {kind}; write the id: {', '.join(sorted(found))}"
        else:
            message = f"names no {KINDS[kind].one}: there is none {str(name)[:100]!r}, here or in the file"
        self.problems.append(one.problem(path, message))
        return ""


def gone(row: Mapping[str, Any]) -> bool:
    """A revoked key and a retired price are listed, so that reports can name them, and are no more."""
    return bool(row.get("revoked_at") or row.get("retired_at"))


def _free(name: str, taken: set[Any]) -> str:
    number = 1
    while (found := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return found


def _changes(kind: Kind, matched: Sequence[_Matched]) -> Iterator[Change]:
    for wanted, fields, present in matched:
        if present is None:
            yield Change(Verb.CREATE, kind.name, label_of(kind, fields), None, fields, {}, wanted)
            continue
        other = {
            name: value
            for name, value in fields.items()
            if name not in (*kind.unread, "id") and not same(name, value, present.get(name))
        }
        if other:
            before = {name: present.get(name) for name in other}
            # A price is never changed: another one takes its place from its time on.
            sent = {name: fields[name] for name in fields if name != "id"} if kind.name == "prices" else other
            label, place = label_of(kind, present), address_of(kind, present)
            yield Change(Verb.UPDATE, kind.name, label, place, sent, before, wanted, present)


def _removals(kind: Kind, matched: Sequence[_Matched], present: Sequence[dict[str, Any]]) -> Iterator[Change]:
    kept = {id(one.present) for one in matched}
    if kind.name == "prices":
        # Older prices of a model that is named stay: they price what was bought in their time.
        named = {(one.fields.get("provider"), one.fields.get("model"), one.fields.get("team_id")) for one in matched}
        kept |= {id(row) for row in present if (row["provider"], row["model"], row.get("team_id")) in named}
    for row in reversed(present):
        if id(row) not in kept and not gone(row):
            yield Change(Verb.DELETE, kind.name, label_of(kind, row), address_of(kind, row), {}, row, read=row)


def address_of(kind: Kind, row: Mapping[str, Any]) -> str | None:
    return str(row["id"] if kind.has_id else row["model"]) if kind.name != "members" else None


def label_of(kind: Kind, fields: Fields) -> str:
    match kind.name:
        case "members":
            return f"{fields.get('user_id')} of team {fields.get('team_id')}"
        case "budgets":
            scope = fields.get("scope") or {}
            team = f" in team {scope['team_id']}" if scope.get("team_id") else ""
            return f"{scope.get('type')} {scope.get('id')}{team}, {fields.get('window')}"
        case "prices":
            team = f" for team {fields['team_id']}" if fields.get("team_id") else ""
            return f"{fields.get('provider')}/{fields.get('model')}{team}"
    return str(next((fields[name] for name in kind.label if fields.get(name)), fields.get("id")))
