"""Organizations: listed, made, renamed, deleted; of one its teams, its people and its budgets."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin.pages.fields import OrganizationForm
from gateway.admin.pages.renderer import ConfirmPage, Field, FormPage, Pages, path_of, said

SECTION = "organizations"
UP = ("Organizations", "/admin/organizations")
ID_FIELD = Field("id", "Id", "Leave it empty to have one made. It stays for ever.", mono=True)
NEW = FormPage(
    SECTION,
    "New organization",
    (UP,),
    "/admin/new/organization",
    (Field("name", "Name", required=True), ID_FIELD),
    "Create organization",
    "/admin/organizations",
    "An organization holds teams and people, and is the widest scope that a budget may have.",
)


def add(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/organizations", include_in_schema=False)
    def listed(request: Request, after: str | None = None) -> Response:
        found = pages.loader(request).organizations(after)
        return pages.page(request, "organizations.html", section=SECTION, found=found)

    @app.get("/admin/new/organization", include_in_schema=False)
    def new(request: Request) -> Response:
        return pages.new_form_page(request, NEW)

    @app.post("/admin/new/organization", include_in_schema=False)
    def create(request: Request) -> Response:
        def act(form: OrganizationForm) -> str:
            made = pages.changes(request).make_organization(form)
            return said(path_of("organizations", made), "organization-made")

        return pages.submit(request, OrganizationForm, lambda: NEW, act)

    @app.get("/admin/organizations/{organization_id}", include_in_schema=False)
    def one(request: Request, organization_id: str) -> Response:
        return pages.page(
            request,
            "organization.html",
            section=SECTION,
            crumbs=(UP,),
            one=pages.loader(request).organization(organization_id),
            teams=pages.loader(request).teams(None, 1000, organization_id).data,
            users=pages.loader(request).users(None, 1000, organization_id).data,
            budgets=pages.loader(request).budgets_of("organization", organization_id),
            names=pages.loader(request).names("organizations"),
        )

    @app.get("/admin/organizations/{organization_id}/edit", include_in_schema=False)
    def edit(request: Request, organization_id: str) -> Response:
        name = pages.loader(request).organization(organization_id).name
        return pages.edit_form_page(request, _edit_page(pages, request, organization_id), {"name": name})

    @app.post("/admin/organizations/{organization_id}/edit", include_in_schema=False)
    def change(request: Request, organization_id: str) -> Response:
        def act(form: OrganizationForm) -> str:
            pages.changes(request).change_organization(organization_id, form, pages.version(request))
            return said(path_of("organizations", organization_id), "organization-changed")

        return pages.submit(request, OrganizationForm, lambda: _edit_page(pages, request, organization_id), act)

    @app.get("/admin/organizations/{organization_id}/delete", include_in_schema=False)
    def confirm(request: Request, organization_id: str) -> Response:
        return pages.confirm_page(request, _ask(pages, request, organization_id))

    @app.post("/admin/organizations/{organization_id}/delete", include_in_schema=False)
    def delete(request: Request, organization_id: str) -> Response:
        def act() -> str:
            pages.changes(request).delete_organization(organization_id)
            return said("/admin/organizations", "organization-gone")

        return pages.confirmed(request, lambda: _ask(pages, request, organization_id), act)


def _edit_page(pages: Pages, request: Request, organization_id: str) -> FormPage:
    present = pages.loader(request).organization(organization_id)
    here = path_of("organizations", organization_id)
    return FormPage(
        SECTION,
        "Change organization",
        (UP, (present.name, here)),
        f"{here}/edit",
        (Field("name", "Name", required=True),),
        "Save",
        here,
        hidden={"version": str(present.version)},
    )


def _ask(pages: Pages, request: Request, organization_id: str) -> ConfirmPage:
    present = pages.loader(request).organization(organization_id)
    here = path_of("organizations", organization_id)
    return ConfirmPage(
        SECTION,
        f"Delete {present.name}?",
        (UP, (present.name, here)),
        f"{here}/delete",
        ("It leaves every list. What it spent stays in the ledger, and reports still name it.",),
        "Delete organization",
        here,
    )
