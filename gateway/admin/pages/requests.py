"""Requests: the last ones, and of one the whole story: attempts, why each, tokens, cost, its ledger entries."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin.pages.loader import ROWS
from gateway.admin.pages.renderer import Pages
from gateway.admin.requests import last_requests, request_in_full

SECTION = "requests"
UP = ("Requests", "/admin/requests")


def add(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/requests", include_in_schema=False)
    def listed(request: Request, after: str | None = None) -> Response:
        found = last_requests(pages.rooms, request.state.caller.sight, ROWS, after)
        return pages.page(request, "requests.html", section=SECTION, found=found, first=after is None)

    @app.get("/admin/requests/{request_id}", include_in_schema=False)
    def one(request: Request, request_id: str) -> Response:
        found = request_in_full(pages.rooms, request.state.caller.sight, request_id)
        entries = [
            {"attempt": attempt.attempt, **entry.model_dump()}
            for attempt in found.attempts
            for entry in attempt.entries
        ]
        names = pages.loader(request).names("teams", "users", key_ids=[found.key_id])
        return pages.page(
            request, "request.html", section=SECTION, crumbs=(UP,), one=found, entries=entries, names=names
        )
