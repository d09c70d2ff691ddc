"""One table: which route asks what of its caller. A route that is not in it cannot be built, and answers nobody."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class Rule(Enum):
    OPEN = "anybody"
    ADMIN = "the admin key as bearer, or a signed-in session; a session that changes something proves its origin"
    PAGE = "as ADMIN, but nobody is sent to the sign-in page instead of refused"
    FORM = "a signed-in session, and the form's own token"
    SIGN_IN = "the sign-in form's own token"


RULES: Final[Mapping[tuple[str, str], Rule]] = MappingProxyType(
    {
        ("GET", "/admin/v1/openapi.json"): Rule.OPEN,
        ("GET", "/admin/v1/teams"): Rule.ADMIN,
        ("POST", "/admin/v1/teams"): Rule.ADMIN,
        ("GET", "/admin/v1/teams/{team_id}"): Rule.ADMIN,
        ("PATCH", "/admin/v1/teams/{team_id}"): Rule.ADMIN,
        ("DELETE", "/admin/v1/teams/{team_id}"): Rule.ADMIN,
        ("GET", "/admin/v1/keys"): Rule.ADMIN,
        ("POST", "/admin/v1/keys"): Rule.ADMIN,
        ("GET", "/admin/v1/keys/{key_id}"): Rule.ADMIN,
        ("PATCH", "/admin/v1/keys/{key_id}"): Rule.ADMIN,
        ("DELETE", "/admin/v1/keys/{key_id}"): Rule.ADMIN,
        ("POST", "/admin/v1/keys/{key_id}/rotate"): Rule.ADMIN,
        ("GET", "/admin/v1/prices"): Rule.ADMIN,
        ("POST", "/admin/v1/prices"): Rule.ADMIN,
        ("POST", "/admin/v1/prices/import"): Rule.ADMIN,
        ("POST", "/admin/v1/prices/reprice"): Rule.ADMIN,
        ("GET", "/admin/v1/prices/in-force"): Rule.ADMIN,
        ("GET", "/admin/v1/prices/{price_id}"): Rule.ADMIN,
        ("DELETE", "/admin/v1/prices/{price_id}"): Rule.ADMIN,
        ("GET", "/admin/v1/usage"): Rule.ADMIN,
        ("GET", "/admin/v1/requests"): Rule.ADMIN,
        ("GET", "/admin/v1/requests/{request_id}"): Rule.ADMIN,
        ("GET", "/admin/v1/models"): Rule.ADMIN,
        ("GET", "/admin/v1/health"): Rule.ADMIN,
        ("GET", "/admin/v1/health/providers"): Rule.ADMIN,
        ("GET", "/admin/v1/local"): Rule.ADMIN,
        ("POST", "/admin/v1/local/{model:path}/start"): Rule.ADMIN,
        ("POST", "/admin/v1/local/{model:path}/stop"): Rule.ADMIN,
        ("GET", "/admin/v1/local/{model:path}/logs"): Rule.ADMIN,
        ("GET", "/admin"): Rule.PAGE,
        ("GET", "/admin/"): Rule.PAGE,
        ("GET", "/admin/requests/{request_id}"): Rule.PAGE,
        ("GET", "/admin/login"): Rule.OPEN,
        ("POST", "/admin/login"): Rule.SIGN_IN,
        ("POST", "/admin/logout"): Rule.FORM,
        ("POST", "/admin/local/{model:path}/start"): Rule.FORM,
        ("POST", "/admin/local/{model:path}/stop"): Rule.FORM,
        ("GET", "/admin/static/{name}"): Rule.OPEN,
    }
)
