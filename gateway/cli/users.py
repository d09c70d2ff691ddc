"""`turnpike users`: people, and the role in which each acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.cli.desk import Desk, address, find_id, rows
from gateway.cli.refusal import Refused
from gateway.cli.said import given, meant_or_none, tell, tell_all, tell_gone

if TYPE_CHECKING:
    from gateway.cli.situation import Situation

ROOM: Final = "users"
COLUMNS: Final = ("id", "name", "email", "role", "organization_id", "created_at")


def listing(here: Situation) -> None:
    tell_all(here, list(rows(here.desk(), ROOM)), COLUMNS)


def create(here: Situation) -> None:
    desk = here.desk()
    email = here.option("email")
    asked = {"name": here.option("name") or email, "email": email, "id": here.option("id")}
    tell(here, desk.ask("POST", address(ROOM), given(asked | _change(here, desk))))


def show(here: Situation) -> None:
    desk = here.desk()
    tell(here, desk.ask("GET", address(ROOM, find_id(desk, ROOM, here.option("user")))))


def update(here: Situation) -> None:
    desk = here.desk()
    change = given({"name": here.option("name"), "email": here.option("email")}) | _change(here, desk)
    if not change:
        raise Refused("nothing to change: give --name, --email, --role or --organization")
    tell(here, desk.ask("PATCH", address(ROOM, find_id(desk, ROOM, here.option("user"))), change))


def delete(here: Situation) -> None:
    desk = here.desk()
    user_id = find_id(desk, ROOM, here.option("user"))
    tell_gone(here, user_id, desk.ask("DELETE", address(ROOM, user_id)))


def _change(here: Situation, desk: Desk) -> dict[str, Any]:
    change = given({"role": here.option("role")})
    if (organization := here.option("organization")) is not None:
        change["organization_id"] = meant_or_none(desk, "organizations", organization)
    return change
