"""Teams: listed, made, changed, deleted; of one its members, its keys, its budgets and what it has spent."""

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin.pages.choices import named
from gateway.admin.pages.fields import MemberForm, TeamForm
from gateway.admin.pages.organizations import ID_FIELD
from gateway.admin.pages.renderer import ConfirmPage, Field, FormPage, Pages, path_of, said, zone_chosen
from gateway.admin.pages.spent import month_by, spent_in

SECTION = "teams"
UP = ("Teams", "/admin/teams")


def add(app: FastAPI, pages: Pages) -> None:
    _lists(app, pages)
    _changes(app, pages)
    _members(app, pages)


def _fields(pages: Pages, request: Request, *, new: bool) -> tuple[Field, ...]:
    live = {one.id: one.name for one in pages.loader(request).organizations(None, 1000).data}
    organization = Field("organization_id", "Organization", kind="select", options=named(live, "None"))
    return (Field("name", "Name", required=True), organization, *((ID_FIELD,) if new else ()))


def _lists(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/teams", include_in_schema=False)
    def listed(request: Request, after: str | None = None) -> Response:
        return pages.page(
            request,
            "teams.html",
            section=SECTION,
            found=pages.loader(request).teams(after),
            names=pages.loader(request).names("organizations"),
            spent=month_by(pages.loader(request), "team", zone_chosen(request)),
        )

    @app.get("/admin/teams/{team_id}", include_in_schema=False)
    def one(request: Request, team_id: str) -> Response:
        return pages.page(
            request,
            "team.html",
            section=SECTION,
            crumbs=(UP,),
            one=pages.loader(request).team(team_id),
            members=pages.loader(request).members(team_id=team_id),
            keys=pages.loader(request).keys(None, 1000, team_id).data,
            budgets=pages.loader(request).budgets_of("team", team_id),
            names=pages.loader(request).names("organizations", "teams", "users"),
            free=_free(pages, request, team_id),
            spent=spent_in(pages.loader(request), {"team_id": team_id}, zone_chosen(request)),
            now=pages.rooms.clock(),
        )


def _free(pages: Pages, request: Request, team_id: str) -> Mapping[str, str]:
    """Users who are no members yet."""
    taken = {member.user_id for member in pages.loader(request).members(team_id=team_id)}
    return {user.id: user.name for user in pages.loader(request).users(None, 1000).data if user.id not in taken}


def _changes(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/new/team", include_in_schema=False)
    def new(request: Request, organization_id: str = "") -> Response:
        return pages.new_form_page(request, _new_page(pages, request), {"organization_id": organization_id})

    @app.post("/admin/new/team", include_in_schema=False)
    def create(request: Request) -> Response:
        def act(form: TeamForm) -> str:
            return said(path_of("teams", pages.changes(request).make_team(form)), "team-made")

        return pages.submit(request, TeamForm, lambda: _new_page(pages, request), act)

    @app.get("/admin/teams/{team_id}/edit", include_in_schema=False)
    def edit(request: Request, team_id: str) -> Response:
        present = pages.loader(request).team(team_id)
        values = {"name": present.name, "organization_id": present.organization_id or ""}
        return pages.edit_form_page(request, _edit_page(pages, request, team_id), values)

    @app.post("/admin/teams/{team_id}/edit", include_in_schema=False)
    def change(request: Request, team_id: str) -> Response:
        def act(form: TeamForm) -> str:
            pages.changes(request).change_team(pages.loader(request).team(team_id), form, pages.version(request))
            return said(path_of("teams", team_id), "team-changed")

        return pages.submit(request, TeamForm, lambda: _edit_page(pages, request, team_id), act)

    @app.get("/admin/teams/{team_id}/delete", include_in_schema=False)
    def confirm(request: Request, team_id: str) -> Response:
        return pages.confirm_page(request, _ask(pages, request, team_id))

    @app.post("/admin/teams/{team_id}/delete", include_in_schema=False)
    def delete(request: Request, team_id: str) -> Response:
        def act() -> str:
            pages.changes(request).delete_team(team_id)
            return said("/admin/teams", "team-gone")

        return pages.confirmed(request, lambda: _ask(pages, request, team_id), act)


def _members(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/teams/{team_id}/members", include_in_schema=False)
    def new_member(request: Request, team_id: str) -> Response:
        return pages.new_form_page(request, _member_page(pages, request, team_id))

    @app.post("/admin/teams/{team_id}/members", include_in_schema=False)
    def add_member(request: Request, team_id: str) -> Response:
        def act(form: MemberForm) -> str:
            pages.changes(request).add_member(team_id, form.user_id)
            return said(path_of("teams", team_id), "member-made")

        return pages.submit(request, MemberForm, lambda: _member_page(pages, request, team_id), act)

    @app.get("/admin/teams/{team_id}/members/{user_id}/remove", include_in_schema=False)
    def confirm_removal(request: Request, team_id: str, user_id: str) -> Response:
        return pages.confirm_page(request, _ask_removal(pages, request, team_id, user_id))

    @app.post("/admin/teams/{team_id}/members/{user_id}/remove", include_in_schema=False)
    def remove(request: Request, team_id: str, user_id: str) -> Response:
        def act() -> str:
            pages.changes(request).remove_member(team_id, user_id)
            return said(path_of("teams", team_id), "member-gone")

        return pages.confirmed(request, lambda: _ask_removal(pages, request, team_id, user_id), act)


def _new_page(pages: Pages, request: Request) -> FormPage:
    return FormPage(
        SECTION,
        "New team",
        (UP,),
        "/admin/new/team",
        _fields(pages, request, new=True),
        "Create team",
        "/admin/teams",
        "Keys belong to a team, and so does what they spend.",
    )


def _edit_page(pages: Pages, request: Request, team_id: str) -> FormPage:
    present = pages.loader(request).team(team_id)
    here = path_of("teams", team_id)
    return FormPage(
        SECTION,
        "Change team",
        (UP, (present.name, here)),
        f"{here}/edit",
        _fields(pages, request, new=False),
        "Save",
        here,
        hidden={"version": str(present.version)},
    )


def _ask(pages: Pages, request: Request, team_id: str) -> ConfirmPage:
    present = pages.loader(request).team(team_id)
    here = path_of("teams", team_id)
    return ConfirmPage(
        SECTION,
        f"Delete {present.name}?",
        (UP, (present.name, here)),
        f"{here}/delete",
        (
            "It leaves every list, and its members leave it. What it spent stays in the ledger.",
            "A team whose keys still work is not deleted: revoke or move them first.",
        ),
        "Delete team",
        here,
    )


def _ask_removal(pages: Pages, request: Request, team_id: str, user_id: str) -> ConfirmPage:
    team, user = pages.loader(request).team(team_id), pages.loader(request).user(user_id)
    here = path_of("teams", team_id)
    return ConfirmPage(
        SECTION,
        f"Remove {user.name} from {team.name}?",
        (UP, (team.name, here)),
        path_of("teams", team_id, "members", user_id, "remove"),
        ("Keys of this user in the team go on working: revoke or move them one by one.",),
        "Remove member",
        here,
    )


def _member_page(pages: Pages, request: Request, team_id: str) -> FormPage:
    here = path_of("teams", team_id)
    return FormPage(
        SECTION,
        "Add a member",
        (UP, (pages.loader(request).team(team_id).name, here)),
        f"{here}/members",
        (Field("user_id", "User", kind="select", options=named(_free(pages, request, team_id)), required=True),),
        "Add member",
        here,
    )
