"""LiteLLM's organizations, teams, users and memberships as ours. Pure: rows in, sections of a file for `apply` out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.litellm.names import name_of, our_id
from gateway.cli.litellm.rows import Row, Tables, document, flag, listing, text
from gateway.cli.litellm.rules import limits_of, models_allowed, tags_of, unread_columns, unread_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.cli.litellm.notes import Notes

ORGANIZATION_UNREAD: Final = {"object_permission_id": "permissions on tools have no counterpart here"}
TEAM_UNREAD: Final = {
    "router_settings": "routing is configured for all, in turnpike.yaml",
    "policies": "policies have no counterpart here",
    "model_id": "a team's own model aliases have no counterpart here; name the models in turnpike.yaml",
    "object_permission_id": "permissions on tools have no counterpart here",
    "default_team_member_models": "members have no list of models here; give their keys one",
    "allow_team_guardrail_config": "guardrails have no counterpart here",
}
USER_UNREAD: Final = {
    "tpm_limit": "users have no rate limits here; give their keys limits",
    "rpm_limit": "users have no rate limits here; give their keys limits",
    "max_parallel_requests": "users have no rate limits here; give their keys limits",
    "model_max_budget": "a budget of one model is everybody's or a team's here",
    "policies": "policies have no counterpart here",
    "object_permission_id": "permissions on tools have no counterpart here",
}
ROLES: Final = {"proxy_admin": "owner", "proxy_admin_viewer": "viewer", "internal_user": "member"}
# In a team these administrate it.
ADMIN: Final = "admin"
NO_EMAIL: Final = "no-email.invalid"


@dataclass(slots=True)
class People:
    organizations: list[dict[str, Any]] = field(default_factory=list)
    teams: list[dict[str, Any]] = field(default_factory=list)
    users: list[dict[str, Any]] = field(default_factory=list)
    members: list[dict[str, Any]] = field(default_factory=list)


def people_of(tables: Tables, groups: Mapping[str, list[str]], notes: Notes) -> People:
    found = People()
    organizations = {row["organization_id"]: row for row in tables["OrganizationTable"]}
    for row in organizations.values():
        found.organizations.append(_organization(row, notes))
    for row in tables["TeamTable"]:
        found.teams.append(_team(row, organizations, groups, notes))
    roles = _roles_in_teams(tables)
    seats = _organizations_of_users(tables)
    emails: set[str] = set()
    known = set()
    for row in tables["UserTable"]:
        known.add(row["user_id"])
        found.users.append(_user(row, roles[row["user_id"]], seats[row["user_id"]], organizations, emails, notes))
    teams = {row["team_id"] for row in tables["TeamTable"]}
    for user_id, team_id in sorted((user, team) for user, of in roles.items() for team in of if team in teams):
        if user_id in known:
            found.members.append({"team_id": our_id(team_id), "user_id": our_id(user_id)})
        else:
            notes.add(f"member {user_id} of team {team_id}", "LiteLLM has no such user; the membership is left out")
    return found


def _organization(row: Row, notes: Notes) -> dict[str, Any]:
    theirs = row["organization_id"]
    subject = f"organization {theirs}"
    unread_metadata(subject, row, notes)
    unread_columns(subject, row, ORGANIZATION_UNREAD, notes)
    return {"id": our_id(theirs), "name": name_of(text(row, "organization_alias"), theirs)}


def _team(row: Row, organizations: Mapping[str, Row], groups: Mapping[str, list[str]], notes: Notes) -> dict[str, Any]:
    theirs = row["team_id"]
    subject = f"team {theirs}"
    organization = organizations.get(text(row, "organization_id") or "")
    own = models_allowed([*listing(row, "models"), *listing(row, "access_group_ids")], groups)
    # Whoever an organization allows less than all has no team that may use all.
    models = own or models_allowed(listing(organization or {}, "models"), groups)
    made: dict[str, Any] = {"id": our_id(theirs), "name": name_of(text(row, "team_alias"), theirs)}
    if organization is not None:
        made["organization_id"] = our_id(organization["organization_id"])
    made |= {"models_allowed": models, "limits": limits_of(subject, row, notes), "tags": tags_of(subject, row, notes)}
    unread_metadata(subject, row, notes)
    unread_columns(subject, row, TEAM_UNREAD, notes)
    return made


def _user(
    row: Row,
    roles: Mapping[str, str],
    seats: Mapping[str, str],
    organizations: Mapping[str, Row],
    emails: set[str],
    notes: Notes,
) -> dict[str, Any]:
    theirs = row["user_id"]
    subject = f"user {theirs}"
    email = _email(subject, row, emails, notes)
    made: dict[str, Any] = {
        "id": our_id(theirs),
        "name": name_of(text(row, "user_alias"), text(row, "user_email"), theirs),
        "email": email,
    }
    administrated = sorted(one for one, role in seats.items() if role == "org_admin" and one in organizations)
    home = text(row, "organization_id") or next(iter(administrated or sorted(set(seats) & set(organizations))), None)
    if home in organizations:
        made["organization_id"] = our_id(str(home))
    made["role"] = _role(subject, row, roles, administrated, notes)
    unread_metadata(subject, row, notes)
    unread_columns(subject, row, USER_UNREAD, notes)
    return made


def _role(subject: str, row: Row, roles: Mapping[str, str], administrated: list[str], notes: Notes) -> str:
    """Never more than LiteLLM grants: a role here holds for all of a user's teams, and for one organization."""
    theirs = text(row, "user_role") or "internal_user"
    if theirs in ("proxy_admin", "proxy_admin_viewer"):
        return ROLES[theirs]
    if len(administrated) == 1:
        return "admin"
    if administrated:
        notes.add(
            subject, f"administrates {', '.join(administrated)}: a user is of one organization here; a member now"
        )
        return "member"
    led = sorted(team for team, role in roles.items() if role == ADMIN)
    if led and len(led) == len(roles):
        return "team_admin"
    if led:
        others = ", ".join(sorted(set(roles) - set(led)))
        notes.add(subject, f"administrates {', '.join(led)} but not {others}: a role holds for all teams; a member now")
    if theirs not in ROLES:
        notes.add(subject, f"role {theirs}: has no counterpart; a member, who may make keys of their own")
    return "member"


def _email(subject: str, row: Row, emails: set[str], notes: Notes) -> str:
    theirs = text(row, "user_email") or row["user_id"]
    name, at, host = theirs.partition("@")
    if at and name and host and not any(char.isspace() or char == "@" for char in name + host):
        if theirs.lower() not in emails:
            emails.add(theirs.lower())
            return str(theirs)
        why = f"{theirs} is another user's already"
    else:
        why = "has no e-mail in LiteLLM"
    made = f"{our_id(row['user_id'])}@{NO_EMAIL}".lower()
    emails.add(made)
    notes.add(subject, f"{why}: {made} stands for it until `turnpike users update` gives a real one")
    return made


def _roles_in_teams(tables: Tables) -> defaultdict[str, dict[str, str]]:
    """By user and team. `members_with_roles` says it; the lists beside it are from older releases."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in tables["TeamTable"]:
        for user_id, role in _members(row):
            if found[user_id].get(row["team_id"]) != ADMIN:
                found[user_id][row["team_id"]] = role
    for row in tables["TeamMembership"]:
        found[row["user_id"]].setdefault(row["team_id"], "user")
    return found


def _members(team: Row) -> Iterator[tuple[str, str]]:
    with_roles = document(team, "members_with_roles")
    for one in with_roles if isinstance(with_roles, list) else []:
        if isinstance(one, dict) and (user_id := text(one, "user_id")):
            yield user_id, text(one, "role") or "user"
    yield from ((user_id, ADMIN) for user_id in listing(team, "admins"))
    yield from ((user_id, "user") for user_id in listing(team, "members"))


def _organizations_of_users(tables: Tables) -> defaultdict[str, dict[str, str]]:
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in tables["OrganizationMembership"]:
        found[row["user_id"]][row["organization_id"]] = text(row, "user_role") or ""
    return found


def blocked_teams(tables: Tables) -> set[str]:
    return {row["team_id"] for row in tables["TeamTable"] if flag(row, "blocked")}
