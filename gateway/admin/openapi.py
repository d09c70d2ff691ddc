"""The OpenAPI document, built when it is first asked for: a gateway that nobody administers never pays for it."""

import re
from threading import Lock
from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from gateway.admin import shown
from gateway.admin.rules import RULES, Gate

_CONVERTER: Final = re.compile(r":[a-z]+(?=\})")  # `{model:path}` is `{model}` in a document
_SECURITY: Final[list[dict[str, list[str]]]] = [{"admin_key": []}, {"session": []}]
_OPENAI_ERROR: Final = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "error": {
                        "type": "object",
                        "properties": {
                            **{name: {"type": "string"} for name in ("message", "type", "code")},
                            "param": {"type": ["string", "null"]},
                        },
                    },
                    "request_id": {"type": ["string", "null"]},
                },
            }
        }
    }
}
_SCHEMES: Final = {
    "admin_key": {"type": "http", "scheme": "bearer", "description": "The admin key, or a user's key"},
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
        description="Who uses one Turnpike gateway, what they may spend, what they spent, and the books behind it.",
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
            refusal = _OPENAI_ERROR if path.startswith("/v1/") else problem
            operation["responses"]["default"] = {"description": "What was wrong, and what to do", **refusal}
            rule = rules[method.upper(), path]
            if rule.gate is Gate.API:
                operation["security"] = _SECURITY
                # Who may, and how far each reaches: the table itself, for whoever reads the document.
                operation["x-roles"] = {str(role): reach.name.lower() for role, reach in rule.may.items()}
    return document
