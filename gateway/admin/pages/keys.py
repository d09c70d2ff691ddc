"""Keys: listed, made, changed, rotated, revoked. A secret is on the answer to its making, once, and nowhere else."""

from collections import OrderedDict
from threading import Lock
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin import shown
from gateway.admin.pages import views
from gateway.admin.pages.changes import RATES
from gateway.admin.pages.choices import OVERLAPS, named
from gateway.admin.pages.fields import KeyForm, RotationForm
from gateway.admin.pages.figures import local
from gateway.admin.pages.renderer import ConfirmPage, Field, FormPage, Pages, path_of, said, zone_chosen
from gateway.admin.pages.spent import month_by, spent_in

SECTION = "keys"
UP = ("Keys", "/admin/keys")
SHOWN_MAX: Final = 1000


class ShownOnce:
    """Which forms have had their secret: a page that is loaded anew sends its form again, and shows none."""

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._seen: Final[OrderedDict[str, None]] = OrderedDict()

    def first(self, once: str | None) -> bool:
        if once is None:
            return True
        with self._lock:
            if once in self._seen:
                return False
            self._seen[once] = None
            while len(self._seen) > SHOWN_MAX:
                self._seen.popitem(last=False)
            return True


def add(app: FastAPI, pages: Pages) -> None:
    secrets = ShownOnce()
    _lists(app, pages)
    _making(app, pages, secrets)
    _changing(app, pages)
    _rotating(app, pages, secrets)
    _revoking(app, pages)


def _lists(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/keys", include_in_schema=False)
    def listed(request: Request, after: str | None = None, team_id: str | None = None) -> Response:
        return pages.page(
            request,
            "keys.html",
            section=SECTION,
            found=pages.loader(request).keys(after, team_id=team_id or None),
            team_id=team_id or "",
            names=pages.loader(request).names("teams", "users"),
            spent=month_by(pages.loader(request), "key", zone_chosen(request)),
            now=pages.rooms.clock(),
        )

    @app.get("/admin/keys/{key_id}", include_in_schema=False)
    def one(request: Request, key_id: str) -> Response:
        return pages.page(
            request,
            "key.html",
            section=SECTION,
            crumbs=(UP,),
            one=pages.loader(request).key(key_id),
            budgets=pages.loader(request).budgets_of("key", key_id),
            names=pages.loader(request).names("teams", "users", key_ids=[key_id]),
            spent=spent_in(pages.loader(request), {"key_id": key_id}, zone_chosen(request)),
            now=pages.rooms.clock(),
        )


def _fields(pages: Pages, request: Request, timezone: str) -> tuple[Field, ...]:
    teams = {one.id: one.name for one in pages.loader(request).teams(None, 1000).data}
    users = {one.id: one.name for one in pages.loader(request).users(None, 1000).data}
    return (
        Field("name", "Name", "What it is for, as others will know it.", required=True),
        Field("team_id", "Team", "What the key spends is the team's.", "select", named(teams, "None")),
        Field("user_id", "User", "A key of a user acts with that user's role.", "select", named(users, "None")),
        Field(
            "models_allowed",
            "Models",
            "One a line, as openai/gpt-5-mini or openai/*. Empty: all of them.",
            "area",
            mono=True,
        ),
        Field("expires_at", "Works until", f"In {timezone}. Empty: it never expires.", "datetime-local"),
        Field("requests_per_minute", "Requests a minute", "Empty: as many as they like.", "number"),
        Field("tokens_per_minute", "Tokens a minute", "", "number"),
        Field("concurrency_max", "Requests at once", "", "number"),
    )


def _with_secret(pages: Pages, request: Request, made: shown.NewKey, what: str) -> Response:
    return pages.page(
        request,
        "secret.html",
        201,
        section=SECTION,
        crumbs=(UP, (made.name, path_of("keys", made.id))),
        one=made,
        what=what,
    )


def _making(app: FastAPI, pages: Pages, secrets: ShownOnce) -> None:
    @app.get("/admin/new/key", include_in_schema=False)
    def new(request: Request, team_id: str = "", user_id: str = "") -> Response:
        form = _new_page(pages, request, zone_chosen(request).key)
        return pages.new_form_page(request, form, {"team_id": team_id, "user_id": user_id})

    @app.post("/admin/new/key", include_in_schema=False)
    def create(request: Request) -> Response:
        timezone = zone_chosen(request).key

        def act(form: KeyForm) -> str | Response:
            made = pages.changes(request).make_key(form, timezone)
            if not secrets.first(pages.once(request)):
                return said(path_of("keys", made.id), "key-shown")
            return _with_secret(pages, request, made, "is made")

        return pages.submit(request, KeyForm, lambda: _new_page(pages, request, timezone), act)


def _changing(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/keys/{key_id}/edit", include_in_schema=False)
    def edit(request: Request, key_id: str) -> Response:
        zone = zone_chosen(request)
        present = pages.loader(request).key(key_id)
        until = present.expires_at_us
        values = {
            "name": present.name,
            "team_id": present.team_id or "",
            "user_id": present.user_id or "",
            "models_allowed": "\n".join(present.models_allowed),
            "expires_at": "" if until is None else local(until, zone).strftime("%Y-%m-%dT%H:%M"),
            **{name: _limit_text(present, name) for name in RATES},
        }
        return pages.edit_form_page(request, _edit_page(pages, request, key_id, zone.key), values)

    @app.post("/admin/keys/{key_id}/edit", include_in_schema=False)
    def change(request: Request, key_id: str) -> Response:
        timezone = zone_chosen(request).key

        def act(form: KeyForm) -> str:
            pages.changes(request).change_key(pages.loader(request).key(key_id), form, timezone, pages.version(request))
            return said(path_of("keys", key_id), "key-changed")

        return pages.submit(request, KeyForm, lambda: _edit_page(pages, request, key_id, timezone), act)


def _limit_text(key: views.Key, name: str) -> str:
    limit = key.limits.get(name)
    return "" if limit is None else str(limit)


def _rotating(app: FastAPI, pages: Pages, secrets: ShownOnce) -> None:
    @app.get("/admin/keys/{key_id}/rotate", include_in_schema=False)
    def new_secret(request: Request, key_id: str) -> Response:
        return pages.new_form_page(request, _rotate_page(pages, request, key_id), {"overlap_s": "86400"})

    @app.post("/admin/keys/{key_id}/rotate", include_in_schema=False)
    def rotate(request: Request, key_id: str) -> Response:
        def act(form: RotationForm) -> str | Response:
            made = pages.changes(request).rotate_key(key_id, form.overlap_s)
            if not secrets.first(pages.once(request)):
                return said(path_of("keys", made.id), "key-shown")
            return _with_secret(pages, request, made, "has a new secret")

        return pages.submit(request, RotationForm, lambda: _rotate_page(pages, request, key_id), act)


def _revoking(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/keys/{key_id}/revoke", include_in_schema=False)
    def confirm(request: Request, key_id: str) -> Response:
        return pages.confirm_page(request, _ask(pages, request, key_id))

    @app.post("/admin/keys/{key_id}/revoke", include_in_schema=False)
    def revoke(request: Request, key_id: str) -> Response:
        def act() -> str:
            pages.changes(request).revoke_key(key_id)
            return said(path_of("keys", key_id), "key-revoked")

        return pages.confirmed(request, lambda: _ask(pages, request, key_id), act)


def _new_page(pages: Pages, request: Request, timezone: str) -> FormPage:
    return FormPage(
        SECTION,
        "New key",
        (UP,),
        "/admin/new/key",
        _fields(pages, request, timezone),
        "Create key",
        "/admin/keys",
        "The secret is shown once, on the next page.",
    )


def _edit_page(pages: Pages, request: Request, key_id: str, timezone: str) -> FormPage:
    present = pages.loader(request).key(key_id)
    here = path_of("keys", key_id)
    return FormPage(
        SECTION,
        "Change key",
        (UP, (present.name, here)),
        f"{here}/edit",
        _fields(pages, request, timezone),
        "Save",
        here,
        hidden={"version": str(present.version)},
    )


def _ask(pages: Pages, request: Request, key_id: str) -> ConfirmPage:
    present = pages.loader(request).key(key_id)
    here = path_of("keys", key_id)
    return ConfirmPage(
        SECTION,
        f"Revoke {present.name}?",
        (UP, (present.name, here)),
        f"{here}/revoke",
        (
            f"Every request with a secret of this key, {present.prefix}-…, is refused from now on.",
            "A revoked key never works again. It stays in the list, so that reports name it.",
        ),
        "Revoke key",
        here,
    )


def _rotate_page(pages: Pages, request: Request, key_id: str) -> FormPage:
    present = pages.loader(request).key(key_id)
    here = path_of("keys", key_id)
    return FormPage(
        SECTION,
        f"Rotate {present.name}",
        (UP, (present.name, here)),
        f"{here}/rotate",
        (Field("overlap_s", "The secret before is to", kind="select", options=OVERLAPS, required=True),),
        "Rotate key",
        here,
        "The key gets a new secret, which is shown once, on the next page. Everything else about it stays.",
    )
