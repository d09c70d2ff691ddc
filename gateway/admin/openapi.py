"""The OpenAPI document, built when it is first asked for: a gateway that nobody administers never pays for it."""

import re
from threading import Lock
from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from gateway.admin import shown
from gateway.admin.rules import RULES, Rule

_CONVERTER: Final = re.compile(r":[a-z]+(?=\})")  # `{model:path}` is `{model}` in a document
_SECURITY: Final[list[dict[str, list[str]]]] = [{"admin_key": []}, {"session": []}]
_SCHEMES: Final = {
    "admin_key": {"type": "http", "scheme": "bearer", "description": "The admin key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "turnpike_admin", "description": "Signed in at /admin/login"},
}


class Document:
    def __init__(self, app: FastAPI) -> None:
        self._app: Final = app
        self._lock: Final = Lock()
        self._bytes: bytes | None = None

    def read(self) -> bytes:
        with self._lock:
            if self._bytes is None:
                self._bytes = orjson.dumps(built(self._app))
            return self._bytes


def add(app: FastAPI) -> None:
    document = Document(app)

    @app.get("/admin/v1/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return Response(document.read(), media_type="application/json")


def built(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description="Teams, keys, usage, requests and local replicas of one Turnpike gateway.",
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SCHEMES
    schemas = components.setdefault("schemas", {})
    # What FastAPI would answer to an invalid body is not what this app answers.
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = shown.Problem.model_json_schema()
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    rules = {(method, _CONVERTER.sub("", path)): rule for (method, path), rule in RULES.items()}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "What was wrong, and what to do", **problem}
            if rules[method.upper(), path] is Rule.ADMIN:
                operation["security"] = _SECURITY
    return document
