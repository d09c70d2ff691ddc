"""Is every field of a file one that the admin API takes? All of them are looked at before the first change is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from gateway.admin.asked import Id, KeyAsked, TeamAsked
from gateway.admin.budget_shapes import BudgetAsked
from gateway.admin.limit_shapes import LimitsAsked
from gateway.admin.price_shapes import NewPriceAsked
from gateway.admin.tenancy_shapes import MemberAsked, OrganizationAsked, UserAsked
from gateway.cli.apply.kinds import KINDS
from gateway.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.cli.apply.wanted import Desired, Wanted


class MemberWanted(MemberAsked):
    """The team is in the address of the admin API, and beside the user in a file."""

    team_id: Id


AN_ID: Final = "id"

SHAPES: Final[Mapping[str, type[BaseModel]]] = {
    "organizations": OrganizationAsked,
    "teams": TeamAsked,
    "users": UserAsked,
    "members": MemberWanted,
    "keys": KeyAsked,
    "budgets": BudgetAsked,
    "prices": NewPriceAsked,
    "limits": LimitsAsked,
}


def checked(wanted: Desired) -> None:
    """Raises `ConfigError` with all that is wrong."""
    problems = [problem for things in wanted.values() for one in things for problem in _problems(one)]
    if problems:
        raise ConfigError(problems)


def _problems(one: Wanted) -> Iterator[Problem]:
    try:
        SHAPES[one.kind].model_validate(_with_ids(one))
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            path = tuple(found["loc"])
            named = found.get("ctx", {}).get("field")
            # What is unknown or missing stands at no place of its own: the path ends with its name.
            message = "is missing" if found["type"] == "missing" else str(found["msg"]).removeprefix(f"`{named}` ")
            yield one.problem((*path, named) if named else path, message)


def _with_ids(one: Wanted) -> dict[str, Any]:
    """Where it names another thing, a name will do, which an id need not look like; the plan finds out whose it is."""
    fields = dict(one.fields)
    for name in KINDS[one.kind].refers:
        if isinstance(fields.get(name), str):
            fields[name] = AN_ID
    scope = fields.get("scope")
    if isinstance(scope, dict) and isinstance(scope.get("team_id"), str):
        fields["scope"] = scope | {"team_id": AN_ID}
    return fields
