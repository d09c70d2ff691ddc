"""People: listed, made, changed, deleted; of one the teams, the keys and the budgets."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin.pages.choices import ROLES, named
from gateway.admin.pages.fields import UserForm
from gateway.admin.pages.renderer import ConfirmPage, Field, FormPage, Pages, path_of, said, zone_chosen
from gateway.admin.pages.spent import spent_in

SECTION = "users"
UP = ("Users", "/admin/users")


def add(app: FastAPI, pages: Pages) -> None:
    _lists(app, pages)
    _changes(app, pages)


def _fields(pages: Pages, request: Request) -> tuple[Field, ...]:
    live = {one.id: one.name for one in pages.loader(request).organizations(None, 1000).data}
    return (
        Field("name", "Name", required=True),
        Field("email", "E-mail", kind="email", required=True),
        Field("role", "Role", "What they, and keys of theirs, may do here.", "select", ROLES, required=True),
        Field(
            "organization_id",
            "Organization",
            "Who belongs to one sees nothing of the others.",
            "select",
            named(live, "None"),
        ),
    )


def _lists(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/users", include_in_schema=False)
    def listed(request: Request, after: str | None = None) -> Response:
        found, names = pages.loader(request).users(after), pages.loader(request).names("organizations")
        return pages.page(request, "users.html", section=SECTION, found=found, names=names)

    @app.get("/admin/users/{user_id}", include_in_schema=False)
    def one(request: Request, user_id: str) -> Response:
        return pages.page(
            request,
            "user.html",
            section=SECTION,
            crumbs=(UP,),
            one=pages.loader(request).user(user_id),
            members=pages.loader(request).members(user_id=user_id),
            keys=pages.loader(request).keys(None, 1000, None, user_id).data,
            budgets=pages.loader(request).budgets_of("user", user_id),
            names=pages.loader(request).names("organizations", "teams", "users"),
            spent=spent_in(pages.loader(request), {"user_id": user_id}, zone_chosen(request)),
            now=pages.rooms.clock(),
        )


def _changes(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/new/user", include_in_schema=False)
    def new(request: Request, organization_id: str = "") -> Response:
        return pages.new_form_page(
            request, _new_page(pages, request), {"organization_id": organization_id, "role": "member"}
        )

    @app.post("/admin/new/user", include_in_schema=False)
    def create(request: Request) -> Response:
        def act(form: UserForm) -> str:
            return said(path_of("users", pages.changes(request).make_user(form)), "user-made")

        return pages.submit(request, UserForm, lambda: _new_page(pages, request), act)

    @app.get("/admin/users/{user_id}/edit", include_in_schema=False)
    def edit(request: Request, user_id: str) -> Response:
        present = pages.loader(request).user(user_id)
        values = {
            "name": present.name,
            "email": present.email,
            "role": present.role,
            "organization_id": present.organization_id or "",
        }
        return pages.edit_form_page(request, _edit_page(pages, request, user_id), values)

    @app.post("/admin/users/{user_id}/edit", include_in_schema=False)
    def change(request: Request, user_id: str) -> Response:
        def act(form: UserForm) -> str:
            pages.changes(request).change_user(pages.loader(request).user(user_id), form, pages.version(request))
            return said(path_of("users", user_id), "user-changed")

        return pages.submit(request, UserForm, lambda: _edit_page(pages, request, user_id), act)

    @app.get("/admin/users/{user_id}/delete", include_in_schema=False)
    def confirm(request: Request, user_id: str) -> Response:
        return pages.confirm_page(request, _ask(pages, request, user_id))

    @app.post("/admin/users/{user_id}/delete", include_in_schema=False)
    def delete(request: Request, user_id: str) -> Response:
        def act() -> str:
            pages.changes(request).delete_user(user_id)
            return said("/admin/users", "user-gone")

        return pages.confirmed(request, lambda: _ask(pages, request, user_id), act)


def _new_page(pages: Pages, request: Request) -> FormPage:
    fields = _fields(pages, request)
    return FormPage(SECTION, "New user", (UP,), "/admin/new/user", fields, "Create user", "/admin/users")


def _edit_page(pages: Pages, request: Request, user_id: str) -> FormPage:
    present = pages.loader(request).user(user_id)
    here = path_of("users", user_id)
    return FormPage(
        SECTION,
        "Change user",
        (UP, (present.name, here)),
        f"{here}/edit",
        _fields(pages, request),
        "Save",
        here,
        hidden={"version": str(present.version)},
    )


def _ask(pages: Pages, request: Request, user_id: str) -> ConfirmPage:
    present = pages.loader(request).user(user_id)
    here = path_of("users", user_id)
    return ConfirmPage(
        SECTION,
        f"Delete {present.name}?",
        (UP, (present.name, here)),
        f"{here}/delete",
        (
            "They leave every list and every team. What they spent stays in the ledger.",
            "A user whose keys still work is not deleted: revoke or move them first.",
        ),
        "Delete user",
        here,
    )
