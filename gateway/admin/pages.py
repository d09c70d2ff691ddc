"""The pages at `/admin`: rendered here, readable without a script, and served from this origin alone."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gateway.admin import overview, session
from gateway.admin.desks.all_desks import Desks
from gateway.admin.door import Caller, Door, Who
from gateway.admin.filters import FILTERS
from gateway.admin.local import Local
from gateway.admin.problem import KINDS, Problem
from gateway.admin.requests import request_in_full
from gateway.admin.rooms import AdminRooms
from gateway.admin.session import COOKIE, Session
from gateway.admin.sign_in_limit import SignInLimit

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE: Final = Path(__file__).parent
_STATIC: Final = {"admin.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
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


class Pages:
    """What sign-ins count is counted on the loop alone, and needs no lock."""

    def __init__(self, rooms: AdminRooms, desks: Desks, door: Door, local: Local) -> None:
        self.rooms: Final = rooms
        self.desks: Final = desks
        self.door: Final = door
        self.local: Final = local
        self.limit: Final = SignInLimit()

    @cached_property
    def templates(self) -> "Environment":
        # Jinja is imported by the first page, not by the start of a gateway whose page nobody opens.
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

        found = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            auto_reload=False,
        )
        found.filters.update(FILTERS)
        return found

    def page(self, request: Request, template: str, status: int = 200, **words: Any) -> Response:
        caller: Caller = getattr(request.state, "caller", Caller(Who.NOBODY))
        signed_in = caller.who is Who.SESSION and caller.session is not None
        frame = {
            "root": request.scope.get("root_path", ""),
            "form_token": session.form_token(caller.session, self.door.key) if signed_in and caller.session else "",
            "show_local": self.rooms.local is not None,
        }
        text = self.templates.get_template(template).render({**frame, **words})
        return HTMLResponse(text, status, SECURITY_HEADERS)

    def login_page(self, request: Request, failure: str = "", status: int = 200, wait_s: int = 0) -> Response:
        held = self.new_session(signed_in=False)
        token = session.form_token(held, self.door.key)
        answer = self.page(request, "login.html", status, failure=failure, form_token=token)
        self.give_cookie(request, answer, held)
        if wait_s:
            answer.headers["retry-after"] = str(wait_s)
        return answer

    def problem_page(self, request: Request, problem: Problem) -> Response:
        kind = KINDS[problem.code]
        return self.page(request, "problem.html", kind.status, title=kind.title, detail=problem.detail)

    def new_session(self, *, signed_in: bool, key_digest: str = "") -> Session:
        return session.begin(self.rooms.entropy(16), self.rooms.clock(), signed_in=signed_in, key_digest=key_digest)

    def give_cookie(self, request: Request, answer: Response, held: Session) -> None:
        answer.set_cookie(
            COOKIE,
            session.sealed(held, self.door.key),
            max_age=(held.expires_at_us - self.rooms.clock()) // 1_000_000,
            path=_cookie_path(request),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    async def sign_in(self, request: Request) -> Response:
        address = request.client.host if request.client else ""
        now_at_us = self.rooms.clock()
        if wait_s := self.limit.wait_s(address, now_at_us):
            return self.login_page(
                request, f"Too many failed sign-ins. Wait {wait_s} s and try again.", 429, wait_s=wait_s
            )
        if not request.state.form_fits:
            return self.login_page(request, "This form was open for too long. Try again, with cookies allowed.", 403)
        digest = await run_in_threadpool(self.door.digest_of, request.state.form.get("key", "").strip())
        if digest is None:
            self.limit.failed(address, now_at_us)
            failure = (
                "That is neither the admin key, whose file the gateway's start message names, nor a key of a user with "
                "a role."
            )
            return self.login_page(request, failure, 401)
        self.limit.succeeded(address)
        answer = to(request, "/admin")
        self.give_cookie(request, answer, self.new_session(signed_in=True, key_digest=digest))
        return answer

    def sign_out(self, request: Request) -> Response:
        self.door.end(request.state.caller.session)
        answer = to(request, "/admin/login")
        answer.delete_cookie(COOKIE, path=_cookie_path(request), httponly=True, samesite="strict")
        return answer


def add(app: FastAPI, pages: Pages) -> None:
    rooms, local = pages.rooms, pages.local

    @app.get("/admin", include_in_schema=False)
    @app.get("/admin/", include_in_schema=False)
    def home(request: Request) -> Response:
        return pages.page(request, "overview.html", **overview.words(rooms, pages.desks, local, request.state.caller))

    @app.get("/admin/requests/{request_id}", include_in_schema=False)
    def one_request(request: Request, request_id: str) -> Response:
        one = request_in_full(rooms, request.state.caller.sight, request_id)
        entries = [
            {"attempt": attempt.attempt, **entry.model_dump()} for attempt in one.attempts for entry in attempt.entries
        ]
        return pages.page(request, "request.html", one=one, entries=entries)

    @app.get("/admin/login", include_in_schema=False)
    def login(request: Request) -> Response:
        return to(request, "/admin") if request.state.caller.who is Who.SESSION else pages.login_page(request)

    @app.post("/admin/login", include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        return await pages.sign_in(request)

    @app.post("/admin/logout", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        return pages.sign_out(request)

    @app.post("/admin/local/{model:path}/start", include_in_schema=False)
    async def start(request: Request, model: str) -> Response:
        local.start(model)
        return to(request, "/admin#local")

    @app.post("/admin/local/{model:path}/stop", include_in_schema=False)
    async def stop(request: Request, model: str) -> Response:
        local.stop(model)
        return to(request, "/admin#local")

    @app.get("/admin/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise Problem("not_found", "There is no such file; the pages use `admin.css` and `icon.svg`.")
        headers = {"cache-control": "max-age=300", "x-content-type-options": "nosniff"}
        return Response((_HERE / "static" / name).read_bytes(), 200, headers, media_type=_STATIC[name])


def wanted(request: Request) -> bool:
    """Is a person reading this? Everything under /admin/v1 is for programs."""
    return not request.url.path.startswith("/admin/v1") and "text/html" in request.headers.get("accept", "")


def to(request: Request, path: str) -> Response:
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)


def _cookie_path(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/admin"
