"""LiteLLM's virtual keys as ours: by the hash that it keeps, so that whoever has one goes on with it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.litellm.names import digest_of, key_id, name_of, our_id
from gateway.cli.litellm.people import blocked_teams
from gateway.cli.litellm.rows import Row, Tables, flag, instant, instant_text, listing, text
from gateway.cli.litellm.rules import limits_of, models_allowed, tags_of, unread_columns, unread_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from gateway.cli.litellm.notes import Notes

# The team under which LiteLLM files the sessions of its own pages.
DASHBOARD: Final = "litellm-dashboard"
# Long gone: a key that has expired is refused, and opens again when it is given another time.
BLOCKED_AT: Final = "2000-01-01T00:00:00Z"
UNREAD: Final = {
    "aliases": "a key's own model aliases have no counterpart here; name the models in turnpike.yaml",
    "config": "a key's own settings have no counterpart here",
    "router_settings": "routing is configured for all, in turnpike.yaml",
    "permissions": "permissions have no counterpart here",
    "policies": "policies have no counterpart here",
    "model_max_budget": "a budget of one model is everybody's or a team's here",
    "budget_fallbacks": "have no counterpart here",
    "allowed_cache_controls": "have no counterpart here",
    "allowed_routes": "a key here opens all of /v1 and nothing of /admin that its user may not",
    "object_permission_id": "permissions on tools have no counterpart here",
    "auto_rotate": "keys are rotated by `turnpike keys rotate`",
    "project_id": "projects have no counterpart here; the key is its team's",
    "agent_id": "agents have no counterpart here",
}


@dataclass(frozen=True, slots=True)
class Brought:
    """A key with the row that it came from."""

    fields: dict[str, Any]
    row: Row

    @property
    def id(self) -> str:
        return str(self.fields["id"])


def keys_of(tables: Tables, groups: Mapping[str, list[str]], now: datetime, notes: Notes) -> Iterator[Brought]:
    teams = {row["team_id"] for row in tables["TeamTable"]}
    users = {row["user_id"]: row for row in tables["UserTable"]}
    budgets = {row["budget_id"]: row for row in tables["BudgetTable"]}
    blocked = blocked_teams(tables)
    sessions = 0
    for row in tables["VerificationToken"]:
        if text(row, "team_id") == DASHBOARD:
            sessions += 1
            continue
        digest = digest_of(row["token"])
        if digest is None:
            notes.add(f"key {shown_name(row)}", "its token is no SHA-256 in hex; make its owner a new one")
            continue
        subject = f"key {shown_name(row)}"
        fields = _fields(subject, row, digest, groups, users, notes)
        fields |= _owners(subject, row, teams, users, notes)
        beside = budgets.get(text(row, "budget_id") or "")
        fields |= {"limits": limits_of(subject, row, notes, beside), "tags": tags_of(subject, row, notes)}
        if (ends := _ends(subject, row, blocked, now, notes)) is not None:
            fields["expires_at"] = ends
        unread_metadata(subject, row, notes)
        unread_columns(subject, row, UNREAD, notes)
        yield Brought(fields, row)
    if sessions:
        notes.add("sessions", f"{sessions} of LiteLLM's own pages stay behind")
    for row in tables["DeprecatedVerificationToken"]:
        until = instant(row, "revoke_at")
        if until is not None and until > now:
            notes.add(
                f"key {str(row['token'])[:16]}…",
                f"from before a rotation, good there until {instant_text(until)}: is refused here",
            )


def shown_name(row: Row) -> str:
    return name_of(text(row, "key_alias"), text(row, "key_name"), f"{str(row['token'])[:12]}…")


def _fields(
    subject: str,
    row: Row,
    digest: str,
    groups: Mapping[str, list[str]],
    users: Mapping[str, Row],
    notes: Notes,
) -> dict[str, Any]:
    models = models_allowed([*listing(row, "models"), *listing(row, "access_group_ids")], groups)
    user = users.get(text(row, "user_id") or "")
    if user is not None and text(row, "team_id") is None:
        # A user's own list binds the keys that are of no team.
        theirs = models_allowed(listing(user, "models"), groups)
        if models and theirs:
            notes.add(subject, "its user has a list of models too: the key has what stands in both")
            models = [model for model in models if model in theirs] or ["no-default-models"]
        models = models or theirs
    return {
        "id": key_id(digest),
        "name": shown_name(row),
        "key_sha256": digest,
        "models_allowed": models,
    }


def _owners(subject: str, row: Row, teams: set[str], users: Mapping[str, Row], notes: Notes) -> dict[str, Any]:
    found = {}
    for column, known in (("team_id", teams), ("user_id", set(users))):
        theirs = text(row, column)
        if theirs is None:
            continue
        if theirs in known:
            found[column] = our_id(theirs)
        else:
            notes.add(subject, f"{column} {theirs}: LiteLLM has none such; the key comes over without")
    return found


def _ends(subject: str, row: Row, blocked: set[str], now: datetime, notes: Notes) -> str | None:
    if flag(row, "blocked"):
        notes.add(subject, "is blocked: comes over as expired; another expires_at opens it")
        return BLOCKED_AT
    if text(row, "team_id") in blocked:
        notes.add(subject, f"its team {row['team_id']} is blocked: comes over as expired; another expires_at opens it")
        return BLOCKED_AT
    ends = instant(row, "expires")
    if ends is not None and ends <= now:
        notes.add(subject, f"has expired on {instant_text(ends)}: comes over as that")
    return None if ends is None else instant_text(ends)
