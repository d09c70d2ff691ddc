"""`turnpike teams`: who keys and spend belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.cli.desk import address, find_id, rows
from gateway.cli.refusal import Refused
from gateway.cli.situation import new_name
from gateway.cli.tables import fields, json_text, listing_json, table

if TYPE_CHECKING:
    from gateway.cli.situation import Situation

COLUMNS: Final = ("id", "name", "organization_id", "created_at")
NONE: Final = "none"


def listing(here: Situation) -> None:
    found = list(rows(here.desk(), "teams"))
    print(listing_json(found) if here.option("json") else table(found, COLUMNS))


def create(here: Situation) -> None:
    asked = {"name": new_name(here), "id": here.option("id"), "organization_id": here.option("organization")}
    made = here.desk().ask(
        "POST", address("teams"), {name: value for name, value in asked.items() if value is not None}
    )
    print(json_text(made) if here.option("json") else fields(made))


def show(here: Situation) -> None:
    desk = here.desk()
    found = desk.ask("GET", address("teams", find_id(desk, "teams", here.option("team"))))
    print(json_text(found) if here.option("json") else fields(found))


def update(here: Situation) -> None:
    change: dict[str, object] = {}
    if here.option("name") is not None:
        change["name"] = here.option("name")
    if here.option("organization") is not None:
        change["organization_id"] = None if here.option("organization") == NONE else here.option("organization")
    if not change:
        raise Refused("nothing to change: give --name or --organization")
    desk = here.desk()
    changed = desk.ask("PATCH", address("teams", find_id(desk, "teams", here.option("team"))), change)
    print(json_text(changed) if here.option("json") else fields(changed))


def delete(here: Situation) -> None:
    desk = here.desk()
    team_id = find_id(desk, "teams", here.option("team"))
    desk.ask("DELETE", address("teams", team_id))
    print(json_text({"id": team_id, "deleted": True}) if here.option("json") else f"deleted {team_id}")
