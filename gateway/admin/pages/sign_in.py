"""Signing in and out with a browser: by the admin key or a user's key, slowly when guessed.

What sign-ins count is counted on the loop alone, and needs no lock.
"""

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin import session
from gateway.admin.door import Who
from gateway.admin.pages.renderer import Pages, cookie_path, to
from gateway.admin.session import COOKIE, Session
from gateway.admin.sign_in_limit import SignInLimit


class SignIn:
    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.rooms = pages.rooms
        self.door = pages.door
        self.limit = SignInLimit()

    def form(self, request: Request, failure: str = "", status: int = 200, wait_s: int = 0) -> Response:
        held = self.new_session(signed_in=False)
        token = session.form_token(held, self.door.key)
        answer = self.pages.page(request, "login.html", status, failure=failure, form_token=token)
        self.give_cookie(request, answer, held)
        if wait_s:
            answer.headers["retry-after"] = str(wait_s)
        return answer

    def new_session(self, *, signed_in: bool, key_digest: str = "") -> Session:
        return session.begin(self.rooms.entropy(16), self.rooms.clock(), signed_in=signed_in, key_digest=key_digest)

    def give_cookie(self, request: Request, answer: Response, held: Session) -> None:
        answer.set_cookie(
            COOKIE,
            session.sealed(held, self.door.key),
            max_age=(held.expires_at_us - self.rooms.clock()) // 1_000_000,
            path=cookie_path(request),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    async def sign_in(self, request: Request) -> Response:
        address = request.client.host if request.client else ""
        now_at_us = self.rooms.clock()
        if wait_s := self.limit.wait_s(address, now_at_us):
            return self.form(request, f"Too many failed sign-ins. Wait {wait_s} s and try again.", 429, wait_s=wait_s)
        if not request.state.form_fits:
            return self.form(request, "This form was open for too long. Try again, with cookies allowed.", 403)
        digest = await run_in_threadpool(self.door.digest_of, request.state.form.get("key", "").strip())
        if digest is None:
            self.limit.failed(address, now_at_us)
            failure = (
                "That is neither the admin key, whose file the gateway's start message names, nor a key of a user with "
                "a role."
            )
            return self.form(request, failure, 401)
        self.limit.succeeded(address)
        answer = to(request, "/admin")
        self.give_cookie(request, answer, self.new_session(signed_in=True, key_digest=digest))
        return answer

    def sign_out(self, request: Request) -> Response:
        self.door.end(request.state.caller.session)
        answer = to(request, "/admin/login")
        answer.delete_cookie(COOKIE, path=cookie_path(request), httponly=True, samesite="strict")
        return answer


def add(app: FastAPI, pages: Pages) -> None:
    desk = SignIn(pages)

    @app.get("/admin/login", include_in_schema=False)
    def login(request: Request) -> Response:
        return to(request, "/admin") if request.state.caller.who is Who.SESSION else desk.form(request)

    @app.post("/admin/login", include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        return await desk.sign_in(request)

    @app.post("/admin/logout", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        return desk.sign_out(request)
