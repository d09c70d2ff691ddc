"""`/admin/v1/limits`: requests and tokens a minute, and requests at once, of models, for everybody together."""

from typing import Annotated

from fastapi import FastAPI, Header, Query
from starlette.responses import Response

from gateway.admin import limit_shapes as shapes
from gateway.admin.asked import PageAsked
from gateway.admin.by import By
from gateway.admin.desks.limits import LimitDesk
from gateway.admin.etag import etag_of


def add(app: FastAPI, desk: LimitDesk) -> None:
    @app.get("/admin/v1/limits", tags=["limits"])
    def list_limits(asked: Annotated[PageAsked, Query()]) -> shapes.ModelLimitsPage:
        return desk.page(asked.limit, asked.after)

    @app.post("/admin/v1/limits", status_code=201, tags=["limits"])
    def create_limits(
        by: By, asked: shapes.LimitsAsked, answer: Response, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shapes.LimitsOfModel:
        """`model` is a name or a pattern; all models that it matches share the limit."""
        made = desk.create(by, asked, idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made

    @app.get("/admin/v1/limits/{model:path}", tags=["limits"])
    def get_limits(model: str, answer: Response) -> shapes.LimitsOfModel:
        found = desk.get(model)
        answer.headers["etag"] = etag_of(found)
        return found

    @app.patch("/admin/v1/limits/{model:path}", tags=["limits"])
    def update_limits(
        by: By,
        model: str,
        change: shapes.LimitsChange,
        answer: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> shapes.LimitsOfModel:
        changed = desk.update(by, model, change, if_match)
        answer.headers["etag"] = etag_of(changed)
        return changed

    @app.delete("/admin/v1/limits/{model:path}", status_code=204, tags=["limits"])
    def delete_limits(by: By, model: str, if_match: Annotated[str | None, Header()] = None) -> None:
        desk.delete(by, model, if_match)
