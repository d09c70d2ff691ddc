"""`turnpike teams`: who keys and spend belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.cli.desk import Desk, address, find_id, rows
from gateway.cli.key_rules import rules
from gateway.cli.refusal import Refused
from gateway.cli.said import given, meant_or_none, tell, tell_all, tell_gone
from gateway.cli.situation import new_name

if TYPE_CHECKING:
    from gateway.cli.situation import Situation

COLUMNS: Final = ("id", "name", "organization_id", "created_at")


def listing(here: Situation) -> None:
    tell_all(here, list(rows(here.desk(), "teams")), COLUMNS)


def create(here: Situation) -> None:
    desk = here.desk()
    asked = {"name": new_name(here), "id": here.option("id")}
    tell(here, desk.ask("POST", address("teams"), given(asked | _change(here, desk))))


def show(here: Situation) -> None:
    desk = here.desk()
    tell(here, desk.ask("GET", address("teams", find_id(desk, "teams", here.option("team")))))


def update(here: Situation) -> None:
    desk = here.desk()
    change = given({"name": here.option("name")}) | _change(here, desk)
    if not change:
        raise Refused("nothing to change: give --name, --organization, --models, --limits, --tags, …")
    tell(here, desk.ask("PATCH", address("teams", find_id(desk, "teams", here.option("team"))), change))


def delete(here: Situation) -> None:
    desk = here.desk()
    team_id = find_id(desk, "teams", here.option("team"))
    tell_gone(here, team_id, desk.ask("DELETE", address("teams", team_id)))


def _change(here: Situation, desk: Desk) -> dict[str, Any]:
    change = rules(here)
    if (organization := here.option("organization")) is not None:
        change["organization_id"] = meant_or_none(desk, "organizations", organization)
    return change
