"""One table: which route asks what of its caller, which roles may, and how far each reaches there.

A route that is not in it cannot be built, and answers nobody. The admin key is an owner who belongs to no organization.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from billing.roles import Role
from billing.scopes import SCOPE_TYPES


class Gate(Enum):
    """What is asked before a role is looked at."""

    OPEN = "anybody"
    API = (
        "the admin key or a user's key as bearer, or a signed-in session; one that changes something proves its origin"
    )
    PAGE = "as API, but nobody is sent to the sign-in page instead of refused"
    FORM = "a signed-in session, and the form's own token"
    SIGN_IN = "the sign-in form's own token"


class Reach(Enum):
    """How far a role reaches at a route."""

    GATEWAY = "what is every organization's: whoever belongs to one has no say in it"
    ORGANIZATION = "what is their organization's; of who belongs to none: everything"
    TEAMS = "what is their teams'"
    OWN = "themselves and their own keys"


@dataclass(frozen=True, slots=True)
class Rule:
    gate: Gate
    may: Mapping[Role, Reach]


Line = Mapping[Role, Reach]

_NOBODY: Final[Line] = MappingProxyType({})
# Which lines of the table there are. The first two letters of a name say what for: to read, or to change.
_LEAD: Final[Line] = {Role.OWNER: Reach.ORGANIZATION, Role.ADMIN: Reach.ORGANIZATION}
_LEAD_ALL: Final[Line] = {Role.OWNER: Reach.GATEWAY, Role.ADMIN: Reach.GATEWAY}
_WATCH: Final[Line] = {**_LEAD, Role.BILLING: Reach.ORGANIZATION, Role.VIEWER: Reach.ORGANIZATION}
_WATCH_ALL: Final[Line] = {**_LEAD_ALL, Role.BILLING: Reach.GATEWAY, Role.VIEWER: Reach.GATEWAY}

READ: Final[Line] = {**_WATCH, Role.TEAM_ADMIN: Reach.TEAMS, Role.MEMBER: Reach.OWN}
READ_WHOLE: Final[Line] = _WATCH_ALL
READ_ENGINES: Final[Line] = {**_LEAD_ALL, Role.VIEWER: Reach.GATEWAY}
CHANGE: Final[Line] = _LEAD
CHANGE_WHOLE: Final[Line] = _LEAD_ALL
CHANGE_PEOPLE: Final[Line] = {**_LEAD, Role.BILLING: Reach.OWN, Role.TEAM_ADMIN: Reach.OWN, Role.MEMBER: Reach.OWN}
CHANGE_MEMBERS: Final[Line] = {**_LEAD, Role.TEAM_ADMIN: Reach.TEAMS}
CHANGE_KEYS: Final[Line] = {**_LEAD, Role.TEAM_ADMIN: Reach.TEAMS, Role.MEMBER: Reach.OWN}
CHANGE_BUDGETS: Final[Line] = {**_LEAD, Role.BILLING: Reach.ORGANIZATION, Role.TEAM_ADMIN: Reach.TEAMS}
CHANGE_PRICES: Final[Line] = {**_LEAD_ALL, Role.BILLING: Reach.GATEWAY}

# Whose budgets each reach may make, change and delete, of those that it sees: of scopes below its own. What binds all
# of an organization, or of a team, is set by who stands above it. Who belongs to no organization may set each.
BUDGETS_BELOW: Final[Mapping[Reach, frozenset[str]]] = MappingProxyType(
    {
        Reach.GATEWAY: frozenset(SCOPE_TYPES),
        Reach.ORGANIZATION: frozenset({"team", "user", "member", "key", "model"}),
        Reach.TEAMS: frozenset({"member", "key"}),
        Reach.OWN: frozenset(),
    }
)

OPEN: Final = Rule(Gate.OPEN, _NOBODY)
SIGN_IN: Final = Rule(Gate.SIGN_IN, _NOBODY)
SIGN_OUT: Final = Rule(Gate.FORM, dict.fromkeys(Role, Reach.OWN))


def api(line: Line) -> Rule:
    return Rule(Gate.API, line)


def page(line: Line) -> Rule:
    return Rule(Gate.PAGE, line)


def form(line: Line) -> Rule:
    return Rule(Gate.FORM, line)


_API: Final[Mapping[tuple[str, str], Line]] = {
    ("GET", "/admin/v1/organizations"): READ,
    ("POST", "/admin/v1/organizations"): CHANGE_WHOLE,
    ("GET", "/admin/v1/organizations/{organization_id}"): READ,
    ("PATCH", "/admin/v1/organizations/{organization_id}"): CHANGE,
    ("DELETE", "/admin/v1/organizations/{organization_id}"): CHANGE_WHOLE,
    ("GET", "/admin/v1/teams"): READ,
    ("POST", "/admin/v1/teams"): CHANGE,
    ("GET", "/admin/v1/teams/{team_id}"): READ,
    ("PATCH", "/admin/v1/teams/{team_id}"): CHANGE,
    ("DELETE", "/admin/v1/teams/{team_id}"): CHANGE,
    ("GET", "/admin/v1/teams/{team_id}/members"): READ,
    ("POST", "/admin/v1/teams/{team_id}/members"): CHANGE_MEMBERS,
    ("DELETE", "/admin/v1/teams/{team_id}/members/{user_id}"): CHANGE_MEMBERS,
    ("GET", "/admin/v1/users"): READ,
    ("POST", "/admin/v1/users"): CHANGE,
    ("GET", "/admin/v1/users/{user_id}"): READ,
    ("PATCH", "/admin/v1/users/{user_id}"): CHANGE_PEOPLE,
    ("DELETE", "/admin/v1/users/{user_id}"): CHANGE,
    ("GET", "/admin/v1/keys"): READ,
    ("POST", "/admin/v1/keys"): CHANGE_KEYS,
    ("GET", "/admin/v1/keys/{key_id}"): READ,
    ("PATCH", "/admin/v1/keys/{key_id}"): CHANGE_KEYS,
    ("DELETE", "/admin/v1/keys/{key_id}"): CHANGE_KEYS,
    ("POST", "/admin/v1/keys/{key_id}/rotate"): CHANGE_KEYS,
    ("GET", "/admin/v1/budgets"): READ,
    ("POST", "/admin/v1/budgets"): CHANGE_BUDGETS,
    ("GET", "/admin/v1/budgets/events"): READ_WHOLE,
    ("GET", "/admin/v1/budgets/{budget_id}"): READ,
    ("PATCH", "/admin/v1/budgets/{budget_id}"): CHANGE_BUDGETS,
    ("DELETE", "/admin/v1/budgets/{budget_id}"): CHANGE_BUDGETS,
    ("GET", "/admin/v1/budgets/{budget_id}/events"): READ,
    ("GET", "/admin/v1/budgets/{budget_id}/history"): READ,
    ("GET", "/admin/v1/limits"): READ,
    ("POST", "/admin/v1/limits"): CHANGE_WHOLE,
    ("GET", "/admin/v1/limits/{model:path}"): READ,
    ("PATCH", "/admin/v1/limits/{model:path}"): CHANGE_WHOLE,
    ("DELETE", "/admin/v1/limits/{model:path}"): CHANGE_WHOLE,
    ("GET", "/admin/v1/prices"): READ,
    ("POST", "/admin/v1/prices"): CHANGE_PRICES,
    ("POST", "/admin/v1/prices/import"): CHANGE_PRICES,
    ("POST", "/admin/v1/prices/reprice"): CHANGE_PRICES,
    ("GET", "/admin/v1/prices/in-force"): READ,
    ("GET", "/admin/v1/prices/{price_id}"): READ,
    ("DELETE", "/admin/v1/prices/{price_id}"): CHANGE_PRICES,
    ("GET", "/admin/v1/ledger/verify"): READ_WHOLE,
    ("GET", "/admin/v1/ledger/transfers"): READ_WHOLE,
    ("POST", "/admin/v1/ledger/transfers"): CHANGE_WHOLE,
    ("POST", "/admin/v1/ledger/reconcile"): CHANGE_PRICES,
    ("GET", "/admin/v1/ledger/leases"): READ_WHOLE,
    ("POST", "/admin/v1/ledger/leases/{lease_id}/close"): CHANGE_WHOLE,
    ("GET", "/admin/v1/audit"): READ_WHOLE,
    ("GET", "/admin/v1/audit/verify"): READ_WHOLE,
    ("GET", "/admin/v1/usage"): READ,
    ("GET", "/admin/v1/requests"): READ,
    ("GET", "/admin/v1/requests/{request_id}"): READ,
    ("GET", "/admin/v1/models"): READ,
    ("GET", "/admin/v1/health"): READ,
    ("GET", "/admin/v1/health/providers"): READ,
    ("GET", "/admin/v1/local"): READ_ENGINES,
    ("POST", "/admin/v1/local/{model:path}/start"): CHANGE_WHOLE,
    ("POST", "/admin/v1/local/{model:path}/stop"): CHANGE_WHOLE,
    ("GET", "/admin/v1/local/{model:path}/logs"): CHANGE_WHOLE,
    ("GET", "/v1/organization/costs"): READ,
    ("GET", "/v1/organization/usage/completions"): READ,
    ("GET", "/v1/organization/projects"): READ,
    ("GET", "/v1/organization/projects/{project_id}"): READ,
    ("GET", "/v1/organization/projects/{project_id}/api_keys"): READ,
    ("GET", "/v1/organization/projects/{project_id}/api_keys/{key_id}"): READ,
    ("GET", "/v1/organization/admin_api_keys"): READ_WHOLE,
    ("GET", "/v1/organization/audit_logs"): READ_WHOLE,
}

_PAGES: Final[Mapping[tuple[str, str], Rule]] = {
    ("GET", "/admin/v1/openapi.json"): OPEN,
    ("GET", "/admin"): page(READ),
    ("GET", "/admin/"): page(READ),
    ("GET", "/admin/organizations"): page(READ),
    ("GET", "/admin/organizations/{organization_id}"): page(READ),
    ("GET", "/admin/new/organization"): page(CHANGE_WHOLE),
    ("POST", "/admin/new/organization"): form(CHANGE_WHOLE),
    ("GET", "/admin/organizations/{organization_id}/edit"): page(CHANGE),
    ("POST", "/admin/organizations/{organization_id}/edit"): form(CHANGE),
    ("GET", "/admin/organizations/{organization_id}/delete"): page(CHANGE_WHOLE),
    ("POST", "/admin/organizations/{organization_id}/delete"): form(CHANGE_WHOLE),
    ("GET", "/admin/teams"): page(READ),
    ("GET", "/admin/teams/{team_id}"): page(READ),
    ("GET", "/admin/new/team"): page(CHANGE),
    ("POST", "/admin/new/team"): form(CHANGE),
    ("GET", "/admin/teams/{team_id}/edit"): page(CHANGE),
    ("POST", "/admin/teams/{team_id}/edit"): form(CHANGE),
    ("GET", "/admin/teams/{team_id}/delete"): page(CHANGE),
    ("POST", "/admin/teams/{team_id}/delete"): form(CHANGE),
    ("GET", "/admin/teams/{team_id}/members"): page(CHANGE_MEMBERS),
    ("POST", "/admin/teams/{team_id}/members"): form(CHANGE_MEMBERS),
    ("GET", "/admin/teams/{team_id}/members/{user_id}/remove"): page(CHANGE_MEMBERS),
    ("POST", "/admin/teams/{team_id}/members/{user_id}/remove"): form(CHANGE_MEMBERS),
    ("GET", "/admin/users"): page(READ),
    ("GET", "/admin/users/{user_id}"): page(READ),
    ("GET", "/admin/new/user"): page(CHANGE),
    ("POST", "/admin/new/user"): form(CHANGE),
    ("GET", "/admin/users/{user_id}/edit"): page(CHANGE_PEOPLE),
    ("POST", "/admin/users/{user_id}/edit"): form(CHANGE_PEOPLE),
    ("GET", "/admin/users/{user_id}/delete"): page(CHANGE),
    ("POST", "/admin/users/{user_id}/delete"): form(CHANGE),
    ("GET", "/admin/keys"): page(READ),
    ("GET", "/admin/keys/{key_id}"): page(READ),
    ("GET", "/admin/new/key"): page(CHANGE_KEYS),
    ("POST", "/admin/new/key"): form(CHANGE_KEYS),
    ("GET", "/admin/keys/{key_id}/edit"): page(CHANGE_KEYS),
    ("POST", "/admin/keys/{key_id}/edit"): form(CHANGE_KEYS),
    ("GET", "/admin/keys/{key_id}/rotate"): page(CHANGE_KEYS),
    ("POST", "/admin/keys/{key_id}/rotate"): form(CHANGE_KEYS),
    ("GET", "/admin/keys/{key_id}/revoke"): page(CHANGE_KEYS),
    ("POST", "/admin/keys/{key_id}/revoke"): form(CHANGE_KEYS),
    ("GET", "/admin/budgets"): page(READ),
    ("GET", "/admin/budgets/{budget_id}"): page(READ),
    ("GET", "/admin/new/budget"): page(CHANGE_BUDGETS),
    ("POST", "/admin/new/budget"): form(CHANGE_BUDGETS),
    ("GET", "/admin/budgets/{budget_id}/edit"): page(CHANGE_BUDGETS),
    ("POST", "/admin/budgets/{budget_id}/edit"): form(CHANGE_BUDGETS),
    ("GET", "/admin/budgets/{budget_id}/delete"): page(CHANGE_BUDGETS),
    ("POST", "/admin/budgets/{budget_id}/delete"): form(CHANGE_BUDGETS),
    ("GET", "/admin/usage"): page(READ),
    ("GET", "/admin/usage.csv"): page(READ),
    ("GET", "/admin/requests"): page(READ),
    ("GET", "/admin/audit"): page(READ_WHOLE),
    ("GET", "/admin/timezone"): page(READ),
    ("POST", "/admin/timezone"): form(READ),
    ("GET", "/admin/requests/{request_id}"): page(READ),
    ("GET", "/admin/login"): OPEN,
    ("POST", "/admin/login"): SIGN_IN,
    ("POST", "/admin/logout"): SIGN_OUT,
    ("POST", "/admin/local/{model:path}/start"): form(CHANGE_WHOLE),
    ("POST", "/admin/local/{model:path}/stop"): form(CHANGE_WHOLE),
    ("GET", "/admin/static/{name}"): OPEN,
}

RULES: Final[Mapping[tuple[str, str], Rule]] = MappingProxyType(
    {**{route: api(line) for route, line in _API.items()}, **_PAGES}
)
