"""Limits from the outside: OpenAI's headers, refusals that name the limit, places that are free again after any end."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import openai
import pytest

from tests.billing.budget_rows import execute
from tests.e2e.fixtures import configuration
from tests.e2e.gateway import Gateway, Key, chat, error_of, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.bill import Tokens
from tests.fakes.script import FOREVER_S, Behaviour, Close, Pause, Says, broken_stream, refusal, reply, stall

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.fakes.provider import Provider

WITHIN_S: Final = 1.0
# A prompt of a few tokens and a usual answer, as `gateway.rates` estimates them.
ANSWER_TOKENS: Final = 256
DURATION: Final = re.compile(r"(\d+h)?(\d+m)?(\d+(\.\d{1,3})?s)|\d+ms")


def limits_of(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit-")}


def refused(answer: httpx.Response, *words: str) -> None:
    """By a limit of the caller's own, which the message names."""
    error = error_of(answer, 429, "rate_limit_exceeded")
    assert error["type"] == "rate_limit_error"
    assert "attempts" not in error
    for word in words:
        assert word in str(error["message"])
    assert 1 <= int(answer.headers["retry-after"]) <= 3600
    assert int(answer.headers["retry-after-ms"]) <= int(answer.headers["retry-after"]) * 1000


def team(gateway: Gateway, name: str, **fields: object) -> str:
    made: str = gateway.admin("POST", "teams", 201, json={"name": name, **fields}).json()["id"]
    return made


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_tells_the_limits_as_openai_does(gateway: Gateway, model: str, stream: bool) -> None:
    key = gateway.create_key(limits={"requests_per_minute": 60, "tokens_per_minute": 6000})
    answer = gateway.ask(key, chat(model, max_tokens=100, stream=stream))
    assert answer.status_code == 200
    told = limits_of(answer)
    assert list(told) == [
        *("x-ratelimit-limit-requests", "x-ratelimit-limit-tokens"),
        *("x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"),
        *("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"),
    ]
    assert told["x-ratelimit-limit-requests"] == "60"
    assert told["x-ratelimit-limit-tokens"] == "6000"
    assert told["x-ratelimit-remaining-requests"] == "59"
    assert 5850 <= int(told["x-ratelimit-remaining-tokens"]) < 5900
    assert told["x-ratelimit-reset-requests"] == "1s"
    assert DURATION.fullmatch(told["x-ratelimit-reset-tokens"])


def test_a_key_without_limits_is_told_of_none(gateway: Gateway, key: Key, model: str) -> None:
    assert limits_of(gateway.ask(key, chat(model))) == {}


def test_the_keys_own_limit_refuses_and_says_when_to_come_back(gateway: Gateway, model: str, one: Provider) -> None:
    key = gateway.create_key(limits={"requests_per_minute": 2})
    assert [gateway.ask(key, chat(model)).status_code for _ in range(2)] == [200, 200]
    answer = gateway.ask(key, chat(model))
    refused(answer, f"key `{key.id}`", "2 requests a minute", "try again in")
    told = limits_of(answer)
    assert told["x-ratelimit-remaining-requests"] == "0"
    assert "x-ratelimit-limit-tokens" not in told
    assert 25_000 < int(answer.headers["retry-after-ms"]) <= 30_000
    assert len(one.asked(model)) == 2
    row = gateway.request_row(answer.headers["x-request-id"])
    assert (row["status"], row["error_code"]) == (429, "rate_limit_exceeded")


def test_the_official_client_waits_as_told_and_then_succeeds(gateway: Gateway, model: str) -> None:
    key = gateway.create_key(limits={"requests_per_minute": 30})
    client = openai.OpenAI(base_url=gateway.v1, api_key=key.secret, max_retries=0)
    for _ in range(30):
        gateway.ask(key, chat(model))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "rate_limit_exceeded"
    patient = client.with_options(max_retries=3)
    assert patient.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}]).choices
    client.close()


def test_a_teams_limit_is_all_its_keys_together(gateway: Gateway, model: str) -> None:
    of = team(gateway, "shared", limits={"requests_per_minute": 3})
    keys = [gateway.create_key(team_id=of) for _ in range(2)]
    statuses = [gateway.ask(keys[n % 2], chat(model)).status_code for n in range(3)]
    assert statuses == [200, 200, 200]
    for key in keys:
        refused(gateway.ask(key, chat(model)), f"team `{of}`")


def test_the_tightest_of_several_limits_shows_and_a_refusal_takes_nothing(gateway: Gateway, model: str) -> None:
    of = team(gateway, "tight", limits={"requests_per_minute": 2})
    key = gateway.create_key(team_id=of, limits={"requests_per_minute": 1000})
    assert limits_of(gateway.ask(key, chat(model)))["x-ratelimit-limit-requests"] == "2"
    gateway.ask(key, chat(model))
    for _ in range(20):
        refused(gateway.ask(key, chat(model)), f"team `{of}`")
    changed = gateway.admin("PATCH", f"teams/{of}", 200, json={"limits": {}}).json()
    assert changed["limits"] == {}
    assert int(limits_of(gateway.ask(key, chat(model)))["x-ratelimit-remaining-requests"]) >= 997


def test_a_model_within_a_key_has_a_limit_of_its_own(gateway: Gateway, model: str) -> None:
    key = gateway.create_key(limits={"models": {f"{model}*": {"requests_per_minute": 1}}})
    assert gateway.ask(key, chat(model)).status_code == 200
    refused(gateway.ask(key, chat(model)), f"model `{model}*` of key `{key.id}`")
    other = gateway.ask(key, chat("pool"))
    assert (other.status_code, limits_of(other)) == (200, {})


def test_a_model_may_have_a_limit_for_everybody_together(gateway: Gateway, model: str) -> None:
    url = f"sqlite:///{gateway.state / 'turnpike.db'}"
    document = json.dumps({"requests_per_minute": 2})
    execute(url, f"INSERT INTO model_limits (model, limits, version) VALUES ('{model}', '{document}', 1)")
    execute(url, "UPDATE control SET version = version + 1 WHERE name = 'limits'")
    keys = [gateway.create_key() for _ in range(2)]
    eventually(lambda: limits_of(gateway.ask(keys[0], chat(model))), "the limit is read", within_s=2)
    eventually(lambda: gateway.ask(keys[1], chat(model)).status_code == 429, "both are counted", within_s=2)
    refused(gateway.ask(keys[0], chat(model)), f"model `{model}`")


def test_tokens_are_counted_on_what_was_used(gateway: Gateway, one: Provider, model: str) -> None:
    key = gateway.create_key(limits={"tokens_per_minute": 600})
    one.queue(model, reply(Says(tokens=Tokens(input=11, output=7))), reply(Says(tokens=Tokens(input=500, output=90))))
    first, second = (limits_of(gateway.ask(key, chat(model))) for _ in range(2))
    assert 330 <= int(first["x-ratelimit-remaining-tokens"]) <= 600 - ANSWER_TOKENS
    assert int(second["x-ratelimit-remaining-tokens"]) >= 600 - 18 - (600 - int(first["x-ratelimit-remaining-tokens"]))
    refused(gateway.ask(key, chat(model)), f"key `{key.id}`", "600 tokens a minute", "estimated at")


def test_a_generous_max_tokens_is_not_counted_as_if_it_were_written(gateway: Gateway, model: str) -> None:
    key = gateway.create_key(limits={"tokens_per_minute": 10_000})
    assert [gateway.ask(key, chat(model, max_tokens=9_000)).status_code for _ in range(10)] == [200] * 10


def test_a_prompt_that_can_never_fit_is_refused_for_good(gateway: Gateway, model: str) -> None:
    key = gateway.create_key(limits={"tokens_per_minute": 100})
    answer = gateway.ask(key, chat(model, "word " * 1000))
    refused(answer, "shorten it")
    assert answer.headers["x-should-retry"] == "false"
    assert gateway.ask(key, chat(model)).status_code == 200


def test_a_failed_request_counts_as_one_and_gives_its_tokens_back(gateway: Gateway, one: Provider, model: str) -> None:
    key = gateway.create_key(limits={"requests_per_minute": 10, "tokens_per_minute": 1000})
    one.queue(model, refusal(400))
    failed = gateway.ask(key, chat(model))
    assert failed.status_code == 400
    assert limits_of(failed)["x-ratelimit-remaining-requests"] == "9"
    told = limits_of(gateway.ask(key, chat(model)))
    assert told["x-ratelimit-remaining-requests"] == "8"
    assert int(told["x-ratelimit-remaining-tokens"]) >= int(limits_of(failed)["x-ratelimit-remaining-tokens"])


def test_an_answer_from_the_cache_is_a_request_without_tokens(gateway: Gateway, model: str) -> None:
    key = gateway.create_key(limits={"requests_per_minute": 10, "tokens_per_minute": 10_000})
    asked = chat(model, temperature=0, max_tokens=50)
    came = [gateway.ask(key, asked) for _ in range(5)]
    assert [answer.headers["x-turnpike-cache"] for answer in came] == ["miss", *["exact"] * 4]
    told = [limits_of(answer) for answer in came]
    assert [each["x-ratelimit-remaining-requests"] for each in told] == ["9", "8", "7", "6", "5"]
    # Only the first has used some: its 18, beside the estimate of the one that asks.
    assert int(told[-1]["x-ratelimit-remaining-tokens"]) >= 10_000 - 18 - 100


ENDS: Final[dict[str, Behaviour]] = {
    "answered": reply(),
    "refused": refusal(400),
    "failed": refusal(500),
    "broken off": broken_stream(Says(), Close(), after=2),
    "broken off before": broken_stream(Says(), Close(), after=0),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("end", ENDS)
def test_a_place_is_free_again_whatever_the_end(
    gateway: Gateway, one: Provider, model: str, end: str, stream: bool
) -> None:
    key = gateway.create_key(limits={"concurrency_max": 1})
    one.queue(model, ENDS[end], ENDS[end])
    gateway.ask(key, chat(model, stream=stream))
    # Whatever is left of the queue; a deployment that rests now is no matter of limits.
    assert gateway.ask(key, chat("pool")).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_requests_at_once_are_bounded_and_a_client_that_leaves_makes_room(
    gateway: Gateway, one: Provider, model: str, stream: bool
) -> None:
    key = gateway.create_key(limits={"concurrency_max": 1})
    waits = broken_stream(Says(), Pause(FOREVER_S), after=3) if stream else stall()
    one.queue(model, waits)
    with RawClient(gateway.port) as client:
        client.send(request_bytes(json.dumps(chat(model, stream=stream)).encode(), key.secret))
        eventually(lambda: one.asked(model), "the provider is asked")
        if stream:
            client.read_until(b"Hello")
        refused(gateway.ask(key, chat(model)), f"key `{key.id}`", "1 requests under way")
        refused(gateway.ask(key, chat(model, stream=True)), "try again when one has ended")
    eventually(lambda: gateway.ask(key, chat(model)).status_code == 200, "there is room", within_s=5)


def test_a_streams_place_is_taken_until_its_last_byte(gateway: Gateway, one: Provider, model: str) -> None:
    key = gateway.create_key(limits={"concurrency_max": 2})
    one.queue(model, broken_stream(Says(), Pause(FOREVER_S), after=3))
    with RawClient(gateway.port) as client:
        client.send(request_bytes(json.dumps(chat(model, stream=True)).encode(), key.secret))
        client.read_until(b"Hello")
        for _ in range(3):
            assert gateway.ask(key, chat(model)).status_code == 200


def test_a_changed_limit_binds_within_a_second(gateway: Gateway, key: Key, model: str) -> None:
    gateway.admin("PATCH", f"keys/{key.id}", 200, json={"limits": {"requests_per_minute": 1}})
    eventually(lambda: gateway.ask(key, chat(model)).status_code == 429, "the limit binds", within_s=WITHIN_S)
    gateway.admin("PATCH", f"keys/{key.id}", 200, json={"limits": {}})
    eventually(lambda: gateway.ask(key, chat(model)).status_code == 200, "it is gone", within_s=WITHIN_S)


def test_the_configurations_limits_are_each_keys(one: Provider, two: Provider, directory: Path, model: str) -> None:
    config = {**configuration(one, two), "limits": {"requests_per_minute": 2}}
    with Gateway(directory, config) as gateway:
        for key in (gateway.create_key(), gateway.create_key()):
            assert [gateway.ask(key, chat(model)).status_code for _ in range(3)] == [200, 200, 429]
        own = gateway.create_key(limits={"requests_per_minute": 50})
        assert [gateway.ask(own, chat(model)).status_code for _ in range(3)] == [200] * 3
        about = gateway.client.get("/v1/key", headers=own.bearer).json()
        assert about["limits"]["requests_per_minute"] == 50


def test_tags_that_a_team_fixes_are_on_each_request(gateway: Gateway, model: str) -> None:
    of = team(gateway, "tagging", tags={"env": "prod"})
    key = gateway.create_key(team_id=of, tags={"app": "x"})
    answer = gateway.ask(key, chat(model), {"x-turnpike-tags": "feature=a"})
    assert gateway.request_row(answer.headers["x-request-id"])["tags"] == ["app=x", "env=prod", "feature=a"]
    error = error_of(gateway.ask(key, chat(model), {"x-turnpike-tags": "env=dev"}), 403, "tag_not_allowed")
    assert "'env'" in str(error["message"])


def test_tags_that_must_or_may_not_be_there(gateway: Gateway, one: Provider, model: str) -> None:
    of = team(gateway, "demanding", tags_required=["feature"], tags_allowed={"feature": ["search", "chat-*"]})
    key = gateway.create_key(team_id=of)
    error_of(gateway.ask(key, chat(model)), 403, "tag_not_allowed")
    error_of(gateway.ask(key, chat(model), {"x-turnpike-tags": "feature=ads"}), 403, "tag_not_allowed")
    tagged = chat(model, metadata={"tags": "feature=chat-7"})
    assert gateway.ask(key, tagged).status_code == 200
    assert gateway.ask(key, chat(model), {"x-turnpike-tags": "feature=search"}).status_code == 200
    assert len(one.asked(model)) == 2


def test_a_team_narrows_its_keys_models_also_where_a_fallback_leads(
    gateway: Gateway, one: Provider, two: Provider, pair: str
) -> None:
    of = team(gateway, "narrow", models_allowed=[pair])
    key = gateway.create_key(team_id=of, models_allowed=["pair-*", "spare-*", "pool"])
    error_of(gateway.ask(key, chat("pool")), 403, "model_not_allowed")
    listed = gateway.client.get("/v1/models", headers=key.bearer).json()["data"]
    assert [entry["id"] for entry in listed] == [pair]
    assert gateway.ask(key, chat(pair)).status_code == 200
    one.always(pair, refusal(500))
    assert gateway.ask(key, chat(pair)).status_code == 502
    assert two.asked(pair) == two.asked(f"spare-{pair}") == []
    gateway.admin("PATCH", f"teams/{of}", 200, json={"models_allowed": []})
    assert gateway.ask(key, chat("pool")).status_code == 200


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"request_per_minute": 1}, "requests_per_minute"),
        ({"tokens_per_minute": -1}, "tokens_per_minute"),
        ({"models": {"a": {"rpm": 1}}}, "rpm"),
        ({"models": {"a": {"models": {}}}}, "models"),
        ({"concurrency_max": "many"}, "concurrency_max"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(gateway: Gateway, limits: dict[str, object], field: str) -> None:
    for path in ("keys", "teams"):
        problem = gateway.admin("POST", path, 422, json={"name": "odd", "limits": limits}).json()
        assert field in problem["detail"]
