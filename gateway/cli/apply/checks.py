"""Is every field of a file one that the admin API takes? All of them are looked at before the first change is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ValidationError

from gateway.admin.asked import Id, KeyAsked, TeamAsked
from gateway.admin.budget_shapes import BudgetAsked
from gateway.admin.limit_shapes import LimitsAsked
from gateway.admin.price_shapes import NewPriceAsked
from gateway.admin.tenancy_shapes import MemberAsked, OrganizationAsked, UserAsked
from gateway.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.cli.apply.wanted import Desired, Wanted


class MemberWanted(MemberAsked):
    """The team is in the address of the admin API, and beside the user in a file."""

    team_id: Id


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
        SHAPES[one.kind].model_validate(one.fields, strict=False)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            path = tuple(found["loc"])
            named = found.get("ctx", {}).get("field")
            # What is unknown or missing stands at no place of its own: the path ends with its name.
            yield one.problem((*path, named) if named else path, _said(found["type"], str(found["msg"])))


def _said(kind: str, message: str) -> str:
    return "is missing" if kind == "missing" else message
