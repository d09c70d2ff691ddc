"""A page asks of a role what the API asks: whoever may do a thing there may do it here, and nobody else."""

import pytest

from gateway.admin.rules import RULES

SAME = {
    ("POST", "/admin/new/organization"): ("POST", "/admin/v1/organizations"),
    ("POST", "/admin/organizations/{organization_id}/edit"): ("PATCH", "/admin/v1/organizations/{organization_id}"),
    ("POST", "/admin/organizations/{organization_id}/delete"): ("DELETE", "/admin/v1/organizations/{organization_id}"),
    ("POST", "/admin/new/team"): ("POST", "/admin/v1/teams"),
    ("POST", "/admin/teams/{team_id}/edit"): ("PATCH", "/admin/v1/teams/{team_id}"),
    ("POST", "/admin/teams/{team_id}/delete"): ("DELETE", "/admin/v1/teams/{team_id}"),
    ("POST", "/admin/teams/{team_id}/members"): ("POST", "/admin/v1/teams/{team_id}/members"),
    ("POST", "/admin/teams/{team_id}/members/{user_id}/remove"): (
        "DELETE",
        "/admin/v1/teams/{team_id}/members/{user_id}",
    ),
    ("POST", "/admin/new/user"): ("POST", "/admin/v1/users"),
    ("POST", "/admin/users/{user_id}/edit"): ("PATCH", "/admin/v1/users/{user_id}"),
    ("POST", "/admin/users/{user_id}/delete"): ("DELETE", "/admin/v1/users/{user_id}"),
    ("POST", "/admin/new/key"): ("POST", "/admin/v1/keys"),
    ("POST", "/admin/keys/{key_id}/edit"): ("PATCH", "/admin/v1/keys/{key_id}"),
    ("POST", "/admin/keys/{key_id}/rotate"): ("POST", "/admin/v1/keys/{key_id}/rotate"),
    ("POST", "/admin/keys/{key_id}/revoke"): ("DELETE", "/admin/v1/keys/{key_id}"),
    ("POST", "/admin/new/budget"): ("POST", "/admin/v1/budgets"),
    ("POST", "/admin/budgets/{budget_id}/edit"): ("PATCH", "/admin/v1/budgets/{budget_id}"),
    ("POST", "/admin/budgets/{budget_id}/delete"): ("DELETE", "/admin/v1/budgets/{budget_id}"),
    ("POST", "/admin/local/{model:path}/start"): ("POST", "/admin/v1/local/{model:path}/start"),
    ("POST", "/admin/local/{model:path}/stop"): ("POST", "/admin/v1/local/{model:path}/stop"),
    ("GET", "/admin/usage.csv"): ("GET", "/admin/v1/usage"),
    ("GET", "/admin/audit"): ("GET", "/admin/v1/audit"),
}
# Of the browser alone.
OWN = {("POST", "/admin/login"), ("POST", "/admin/logout"), ("POST", "/admin/timezone")}


@pytest.mark.parametrize("page", SAME)
def test_it_asks_what_the_api_asks(page: tuple[str, str]) -> None:
    assert RULES[page].may == RULES[SAME[page]].may


@pytest.mark.parametrize("page", [page for page in SAME if "/new/" in page[1] or page[1].endswith(("edit", "delete"))])
def test_the_form_is_opened_by_who_may_send_it(page: tuple[str, str]) -> None:
    assert RULES["GET", page[1]].may == RULES[page].may


def test_no_form_is_forgotten() -> None:
    forms = {route for route in RULES if route[0] == "POST" and not route[1].startswith(("/admin/v1", "/v1"))}
    assert forms == {route for route in SAME if route[0] == "POST"} | OWN


@pytest.mark.parametrize("what", ["organizations", "teams", "users", "keys", "budgets", "usage", "requests"])
def test_who_may_read_there_may_read_here(what: str) -> None:
    assert RULES["GET", f"/admin/{what}"].may == RULES["GET", f"/admin/v1/{what}"].may
