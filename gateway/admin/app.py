"""Composes the admin app: routes, the guard before each, and the one place where a refusal becomes an answer."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from billing.store import AlreadyExists, Conflict, Invalid, NotFound, SpanTooLong, Stale
from gateway.admin import (
    audit,
    budgets,
    health,
    keys,
    ledger,
    limits,
    local,
    openai_api,
    openapi,
    organizations,
    pages,
    prices,
    requests,
    teams,
    usage,
    users,
)
from gateway.admin.asked import did_you_mean
from gateway.admin.desks.all_desks import Desks
from gateway.admin.door import Door, Knock, SentToSignIn
from gateway.admin.invalid import problem_of
from gateway.admin.problem import Problem, rendered
from gateway.admin.rooms import AdminRooms
from gateway.admin.rules import RULES, Gate
from gateway.admin.session import COOKIE

BODY_BYTES_MAX: Final = 1024 * 1024
# A provider's cost export is as long as its month was.
BODIES_MAX: Final[Mapping[tuple[str, str], int]] = {("POST", "/admin/v1/ledger/reconcile"): 32 * 1024 * 1024}
FORM_FIELDS_MAX: Final = 20
_LOG: Final = logging.getLogger("turnpike.admin")

ANSWER_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
# What the books themselves refuse, under their own lock, said in their own words.
REFUSALS_OF_THE_BOOKS: Final[Mapping[type[Exception], str]] = {
    NotFound: "not_found",
    AlreadyExists: "already_exists",
    Conflict: "conflict",
    Stale: "stale",
    Invalid: "invalid",
    SpanTooLong: "invalid",
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def build_admin(rooms: AdminRooms) -> FastAPI:
    """An ASGI app for every path under `/admin`; it needs no lifespan, no middleware and no mount."""
    app = FastAPI(title="Turnpike admin API", version=rooms.version or "0", openapi_url=None)
    door = Door(rooms)
    app.router.route_class = guarded_by(door)
    app.router.redirect_slashes = False
    replicas = local.Local(rooms)
    desks = Desks.over(rooms)
    shown = pages.Pages(rooms, desks, door, replicas)
    _answer_refusals(app, shown)
    openapi.add(app)
    organizations.add(app, desks.organizations)
    teams.add(app, desks.teams)
    users.add(app, desks.users)
    keys.add(app, desks.keys)
    budgets.add(app, desks.budgets)
    limits.add(app, desks.limits)
    prices.add(app, desks.prices)
    ledger.add(app, desks.ledger)
    audit.add(app, desks.audit)
    usage.add(app, rooms)
    requests.add(app, rooms)
    local.add(app, replicas)
    health.add(app, rooms)
    openai_api.add(app, rooms, desks)
    pages.add(app, shown)
    return app


def guarded_by(door: Door) -> type[APIRoute]:
    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handler = super().get_route_handler()
            # Looked up when the route is built: one without a rule never comes into being.
            rules = {method: RULES[method, self.path] for method in self.methods or ()}

            async def guarded(request: Request) -> Response:
                rule = rules[request.method]
                knock = Knock(request.method, request.url.scheme, request.headers, request.cookies.get(COOKIE))
                # On a thread: whose key it is, and of which teams, stands in the database.
                request.state.caller = await run_in_threadpool(door.admit, rule, knock)
                bytes_max = BODIES_MAX.get((request.method, self.path), BODY_BYTES_MAX)
                request = Request(request.scope, bounded(request.receive, bytes_max))
                if rule.gate in (Gate.FORM, Gate.SIGN_IN):
                    request.state.form = await _form(request)
                    request.state.form_fits = door.form_fits(request.state.caller.session, request.state.form)
                if rule.gate is Gate.FORM and not request.state.form_fits:
                    raise Problem("forged_form", "Reload the page and send the form again.")
                answer = await handler(request)
                for name, value in ANSWER_HEADERS.items():
                    answer.headers.setdefault(name, value)
                return answer

            return guarded

    return GuardedRoute


def bounded(receive: Receive, bytes_max: int) -> Receive:
    """FastAPI reads a body whole; this stops it at the first byte too many, whatever `content-length` promised."""
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > bytes_max:
            # This class alone passes FastAPI's own handling of a body that cannot be read.
            raise HTTPException(413)
        return message

    return counted


async def _form(request: Request) -> dict[str, str]:
    # Ours are three short fields: parsed here, python-multipart would be a dependency for nothing.
    body = await request.body()
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError as error:
        raise Problem("malformed", "The form could not be read: reload the page and send it again.") from error


def _answer_refusals(app: FastAPI, shown: pages.Pages) -> None:
    def answer(request: Request, problem: Problem) -> Response:
        if openai_api.wanted(request):
            return openai_api.refused(request, problem)
        return shown.problem_page(request, problem) if pages.wanted(request) else rendered(problem)

    @app.exception_handler(Problem)
    async def refused(request: Request, problem: Problem) -> Response:
        return answer(request, problem)

    @app.exception_handler(SentToSignIn)
    async def to_sign_in(request: Request, _: SentToSignIn) -> Response:
        return pages.to(request, "/admin/login")

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(request, problem_of(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return answer(request, _problem_of_http(request, error))

    for kind, code in REFUSALS_OF_THE_BOOKS.items():
        app.add_exception_handler(kind, _as_problem(code, answer))

    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(TimeoutError)
    async def books_away(request: Request, error: Exception) -> Response:
        _LOG.error("the books did not answer: %s", error)
        detail = "The database did not answer in time: ask again, and look into the gateway's log. Nothing is lost."
        return answer(request, Problem("books_unavailable", detail, retry_after_s=2))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        # The message is withheld, it may hold a secret; starlette raises the error again, past this answer,
        # so that the server logs it whole.
        return answer(request, Problem("internal_error", f"The gateway's log tells more: {type(error).__name__}."))


def _as_problem(code: str, answer: Callable[[Request, Problem], Response]) -> Callable[[Request, Exception], Response]:
    def refused(request: Request, error: Exception) -> Response:
        detail = str(error)
        return answer(request, Problem(code, f"{detail[:1].upper()}{detail[1:]}."))

    return refused


def _problem_of_http(request: Request, error: HTTPException) -> Problem:
    if error.status_code == 404:
        room = "/v1" if openai_api.wanted(request) else "/admin/v1"
        known = {path for _, path in RULES if path.startswith(room)}
        return Problem("not_found", f"There is no `{request.url.path[:200]}`; {did_you_mean(request.url.path, known)}")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return Problem("method_not_allowed", f"`{request.method}` is not answered here; use {allowed or 'GET'}.")
    if error.status_code == 413:
        most = BODIES_MAX.get((request.method, request.url.path), BODY_BYTES_MAX)
        return Problem("too_large", f"A body here has at most {most} bytes.")
    return Problem("malformed", f"{error.detail}. Send one JSON object in UTF-8.")
