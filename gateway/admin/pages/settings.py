"""What a reader chooses for this browser alone: the time zone that times are shown in."""

from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin.pages.fields import ZoneForm
from gateway.admin.pages.renderer import Field, FormPage, Pages, cookie_path, said, to, zone_chosen
from gateway.admin.pages.zone import COOKIE, COOKIE_S_MAX, known_zones

_FORM: Final = FormPage(
    "",
    "Time zone",
    (),
    "/admin/timezone",
    (
        Field(
            "timezone",
            "Show times in",
            "This browser alone. Budgets keep their own.",
            options=tuple((zone, "") for zone in known_zones()),
            required=True,
        ),
    ),
    "Save",
    "/admin",
)


def add(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/timezone", include_in_schema=False)
    def choose(request: Request) -> Response:
        return pages.edit_form_page(request, _FORM, {"timezone": zone_chosen(request).key})

    @app.post("/admin/timezone", include_in_schema=False)
    def chosen(request: Request) -> Response:
        def act(form: ZoneForm) -> Response:
            answer = to(request, said("/admin", "zone-changed"))
            answer.set_cookie(
                COOKIE,
                form.timezone,
                max_age=COOKIE_S_MAX,
                path=cookie_path(request),
                secure=request.url.scheme == "https",
                httponly=True,
                samesite="strict",
            )
            return answer

        return pages.submit(request, ZoneForm, lambda: _FORM, act)
