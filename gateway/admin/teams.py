"""`/admin/v1/teams`: who keys and spend belong to, and `/members`: which users are in them."""

from typing import Annotated

from fastapi import FastAPI, Header, Query
from starlette.responses import Response

from gateway.admin import shown
from gateway.admin import tenancy_shapes as shapes
from gateway.admin.asked import PageAsked, TeamAsked, TeamChange
from gateway.admin.by import By
from gateway.admin.desks.teams import TeamDesk
from gateway.admin.etag import etag_of


def add(app: FastAPI, desk: TeamDesk) -> None:
    @app.get("/admin/v1/teams", tags=["teams"])
    def list_teams(by: By, asked: Annotated[PageAsked, Query()]) -> shown.Teams:
        return desk.page(by, asked.limit, asked.after)

    @app.post("/admin/v1/teams", status_code=201, tags=["teams"])
    def create_team(
        by: By, asked: TeamAsked, answer: Response, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shown.Team:
        made = desk.create(by, asked, idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made

    @app.get("/admin/v1/teams/{team_id}", tags=["teams"])
    def get_team(by: By, team_id: str, answer: Response) -> shown.Team:
        found = desk.get(by, team_id)
        answer.headers["etag"] = etag_of(found)
        return found

    @app.patch("/admin/v1/teams/{team_id}", tags=["teams"])
    def update_team(
        by: By, team_id: str, change: TeamChange, answer: Response, if_match: Annotated[str | None, Header()] = None
    ) -> shown.Team:
        changed = desk.update(by, team_id, change, if_match)
        answer.headers["etag"] = etag_of(changed)
        return changed

    @app.delete("/admin/v1/teams/{team_id}", status_code=204, tags=["teams"])
    def delete_team(by: By, team_id: str, if_match: Annotated[str | None, Header()] = None) -> None:
        desk.delete(by, team_id, if_match)

    @app.get("/admin/v1/teams/{team_id}/members", tags=["teams"])
    def list_members(by: By, team_id: str, asked: Annotated[PageAsked, Query()]) -> shapes.Members:
        return desk.members(by, team_id, asked.limit, asked.after)

    @app.post("/admin/v1/teams/{team_id}/members", status_code=201, tags=["teams"])
    def add_member(
        by: By, team_id: str, asked: shapes.MemberAsked, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shapes.Member:
        return desk.add_member(by, team_id, asked, idempotency_key)

    @app.delete("/admin/v1/teams/{team_id}/members/{user_id}", status_code=204, tags=["teams"])
    def remove_member(by: By, team_id: str, user_id: str) -> None:
        """Their keys of that team go on working: revoke or move them."""
        desk.remove_member(by, team_id, user_id)
