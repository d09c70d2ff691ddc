"""`/admin/v1/organizations`: whom teams and users belong to."""

from typing import Annotated

from fastapi import FastAPI, Header, Query
from starlette.responses import Response

from gateway.admin import tenancy_shapes as shapes
from gateway.admin.asked import PageAsked
from gateway.admin.by import By
from gateway.admin.desks.organizations import OrganizationDesk
from gateway.admin.etag import etag_of


def add(app: FastAPI, desk: OrganizationDesk) -> None:
    @app.get("/admin/v1/organizations", tags=["organizations"])
    def list_organizations(by: By, asked: Annotated[PageAsked, Query()]) -> shapes.Organizations:
        return desk.page(by, asked.limit, asked.after)

    @app.post("/admin/v1/organizations", status_code=201, tags=["organizations"])
    def create_organization(
        by: By,
        asked: shapes.OrganizationAsked,
        answer: Response,
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> shapes.Organization:
        made = desk.create(by, asked, idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made

    @app.get("/admin/v1/organizations/{organization_id}", tags=["organizations"])
    def get_organization(by: By, organization_id: str, answer: Response) -> shapes.Organization:
        found = desk.get(by, organization_id)
        answer.headers["etag"] = etag_of(found)
        return found

    @app.patch("/admin/v1/organizations/{organization_id}", tags=["organizations"])
    def update_organization(
        by: By,
        organization_id: str,
        change: shapes.OrganizationChange,
        answer: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> shapes.Organization:
        changed = desk.update(by, organization_id, change, if_match)
        answer.headers["etag"] = etag_of(changed)
        return changed

    @app.delete("/admin/v1/organizations/{organization_id}", status_code=204, tags=["organizations"])
    def delete_organization(by: By, organization_id: str, if_match: Annotated[str | None, Header()] = None) -> None:
        """Only one that nobody belongs to any more."""
        desk.delete(by, organization_id, if_match)
