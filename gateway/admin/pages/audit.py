"""The audit log: who changed what, newest first, each change with what was before and after."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin.pages.renderer import Pages


def add(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/audit", include_in_schema=False)
    def listed(request: Request, after: str | None = None, object_id: str | None = None) -> Response:
        of = (object_id or "").strip() or None
        found = pages.loader(request).audit(after, of)
        return pages.page(request, "audit.html", section="audit", found=found, object_id=of or "", first=after is None)
