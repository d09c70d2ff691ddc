"""`/admin/v1/users`: people and their roles. A key of a user acts here with that role."""

from typing import Annotated

from fastapi import FastAPI, Header, Query
from starlette.responses import Response

from gateway.admin import tenancy_shapes as shapes
from gateway.admin.by import By
from gateway.admin.desks.users import UserDesk
from gateway.admin.etag import etag_of


def add(app: FastAPI, desk: UserDesk) -> None:
    @app.get("/admin/v1/users", tags=["users"])
    def list_users(by: By, asked: Annotated[shapes.UsersAsked, Query()]) -> shapes.Users:
        return desk.page(by, asked.limit, asked.after, asked.email)

    @app.post("/admin/v1/users", status_code=201, tags=["users"])
    def create_user(
        by: By, asked: shapes.UserAsked, answer: Response, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shapes.User:
        made = desk.create(by, asked, idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made

    @app.get("/admin/v1/users/{user_id}", tags=["users"])
    def get_user(by: By, user_id: str, answer: Response) -> shapes.User:
        found = desk.get(by, user_id)
        answer.headers["etag"] = etag_of(found)
        return found

    @app.patch("/admin/v1/users/{user_id}", tags=["users"])
    def update_user(
        by: By,
        user_id: str,
        change: shapes.UserChange,
        answer: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> shapes.User:
        """Of yourself you may change the name."""
        changed = desk.update(by, user_id, change, if_match)
        answer.headers["etag"] = etag_of(changed)
        return changed

    @app.delete("/admin/v1/users/{user_id}", status_code=204, tags=["users"])
    def delete_user(by: By, user_id: str, if_match: Annotated[str | None, Header()] = None) -> None:
        desk.delete(by, user_id, if_match)
