"""`turnpike members`: which users are of which team."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.cli.desk import address, find_id, rows
from gateway.cli.said import tell, tell_all, tell_gone

if TYPE_CHECKING:
    from gateway.cli.situation import Situation

COLUMNS: Final = ("team_id", "user_id", "name", "email", "role", "created_at")


def listing(here: Situation) -> None:
    desk = here.desk()
    team = here.option("team")
    teams = [find_id(desk, "teams", team)] if team else [row["id"] for row in rows(desk, "teams")]
    tell_all(here, [row for team_id in teams for row in rows(desk, "teams", team_id, "members")], COLUMNS)


def create(here: Situation) -> None:
    desk = here.desk()
    team_id, user_id = find_id(desk, "teams", here.option("team")), find_id(desk, "users", here.option("user"))
    tell(here, desk.ask("POST", address("teams", team_id, "members"), {"user_id": user_id}))


def delete(here: Situation) -> None:
    desk = here.desk()
    team_id, user_id = find_id(desk, "teams", here.option("team")), find_id(desk, "users", here.option("user"))
    answer = desk.ask("DELETE", address("teams", team_id, "members", user_id))
    tell_gone(here, f"{user_id} from {team_id}", answer)
