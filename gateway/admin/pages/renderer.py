"""Every page is rendered here: the frame, the zone that times are read in, the headers that keep it in its origin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from billing.store import AlreadyExists, Conflict, Invalid, NotFound, Stale
from gateway.admin import session
from gateway.admin.desks.all_desks import Desks
from gateway.admin.door import Caller, Door, Who
from gateway.admin.filters import FILTERS
from gateway.admin.local import Local
from gateway.admin.pages.changes import Changes
from gateway.admin.pages.forms import Filled, Sheet, Wrong, read, refused, shown_again
from gateway.admin.pages.loader import Loader
from gateway.admin.pages.said import SAID
from gateway.admin.pages.words import WORDS
from gateway.admin.pages.zone import COOKIE as ZONE_COOKIE
from gateway.admin.pages.zone import UTC, zone_of
from gateway.admin.problem import KINDS, Problem
from gateway.admin.rooms import AdminRooms
from gateway.admin.rules import RULES, Reach

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES: Final = Path(__file__).parent.parent / "templates"
SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: under it a browser sends our own forms with `Origin: null`.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_STALE: Final = "Somebody changed this since you opened the form: open it again to see how it is now."
Crumbs = Sequence[tuple[str, str]]  # text and path, from the top down to the page above this one


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    label: str
    hint: str = ""
    kind: str = "text"  # an `input`'s type, or `area`, `select`
    options: Sequence[tuple[str, str]] = ()  # of a select; of an input, what it suggests
    required: bool = False
    mono: bool = False


@dataclass(frozen=True, slots=True)
class FormPage:
    section: str
    title: str
    crumbs: Crumbs
    action: str
    fields: Sequence[Field]
    submit: str
    cancel: str
    intro: str = ""
    hidden: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ConfirmPage:
    """Asked before what cannot be taken back."""

    section: str
    title: str
    crumbs: Crumbs
    action: str
    sentences: Sequence[str]
    submit: str
    cancel: str


class Pages:
    def __init__(self, rooms: AdminRooms, desks: Desks, door: Door, local: Local) -> None:
        self.rooms: Final = rooms
        self.desks: Final = desks
        self.door: Final = door
        self.local: Final = local

    def loader(self, request: Request) -> Loader:
        return Loader(self.rooms, self.desks, request.state.caller)

    def changes(self, request: Request) -> Changes:
        return Changes(self.desks, request.state.caller, self.once(request))

    @cached_property
    def templates(self) -> "Environment":
        # Jinja is imported by the first page, not by the start of a gateway whose page nobody opens.
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

        found = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        found.filters.update(FILTERS)
        found.filters.update(WORDS)
        return found

    def page(self, request: Request, template: str, status: int = 200, **words: Any) -> Response:
        caller: Caller = getattr(request.state, "caller", Caller(Who.NOBODY))
        signed_in = caller.who is Who.SESSION and caller.session is not None
        frame = {
            "root": request.scope.get("root_path", ""),
            "form_token": session.form_token(caller.session, self.door.key) if signed_in and caller.session else "",
            "zone": zone_chosen(request),
            "said": SAID.get(request.query_params.get("said", ""), ""),
            "may": lambda method, path: allowed(caller, method, path),
            "above": lambda scope_type: allowed(caller, "POST", "/admin/new/budget") and caller.sight.above(scope_type),
            "section": "",
            "crumbs": (),
            "version": self.rooms.version,
        }
        text = self.templates.get_template(template).render({**frame, **words})
        return HTMLResponse(text, status, SECURITY_HEADERS)

    def form_page(self, request: Request, form: FormPage, sheet: Sheet, status: int = 200) -> Response:
        return self.page(request, "form.html", status, form=form, sheet=sheet, section=form.section, crumbs=form.crumbs)

    def new_form_page(self, request: Request, form: FormPage, values: Mapping[str, str] | None = None) -> Response:
        """What is sent twice by one who pressed twice is made once: the form carries a name for the creation."""
        once = {"once": self.rooms.entropy(16).hex()}
        return self.form_page(request, replace(form, hidden={**(form.hidden or {}), **once}), Sheet(values or {}))

    def edit_form_page(self, request: Request, form: FormPage, values: Mapping[str, str]) -> Response:
        return self.form_page(request, form, Sheet(values))

    @staticmethod
    def once(request: Request) -> str | None:
        """The name that a form carries for its one creation."""
        return request.state.form.get("once") or None

    @staticmethod
    def version(request: Request) -> int:
        """The version that an edit form was filled from."""
        text: str = request.state.form.get("version", "")
        if not text.isdecimal() or len(text) > 9:
            raise Problem("invalid", "This form is incomplete: open it again from the page it stands on.")
        return int(text)

    def confirm_page(self, request: Request, ask: ConfirmPage, refusal: str = "", status: int = 200) -> Response:
        return self.page(
            request, "confirm.html", status, ask=ask, refusal=refusal, section=ask.section, crumbs=ask.crumbs
        )

    def submit(
        self,
        request: Request,
        kind: type[Filled],
        form: Callable[[], FormPage],
        act: Callable[[Filled], str | Response],
    ) -> Response:
        """Does what the form asks and leads to where it shows; or shows the form again, as it was typed."""
        typed: dict[str, str] = request.state.form
        try:
            done = _tried(typed, lambda: act(read(kind, typed)))
        except Wrong as wrong:
            hidden: dict[str, str] = {name: typed[name] for name in ("once", "version") if name in typed}
            return self.form_page(request, replace(form(), hidden=hidden), wrong.sheet, 422)
        return to(request, done) if isinstance(done, str) else done

    def confirmed(
        self, request: Request, ask: Callable[[], ConfirmPage], act: Callable[[], str | Response]
    ) -> Response:
        try:
            done = _tried({}, act)
        except Wrong as wrong:
            return self.confirm_page(request, ask(), wrong.sheet.general, 409)
        return to(request, done) if isinstance(done, str) else done

    def problem_page(self, request: Request, problem: Problem) -> Response:
        kind = KINDS[problem.code]
        return self.page(request, "problem.html", kind.status, title=kind.title, detail=problem.detail)


def _tried(typed: Mapping[str, str], act: Callable[[], str | Response]) -> str | Response:
    try:
        return act()
    except Problem as problem:
        if problem.code == "stale":
            raise Wrong(Sheet(shown_again(typed), {}, _STALE)) from problem
        if problem.code == "idempotency_mismatch":
            raise Wrong(Sheet(shown_again(typed), {}, "This form was sent before: open a new one.")) from problem
        raise refused(typed, problem) from problem
    except Stale as stale:
        raise Wrong(Sheet(shown_again(typed), {}, _STALE)) from stale
    except (AlreadyExists, Conflict, Invalid, NotFound) as refusal:
        detail = str(refusal)
        raise Wrong(Sheet(shown_again(typed), {}, f"{detail[:1].upper()}{detail[1:]}.")) from refusal


def allowed(caller: Caller, method: str, path: str) -> bool:
    """May the caller go there at all? What of it is theirs is decided there."""
    role = caller.role
    reach = None if role is None else RULES[method, path].may.get(role)
    bound = caller.user is not None and caller.user.organization_id is not None
    return reach is not None and not (reach is Reach.GATEWAY and bound)


def zone_chosen(request: Request) -> ZoneInfo:
    return zone_of(request.cookies.get(ZONE_COOKIE, "")) or UTC


def wanted(request: Request) -> bool:
    """Is a person reading this? Everything under /admin/v1 is for programs."""
    return not request.url.path.startswith("/admin/v1") and "text/html" in request.headers.get("accept", "")


def to(request: Request, path: str) -> Response:
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)


def path_of(kind: str, one: str, *more: str) -> str:
    """`/admin/teams/ID/edit`, whatever letters the id has."""
    return "/".join(("/admin", kind, quote(one, safe=""), *more))


def said(path: str, what: str) -> str:
    """The page, with a word on what was just done."""
    return f"{path}?{urlencode({'said': what})}"


def cookie_path(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/admin"


Add = Callable[[FastAPI, Pages], None]
