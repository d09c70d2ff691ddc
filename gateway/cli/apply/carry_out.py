"""Asks a desk for what is there, and for each change of a plan. Stops at the first refusal: a second run goes on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.apply.kinds import KINDS, SCOPE_KINDS
from gateway.cli.apply.plan import Change, Present, Verb
from gateway.cli.desk import Desk, address, rows
from gateway.cli.refusal import Refused
from gateway.cli.tables import shown
from local_backend.progress import Step, shown_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.cli.apply.wanted import Desired

MANY: Final = 50
STALE: Final = 412  # precondition failed
# What changes of itself, or says that something did.
MOVING: Final = frozenset(
    {"version", "spent_usd", "pending_usd", "remaining_usd", "resets_at", "accounts", "accounts_total"}
)


def present(desk: Desk, wanted: Desired, *, prune: bool) -> Present:
    """What the file has sections for, and what these point at."""
    kinds = set(wanted) | {other for kind in wanted for other in KINDS[kind].refers.values()}
    if "budgets" in wanted:
        kinds |= {SCOPE_KINDS[scope] for scope in _scopes(wanted)}
    found: Present = {kind: list(rows(desk, kind)) for kind in KINDS if kind in kinds - {"members"}}
    if "members" in kinds:
        found["members"] = list(_members(desk, wanted, found, prune=prune))
    return found


def _scopes(wanted: Desired) -> Iterator[str]:
    for one in wanted["budgets"]:
        scope = one.fields.get("scope")
        if isinstance(scope, dict):
            if scope.get("type") in SCOPE_KINDS:
                yield str(scope["type"])
            if scope.get("team_id") is not None:
                yield "team"


def _members(desk: Desk, wanted: Desired, found: Present, *, prune: bool) -> Iterator[dict[str, Any]]:
    """Of the teams that the file names members of; when others are to go, of every team."""
    named = {one.fields.get("team_id") for one in wanted["members"]}
    for team in found["teams"]:
        if prune or team["id"] in named or team["name"] in named:
            yield from ({"team_id": team["id"], **row} for row in rows(desk, "teams", team["id"], "members"))


def carry_out(desk: Desk, changes: Sequence[Change]) -> Iterator[tuple[Change, Any]]:
    """Each change that was made, with what was answered. Many of them are long work, and show how far it is."""
    tell = shown_on(sys.stderr) if len(changes) >= MANY else None
    for done, change in enumerate(changes):
        if tell is not None:
            tell(Step(f"{change.kind}: {change.label}", 100 * done // len(changes)))
        try:
            answer = _ask(desk, change)
        except Refused as refused:
            one = KINDS[change.kind].one
            where = change.wanted.problem((), "") if change.wanted is not None else None
            place = f"{where.place}: " if where is not None and where.place is not None else ""
            rest = f"; {done} of {len(changes)} changes were made before it, run it again for the rest"
            reason = _meanwhile(desk, change) if refused.status == STALE else str(refused)
            raise Refused(f"{place}{change.verb} {one} {change.label}: {reason}{rest}") from None
        yield change, answer
    if tell is not None:
        tell(Step("done", 100))


def _ask(desk: Desk, change: Change) -> Any:
    if change.kind == "members":
        return _member(desk, change)
    match change.verb:
        case Verb.CREATE:
            return desk.ask("POST", address(change.kind), change.fields)
        case Verb.UPDATE if change.kind == "prices":
            return desk.ask("POST", address(change.kind), change.fields)
        case Verb.UPDATE:
            return desk.ask("PATCH", address(change.kind, str(change.id)), change.fields, if_match=_seen(change))
        case Verb.DELETE:
            return desk.ask("DELETE", address(change.kind, str(change.id)), if_match=_seen(change))


def _seen(change: Change) -> str | None:
    """The entity tag of what was read: what somebody else changed since is not overwritten unseen."""
    read = change.read
    return None if read is None or not KINDS[change.kind].has_version else f'"v{read["version"]}"'


def _meanwhile(desk: Desk, change: Change) -> str:
    """What somebody else has made of it since it was read."""
    read = change.read or {}
    try:
        there = desk.ask("GET", address(change.kind, str(change.id)))
    except Refused as refused:
        return f"somebody changed it meanwhile, and now: {refused}"
    names = [name for name in read if name not in MOVING and there.get(name) != read[name]]
    told = [f"{name} was {shown(read[name])}, is {shown(there.get(name))}" for name in names]
    return f"somebody changed it meanwhile and it was left so: {', '.join(told) or 'and back again'}"


def _member(desk: Desk, change: Change) -> Any:
    if change.verb is Verb.DELETE:
        row = change.before
        return desk.ask("DELETE", address("teams", row["team_id"], "members", row["user_id"]))
    fields = {name: value for name, value in change.fields.items() if name != "team_id"}
    return desk.ask("POST", address("teams", str(change.fields.get("team_id")), "members"), fields)
