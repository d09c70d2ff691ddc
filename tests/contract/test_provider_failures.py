"""What a caller sees when a provider fails: the next one's answer, or an error that names attempts and no secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fixtures import KEY_ONE
from tests.e2e.gateway import Gateway, Key, chat, error_of, eventually, sse_data
from tests.fakes.bill import Tokens, usd_text
from tests.fakes.script import (
    FOREVER_S,
    Behaviour,
    Close,
    Pause,
    Reset,
    Says,
    Send,
    broken_stream,
    document,
    event,
    hang_up,
    raw,
    refusal,
    reply,
    stall,
    truncated,
)

if TYPE_CHECKING:
    from tests.fakes.provider import Provider

HTML = document(b"<html>It works!</html>", "text/html")
NO_COMPLETION = document(b'{"unexpected": true}')
ERROR = event(b'{"error":{"message":"overloaded","type":"server_error"}}')
ERROR_EVENT = Send(b"%x\r\n%s\r\n" % (len(ERROR), ERROR))


def attempts_of(error: dict[str, object]) -> list[dict[str, object]]:
    attempts = error["attempts"]
    assert isinstance(attempts, list)
    assert attempts
    assert all({"provider", "status", "reason"} <= attempt.keys() for attempt in attempts)
    return attempts


def assert_tells_no_secret(text: str, one: Provider) -> None:
    assert KEY_ONE not in text
    assert f":{one.port}" not in text
    assert "127.0.0.1" not in text


FAILURES: dict[str, Behaviour] = {
    "500": refusal(500),
    "502": refusal(502),
    "503": refusal(503),
    "529": refusal(529),
    "closed without an answer": hang_up(),
    "reset": raw(Reset()),
    "cut short": truncated(Says()),
    "HTML": HTML,
    "JSON that is no completion": NO_COMPLETION,
    "no HTTP": raw(Send(b"hello\r\n\r\n"), Close()),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_the_next_deployment_answers_and_is_named(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str, failure: Behaviour
) -> None:
    one.always(pair, failure)
    answer = gateway.ask(key, chat(pair))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-turnpike-provider"] == "two"
    assert answer.headers["x-turnpike-route"] == "fallback"
    row = gateway.request_row(answer.headers["x-request-id"])
    attempts = row["attempts"]
    assert isinstance(attempts, list)
    # A kept-alive connection's sudden end is tried again within the attempt.
    assert 2 <= len(attempts) <= len(one.asked(pair)) + len(two.asked(pair))
    assert answer.headers["x-turnpike-attempts"] == str(len(attempts))
    assert [attempt["provider"] for attempt in attempts][-1] == "two"


def test_a_connection_refused_is_replaced(gateway: Gateway, key: Key, two: Provider) -> None:
    answer = gateway.ask(key, chat("dead-then-two"))
    assert answer.status_code == 200
    assert answer.headers["x-turnpike-provider"] == "two"
    assert answer.headers["x-turnpike-cost-usd"] == usd_text(two.bill_nano_usd("dead-then-two"))


BEFORE_CONTENT: dict[str, Behaviour] = {
    "status": refusal(500),
    "after the head": broken_stream(Says(), Close(), after=0),
    "after the role": broken_stream(Says(), Close(), after=1),
    "reset after the role": broken_stream(Says(), Reset(), after=1),
    "error event": broken_stream(Says(), ERROR_EVENT, Close(), after=1),
    "HTML": HTML,
}


@pytest.mark.parametrize("failure", BEFORE_CONTENT.values(), ids=BEFORE_CONTENT.keys())
def test_a_stream_that_fails_before_its_first_content_is_replaced_invisibly(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str, failure: Behaviour
) -> None:
    one.always(pair, failure)
    answer = gateway.ask(key, chat(pair, stream=True))
    assert answer.status_code == 200
    data = sse_data(answer.content)
    assert data[-1] == b"[DONE]"
    chunks = [json.loads(part) for part in data[:-1]]
    roles = [chunk for chunk in chunks if chunk["choices"][0]["delta"].get("role")]
    assert len(roles) == 1, "the failed provider's role must not be shown as well"
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "Hello, world"
    assert answer.headers["x-turnpike-provider"] == "two"


AFTER_CONTENT: dict[str, tuple[object, ...]] = {
    "close": (Close(),),
    "reset": (Reset(),),
    "error event": (ERROR_EVENT, Close()),
    "end without [DONE]": (Send(b"0\r\n\r\n"),),
    "garbage": (Send(b"zz\r\n"), Close()),
}


@pytest.mark.parametrize("end", AFTER_CONTENT.values(), ids=AFTER_CONTENT.keys())
def test_a_stream_that_fails_after_its_first_content_ends_with_an_error_event_and_no_done(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str, end: tuple[object, ...]
) -> None:
    # With a gap, so that the first words are on their way before it breaks.
    one.always(pair, broken_stream(Says(), Pause(0.05), *end, after=3))  # type: ignore[arg-type]
    answer = gateway.ask(key, chat(pair, stream=True))
    assert answer.status_code == 200
    data = sse_data(answer.content)
    assert b"[DONE]" not in data
    assert b"Hello" in data[1]
    last = json.loads(data[-1])
    assert last["error"]["code"] == "provider_error"
    assert last["error"]["message"]
    assert two.asked(pair) == [], "an answer once begun is never silently continued by another"
    assert b'"finish_reason":"stop"' not in answer.content
    row = gateway.request_row(answer.headers["x-request-id"])
    assert float(str(row["cost_usd"])) > 0, "what was delivered was paid for"


def test_a_stream_that_falls_silent_after_content_ends_with_a_timeout(
    gateway: Gateway, key: Key, one: Provider, hasty: str
) -> None:
    one.always(hasty, broken_stream(Says(), Pause(FOREVER_S), after=3))
    answer = gateway.ask(key, chat(hasty, stream=True))
    data = sse_data(answer.content)
    assert b"[DONE]" not in data
    assert json.loads(data[-1])["error"]["code"] == "provider_timeout"
    eventually(lambda: [left for left in one.left if left.request.model == hasty], "the silent provider is let go")


@pytest.mark.parametrize(
    "behaviour", [stall(), broken_stream(Says(), Pause(FOREVER_S), after=1)], ids=["head", "content"]
)
def test_a_stream_that_never_begins_is_504(
    gateway: Gateway, key: Key, one: Provider, hasty: str, behaviour: Behaviour
) -> None:
    one.always(hasty, behaviour)
    error = error_of(gateway.ask(key, chat(hasty, stream=True)), 504, "provider_timeout")
    assert attempts_of(error)[0]["provider"] == "one-hasty"


def test_the_time_of_first_byte_binds_streams_alone(gateway: Gateway, key: Key, one: Provider, hasty: str) -> None:
    one.queue(hasty, reply(gap_s=1.0))
    assert gateway.ask(key, chat(hasty)).status_code == 200


def test_the_whole_time_binds_every_answer(gateway: Gateway, key: Key, one: Provider, hasty: str) -> None:
    one.always(hasty, stall())
    answer = gateway.ask(key, chat(hasty), {"x-turnpike-timeout": "1"})
    error_of(answer, 504, "provider_timeout")
    assert 0.9 < answer.elapsed.total_seconds() < 3
    eventually(lambda: [left for left in one.left if left.request.model == hasty], "the provider is let go at once")


@pytest.mark.parametrize("behaviour", [refusal(500), hang_up(), HTML], ids=["500", "hang up", "HTML"])
def test_when_all_fail_it_is_502_with_the_attempts(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str, behaviour: Behaviour
) -> None:
    one.always(pair, behaviour)
    two.always(pair, behaviour)
    answer = gateway.ask(key, chat(pair))
    attempts = attempts_of(error_of(answer, 502, "provider_error"))
    assert {attempt["provider"] for attempt in attempts} == {"one", "two"}
    assert len(attempts) <= len(one.asked(pair)) + len(two.asked(pair))
    assert len(attempts) <= 3
    assert answer.headers["x-turnpike-attempts"] == str(len(attempts))
    assert_tells_no_secret(answer.text, one)


def test_an_address_where_nobody_listens_is_502_and_not_told(gateway: Gateway, key: Key, dead: str) -> None:
    answer = gateway.ask(key, chat(dead))
    error = error_of(answer, 502, "provider_error")
    assert attempts_of(error)[0]["provider"] == "dead"
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_provider_that_refuses_our_credential_is_502_and_no_secret_is_shown(
    gateway: Gateway, key: Key, one: Provider, refused: str, status: int
) -> None:
    one.always(
        refused, refusal(status, f"Incorrect API key provided: {KEY_ONE}. See {one.base_url}.", code="invalid_api_key")
    )
    answer = gateway.ask(key, chat(refused))
    error = error_of(answer, 502, "provider_error")
    assert attempts_of(error)[0]["status"] == status
    assert_tells_no_secret(answer.text, one)
    assert one.asked(refused)[0].header("authorization") == f"Bearer {KEY_ONE}"


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
@pytest.mark.parametrize("stream", [False, True])
def test_a_providers_own_refusal_keeps_its_words(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str, status: int, stream: bool
) -> None:
    words = f"Bad seed, said {one.base_url} to {KEY_ONE}; choose another seed."
    one.queue(pair, refusal(status, words, code="seed_out_of_range", param="seed"))
    answer = gateway.ask(key, chat(pair, stream=stream))
    error = error_of(answer, status, "seed_out_of_range")
    assert error["param"] == "seed"
    assert str(error["message"]).startswith("Bad seed, said ")
    assert str(error["message"]).endswith("; choose another seed.")
    assert_tells_no_secret(answer.text, one)
    assert len(one.asked(pair)) == 1
    assert two.asked(pair) == [], "a request that is wrong is wrong everywhere"


def test_a_refusal_does_not_cool_the_provider(gateway: Gateway, key: Key, one: Provider, pair: str) -> None:
    one.queue(pair, *[refusal(400) for _ in range(6)])
    for _ in range(6):
        gateway.ask(key, chat(pair))
    assert gateway.ask(key, chat(pair)).headers["x-turnpike-provider"] == "one"


def test_when_every_attempt_was_429_the_smallest_retry_after_is_passed_on(
    gateway: Gateway, key: Key, one: Provider, two: Provider
) -> None:
    one.always("both-limited", refusal(429, headers={"retry-after": "17"}))
    two.always("both-limited", refusal(429, headers={"retry-after": "9"}))
    answer = gateway.ask(key, chat("both-limited"))
    error_of(answer, 429, "rate_limit_exceeded")
    assert answer.headers["retry-after"] == "9"


def test_a_429_beside_another_failure_is_502(
    gateway: Gateway, key: Key, one: Provider, two: Provider, limited: str
) -> None:
    one.always(limited, refusal(429, headers={"retry-after": "17"}))
    two.always(limited, refusal(500))
    attempts = attempts_of(error_of(gateway.ask(key, chat(limited)), 502, "provider_error"))
    assert 429 in {attempt["status"] for attempt in attempts}


def test_a_limited_deployment_rests_as_long_as_it_asked(
    gateway: Gateway, key: Key, one: Provider, two: Provider, limited: str
) -> None:
    one.queue(limited, refusal(429, headers={"retry-after": "30"}))
    assert gateway.ask(key, chat(limited)).headers["x-turnpike-provider"] == "two"
    assert gateway.ask(key, chat(limited)).headers["x-turnpike-provider"] == "two"
    assert len(one.asked(limited)) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_alive_connection_that_closes_before_the_first_byte_is_tried_again_on_a_fresh_one(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str, stream: bool
) -> None:
    assert gateway.ask(key, chat(pair)).status_code == 200
    one.queue(pair, hang_up())
    answer = gateway.ask(key, chat(pair, stream=stream))
    assert answer.status_code == 200
    assert answer.headers["x-turnpike-provider"] == "one"
    _, lost, again = one.asked(pair)
    assert lost.nth_on_connection > 1, "the first request must have left an idle connection"
    assert again.nth_on_connection == 1
    assert two.asked(pair) == []


def test_connections_are_kept_alive_and_survive_being_dropped_while_idle(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    for _ in range(4):
        assert gateway.ask(key, chat(model)).status_code == 200
    assert len({request.connection for request in one.asked(model)}) == 1
    one.drop_idle_connections()
    assert gateway.ask(key, chat(model)).status_code == 200


def test_attempts_that_were_billed_and_lost_are_in_the_cost(
    gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str
) -> None:
    """A 200 whose body breaks off was paid for; the bill cannot be known, so it is posted and marked."""
    one.always(pair, truncated(Says(tokens=Tokens(50, 50))))
    answer = gateway.ask(key, chat(pair))
    assert answer.status_code == 200
    [row] = gateway.usage_of(key)
    assert row["cost_usd"] == answer.headers["x-turnpike-cost-usd"]
    assert float(str(row["estimated_usd"])) > 0
