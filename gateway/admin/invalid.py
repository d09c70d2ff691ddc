"""What pydantic found wrong, said in the words of the one who sent it: which field, and what would be right."""

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

from gateway.admin.problem import FieldError, Problem

ERRORS_SHOWN_MAX = 20


def problem_of(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        reason = found[0].get("ctx", {}).get("error", "unreadable")
        return Problem("malformed", f"The body is not JSON: {reason}. Send one JSON object.")
    if any(one["loc"] == ("body",) and isinstance(one.get("input"), bytes) for one in found):
        return Problem("malformed", "Send the body as JSON, with `content-type: application/json`.")
    errors = [FieldError(_field(one), _detail(one)) for one in found[:ERRORS_SHOWN_MAX]]
    said = (one.detail if f"`{one.field}`" in one.detail else f"`{one.field}`: {one.detail}" for one in errors)
    return Problem("invalid", "; ".join(dict.fromkeys(said)) + ".", errors=errors)


def _field(one: Mapping[str, Any]) -> str:
    named = one.get("ctx", {}).get("field")
    # The first part says where it was found (body, query, path), the rest is the field's own path.
    return ".".join(str(part) for part in (*one["loc"][1:], *([named] if named else ()))) or str(one["loc"][0])


def _detail(one: Mapping[str, Any]) -> str:
    if one["type"] == "missing":
        return f"`{_field(one)}` is missing; it must be sent"
    return str(one["msg"])
