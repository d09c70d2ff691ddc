"""Every refusal of the admin API in one shape, RFC 9457 `problem+json`: what happened, and what to do about it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson
from starlette.responses import Response

# Names of ours, resolvable nowhere on purpose: RFC 9457 asks for a stable URI, not for a page.
TYPE_PREFIX: Final = "urn:turnpike:problem:"


class Kind(NamedTuple):
    status: int
    title: str


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "malformed": Kind(400, "The request could not be read"),
        "unreadable_query": Kind(400, "The query could not be read"),
        "not_signed_in": Kind(401, "Not signed in"),
        "not_an_admin": Kind(403, "This key may not administer"),
        "not_allowed": Kind(403, "Your role may not do this"),
        "forged_form": Kind(403, "The form did not come from this gateway's page"),
        "not_found": Kind(404, "Not found"),
        "method_not_allowed": Kind(405, "Method not allowed"),
        "already_exists": Kind(409, "Already exists"),
        "conflict": Kind(409, "Not possible in its present state"),
        "already_made": Kind(409, "Made already, and its first answer is not given again"),
        "in_progress": Kind(409, "The same creation is still in progress"),
        "stale": Kind(412, "Changed since you read it"),
        "too_large": Kind(413, "Body too large"),
        "invalid": Kind(422, "Not valid"),
        "idempotency_mismatch": Kind(422, "The idempotency key was used for another body"),
        "too_many_sign_ins": Kind(429, "Too many failed sign-ins"),
        "internal_error": Kind(500, "Something went wrong in Turnpike"),
        "not_configured": Kind(501, "Not configured"),
        "books_unavailable": Kind(503, "The database did not answer"),
    }
)


class FieldError(NamedTuple):
    field: str
    detail: str


class Problem(Exception):
    """Raise it anywhere below the admin app; one handler renders it."""

    def __init__(
        self, code: str, detail: str, *, errors: Sequence[FieldError] = (), retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.code: Final = code
        self.detail: Final = detail
        self.errors: Final = tuple(errors)
        self.retry_after_s: Final = retry_after_s


def rendered(problem: Problem) -> Response:
    kind = KINDS[problem.code]
    body: dict[str, object] = {
        "type": TYPE_PREFIX + problem.code,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "code": problem.code,
    }
    if problem.errors:
        body["errors"] = [error._asdict() for error in problem.errors]
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if kind.status == 401:
        headers["www-authenticate"] = 'Bearer realm="turnpike admin"'
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(problem.retry_after_s)
    return Response(orjson.dumps(body), kind.status, headers, media_type="application/problem+json")
