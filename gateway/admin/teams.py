"""`/admin/v1/teams`: who keys and spend belong to."""

from typing import Annotated

from fastapi import FastAPI, Header, Query
from starlette.responses import Response

from gateway.admin import shown
from gateway.admin.asked import PageAsked, TeamAsked, TeamChange
from gateway.admin.desk import Desk
from gateway.admin.etag import etag_of


def add(app: FastAPI, desk: Desk) -> None:
    @app.get("/admin/v1/teams", tags=["teams"])
    def list_teams(asked: Annotated[PageAsked, Query()]) -> shown.Teams:
        return desk.teams(asked.limit, asked.after)

    @app.post("/admin/v1/teams", status_code=201, tags=["teams"])
    def create_team(
        asked: TeamAsked, answer: Response, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shown.Team:
        made = desk.create_team(asked, idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made

    @app.get("/admin/v1/teams/{team_id}", tags=["teams"])
    def get_team(team_id: str, answer: Response) -> shown.Team:
        found = desk.team(team_id)
        answer.headers["etag"] = etag_of(found)
        return found

    @app.patch("/admin/v1/teams/{team_id}", tags=["teams"])
    def update_team(
        team_id: str, change: TeamChange, answer: Response, if_match: Annotated[str | None, Header()] = None
    ) -> shown.Team:
        changed = desk.update_team(team_id, change, if_match)
        answer.headers["etag"] = etag_of(changed)
        return changed

    @app.delete("/admin/v1/teams/{team_id}", status_code=204, tags=["teams"])
    def delete_team(team_id: str, if_match: Annotated[str | None, Header()] = None) -> None:
        desk.delete_team(team_id, if_match)
