"""Each failure has one shape, as a status and as an event; what nobody foresaw tells nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from billing.journal import JournalFull
from gateway.errors import (
    SHAPES,
    WITHHELD,
    AllRateLimited,
    AttemptsFailed,
    AttemptsTimedOut,
    BadRequest,
    CacheMiss,
    InvalidKey,
    MethodNotAllowed,
    Overloaded,
    ProviderRefused,
    Rendered,
    error_object,
    render,
    shape_of,
)
from local_backend.supervisor import LocalModelFailed


def shown(error: BaseException) -> tuple[Rendered, dict[str, Any]]:
    rendered = render(error, "req_1")
    document = json.loads(rendered.body)
    assert document["request_id"] == "req_1"
    told = document["error"]
    assert told == error_object(error)[1]
    assert {"message", "type", "param", "code"} <= told.keys()
    return rendered, told


def test_a_refusal_names_field_and_code() -> None:
    rendered, told = shown(BadRequest("`n` must be 1", param="n", code="invalid_value"))
    assert rendered.status == 400
    assert told == {"message": "`n` must be 1", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}
    assert rendered.code == "invalid_value"


def test_without_a_code_of_its_own_the_class_gives_it() -> None:
    rendered, told = shown(InvalidKey("no key"))
    assert (rendered.status, told["code"]) == (401, "invalid_api_key")
    assert ("www-authenticate", "Bearer") in rendered.headers


@pytest.mark.parametrize("error", [RuntimeError("sk-secret at 10.0.0.1"), KeyError("x"), MemoryError()])
def test_what_nobody_foresaw_is_500_and_tells_nothing(error: BaseException) -> None:
    rendered, told = shown(error)
    assert (rendered.status, rendered.code, told["message"]) == (500, "internal_error", WITHHELD)


def test_a_subclass_without_a_row_has_its_parents_shape_and_withholds_its_words() -> None:
    class Fuller(JournalFull):
        pass

    rendered, told = shown(Fuller("inner words"))
    assert (rendered.status, told["message"]) == (503, WITHHELD)
    assert shape_of(Fuller()) is SHAPES[JournalFull]
    assert shape_of(GeneratorExit()) is SHAPES[Exception]


def test_the_siblings_failures_say_what_they_say() -> None:
    rendered, told = shown(LocalModelFailed("tiny", "the model needs 12 GB", retry_after_s=30))
    assert (rendered.status, told["message"]) == (503, "local model tiny: the model needs 12 GB")
    assert dict(rendered.headers)["retry-after"] == "30"


def test_failed_attempts_are_listed() -> None:
    attempts = [{"provider": "one", "status": 503, "reason": "server error"}]
    rendered, told = shown(AttemptsFailed("no provider answered", attempts))
    assert (rendered.status, told["attempts"]) == (502, attempts)
    assert shown(AttemptsTimedOut("late", attempts))[0].status == 504


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (AllRateLimited("x", [], retry_after_s=2.1), "3"),
        (AllRateLimited("x", [], retry_after_s=0.0), "1"),
        (AllRateLimited("x", []), "1"),
        (AllRateLimited("x", [], retry_after_s=float("inf")), "3600"),
        (AllRateLimited("x", [], retry_after_s=1e300), "3600"),
        (Overloaded("x"), "1"),
        (Overloaded("x", retry_after_s=7), "7"),
        (JournalFull("x"), "5"),
    ],
)
def test_retry_after_is_whole_seconds_and_at_least_one(error: Exception, seconds: str) -> None:
    assert dict(shown(error)[0].headers)["retry-after"] == seconds


def test_others_say_nothing_about_trying_again() -> None:
    assert "retry-after" not in dict(shown(AttemptsFailed("x", []))[0].headers)
    assert dict(shown(CacheMiss("x"))[0].headers) == {"x-should-retry": "false"}


def test_a_405_says_what_is_allowed() -> None:
    assert dict(shown(MethodNotAllowed("/x", "GET, HEAD"))[0].headers) == {"allow": "GET, HEAD"}


def test_a_providers_refusal_keeps_its_status_and_words() -> None:
    rendered, told = shown(
        ProviderRefused(413, {"message": "too long", "code": "context_length_exceeded", "type": None})
    )
    assert (rendered.status, rendered.code) == (413, "context_length_exceeded")
    assert told == {"message": "too long", "type": None, "param": None, "code": "context_length_exceeded"}
    assert shown(ProviderRefused(400, {}))[0].code == ""
