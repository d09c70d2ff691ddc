"""The files that pages are made with, from this origin alone."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import Response

from gateway.admin.pages.renderer import Pages
from gateway.admin.problem import Problem

_HERE: Final = Path(__file__).parent.parent / "static"
_STATIC: Final = {"admin.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


def add(app: FastAPI, _: Pages) -> None:
    @app.get("/admin/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise Problem("not_found", "There is no such file; the pages use `admin.css` and `icon.svg`.")
        headers = {"cache-control": "max-age=300", "x-content-type-options": "nosniff"}
        return Response((_HERE / name).read_bytes(), 200, headers, media_type=_STATIC[name])
