"""`turnpike organizations`: whose teams and users there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.cli.desk import address, find_id, rows
from gateway.cli.refusal import Refused
from gateway.cli.said import given, tell, tell_all, tell_gone
from gateway.cli.situation import new_name

if TYPE_CHECKING:
    from gateway.cli.situation import Situation

ROOM: Final = "organizations"
COLUMNS: Final = ("id", "name", "created_at")


def listing(here: Situation) -> None:
    tell_all(here, list(rows(here.desk(), ROOM)), COLUMNS)


def create(here: Situation) -> None:
    asked = given({"name": new_name(here), "id": here.option("id")})
    tell(here, here.desk().ask("POST", address(ROOM), asked))


def show(here: Situation) -> None:
    desk = here.desk()
    tell(here, desk.ask("GET", address(ROOM, find_id(desk, ROOM, here.option("organization")))))


def update(here: Situation) -> None:
    if here.option("name") is None:
        raise Refused("nothing to change: give --name")
    desk = here.desk()
    where = address(ROOM, find_id(desk, ROOM, here.option("organization")))
    tell(here, desk.ask("PATCH", where, {"name": here.option("name")}))


def delete(here: Situation) -> None:
    desk = here.desk()
    one_id = find_id(desk, ROOM, here.option("organization"))
    tell_gone(here, one_id, desk.ask("DELETE", address(ROOM, one_id)))
