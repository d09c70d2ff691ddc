"""Every refusal and failure that a caller may see, and its one table of shapes: status, OpenAI's type, code.

The packages below know no HTTP; they raise, this file renders. `error.attempts` and messages never hold a secret or an
address.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from billing.books import HoldNotOpen
from billing.budget_refusals import BudgetBackendUnavailable, BudgetBusy, BudgetExhausted, BudgetRefused
from billing.journal import JournalFull, JournalNotDurable, JournalRecordTooLarge
from billing.tag_rules import TagNotAllowed
from cache.policy import UnknownDirective
from local_backend.supervisor import LocalModelFailed


class Refusal(Exception):
    """A request ends here, by our own decision. Subclasses have a row in `SHAPES`."""

    headers: tuple[tuple[str, str], ...] = ()

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s


class BadRequest(Refusal):
    """The request cannot be read or does not hold what it must."""


class InvalidKey(Refusal):
    """No key, or one that is unknown, expired or revoked."""


class ModelNotAllowed(Refusal):
    """The key may not use this model."""


class ModelNotFound(Refusal):
    """Nothing answers to that name."""


class NotFound(Refusal):
    """No such path."""


class MethodNotAllowed(Refusal):
    """The path exists, the method does not."""

    def __init__(self, path: str, allowed: str) -> None:
        super().__init__(f"{path} takes {allowed}")
        self.headers = (("allow", allowed),)


class ModelUnpriced(Refusal):
    """Nobody knows what the model costs, and a hard budget binds."""


class MaxCostExceeded(Refusal):
    """The request's own cap cannot be kept."""


class CacheMiss(Refusal):
    """`x-turnpike-cache: only`, and nothing is kept."""


class Overloaded(Refusal):
    """Shed by Turnpike itself, before anything was sent."""


class RateLimited(Refusal):
    """A limit of the caller's own: on requests or tokens a minute, or on requests at once."""

    def __init__(self, message: str, headers: tuple[tuple[str, str], ...], *, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.headers = headers


class AttemptsFailed(Refusal):
    """Every attempt failed. `attempts` lists provider, status and reason."""

    def __init__(
        self, message: str, attempts: Sequence[Mapping[str, Any]], *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.attempts = tuple(attempts)


class AllRateLimited(AttemptsFailed):
    """Every attempt was refused with 429."""


class AttemptsTimedOut(AttemptsFailed):
    """The last failure was a timeout."""


class ProviderRefused(Exception):
    """The provider's own 400, 404, 409, 413 or 422: status, param, code and message stay."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message")))
        self.status = status
        self.error = dict(error)


@dataclass(frozen=True, slots=True)
class Shape:
    """How an error looks from outside."""

    status: int
    type: str
    code: str | None
    headers: tuple[tuple[str, str], ...] = ()


_NO_RETRY: Final = (("x-should-retry", "false"),)

SHAPES: Final[Mapping[type[BaseException], Shape]] = {
    BadRequest: Shape(400, "invalid_request_error", "invalid_request"),
    InvalidKey: Shape(401, "invalid_request_error", "invalid_api_key", (("www-authenticate", "Bearer"),)),
    ModelUnpriced: Shape(400, "invalid_request_error", "model_unpriced"),
    MaxCostExceeded: Shape(400, "invalid_request_error", "max_cost_exceeded"),
    ModelNotAllowed: Shape(403, "invalid_request_error", "model_not_allowed"),
    ModelNotFound: Shape(404, "invalid_request_error", "model_not_found"),
    NotFound: Shape(404, "invalid_request_error", "unknown_url"),
    MethodNotAllowed: Shape(405, "invalid_request_error", "method_not_allowed"),
    TagNotAllowed: Shape(403, "invalid_request_error", "tag_not_allowed"),
    RateLimited: Shape(429, "rate_limit_error", "rate_limit_exceeded"),
    AllRateLimited: Shape(429, "rate_limit_error", "rate_limit_exceeded"),
    AttemptsFailed: Shape(502, "server_error", "provider_error"),
    AttemptsTimedOut: Shape(504, "server_error", "provider_timeout"),
    CacheMiss: Shape(504, "server_error", "cache_miss", _NO_RETRY),
    Overloaded: Shape(503, "server_error", "overloaded"),
    # The siblings' own. 429 is what clients expect of a spent quota; `x-should-retry` stops their retries.
    BudgetExhausted: Shape(429, "insufficient_quota", "insufficient_quota", _NO_RETRY),
    BudgetBusy: Shape(429, "rate_limit_error", "budget_busy"),
    BudgetRefused: Shape(429, "insufficient_quota", "insufficient_quota", _NO_RETRY),
    BudgetBackendUnavailable: Shape(503, "server_error", "budget_backend_unavailable"),
    JournalFull: Shape(503, "server_error", "budget_backend_unavailable"),
    JournalNotDurable: Shape(503, "server_error", "budget_backend_unavailable"),
    JournalRecordTooLarge: Shape(400, "invalid_request_error", "attribution_too_long"),
    UnknownDirective: Shape(400, "invalid_request_error", "invalid_value"),
    LocalModelFailed: Shape(503, "server_error", "local_model_unavailable"),
    HoldNotOpen: Shape(500, "server_error", "internal_error"),
    # The last row catches what nobody foresaw; its message is withheld, it may hold a secret.
    Exception: Shape(500, "server_error", "internal_error"),
}

_RETRY_AFTER_DEFAULT_S: Final[Mapping[type[BaseException], float]] = {
    Overloaded: 1,
    JournalFull: 5,
    JournalNotDurable: 5,
    AllRateLimited: 1,
    RateLimited: 1,
    BudgetBusy: 1,
    BudgetBackendUnavailable: 2,
}
# As in routing: a longer rest is not believed, and a provider may write any number.
RETRY_AFTER_S_MAX: Final = 3600
WITHHELD: Final = "an internal error; its request id names it in the log"


@dataclass(frozen=True, slots=True)
class Rendered:
    """An error ready to be sent."""

    status: int
    code: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def shape_of(error: BaseException) -> Shape:
    """The row of the nearest class that has one."""
    for kind in type(error).__mro__:
        if kind in SHAPES:
            return SHAPES[kind]
    return SHAPES[Exception]


def error_object(error: BaseException) -> tuple[Shape, dict[str, Any]]:
    """The shape and the `error` member, for a status as for an event in a stream that has begun."""
    if isinstance(error, ProviderRefused):
        told = error.error
        body = {
            "message": told.get("message"),
            "type": told.get("type"),
            "param": told.get("param"),
            "code": told.get("code"),
        }
        return Shape(error.status, str(told.get("type") or "invalid_request_error"), str(told.get("code") or "")), body
    shape = shape_of(error)
    known = isinstance(error, Refusal) or (type(error) in SHAPES and shape.status != 500)
    body = {
        "message": str(error) if known else WITHHELD,
        "type": shape.type,
        "param": getattr(error, "param", None),
        "code": getattr(error, "code", None) or shape.code,
    }
    if isinstance(error, AttemptsFailed):
        body["attempts"] = list(error.attempts)
    return shape, body


def render(error: BaseException, request_id: str) -> Rendered:
    """OpenAI's error shape, with the id that names the request everywhere else."""
    shape, body = error_object(error)
    headers = shape.headers + getattr(error, "headers", ())
    retry_after_s = getattr(error, "retry_after_s", None) or _RETRY_AFTER_DEFAULT_S.get(type(error))
    if retry_after_s is not None:
        headers = (*headers, ("retry-after", str(max(1, math.ceil(min(retry_after_s, RETRY_AFTER_S_MAX))))))
    return Rendered(
        shape.status, str(body["code"] or ""), headers, orjson.dumps({"error": body, "request_id": request_id})
    )
