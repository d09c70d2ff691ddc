"""The exact cache from the outside: when it answers, for whom, what it says about it and what it saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway, Key, chat, error_of, eventually
from tests.fakes.script import Pause, Reset, Says, broken_stream, refusal, reply

if TYPE_CHECKING:
    from tests.fakes.provider import Provider


def outcome(gateway: Gateway, key: Key, body: dict[str, object], directive: str | None = None) -> str:
    answer = gateway.ask(key, body, {"x-turnpike-cache": directive} if directive else {})
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-turnpike-cache"])


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_question_at_temperature_zero_is_answered_once(
    gateway: Gateway, key: Key, one: Provider, model: str, stream: bool
) -> None:
    body = chat(model, temperature=0, stream=stream)
    first, second = gateway.ask(key, body), gateway.ask(key, body)
    assert [first.headers["x-turnpike-cache"], second.headers["x-turnpike-cache"]] == ["miss", "exact"]
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["x-turnpike-cost-usd"] == "0.000000000"
    assert second.headers["x-turnpike-attempts"] == "0"
    assert second.headers["x-turnpike-provider"] == "one"
    assert second.headers["x-turnpike-model"] == model
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(one.asked(model)) == 1
    [row] = gateway.usage_of(key, requests=2)
    eventually(lambda: float(str(gateway.usage_of(key, requests=2)[0]["saved_usd"])) > 0, "the saving is shown")
    assert row["requests"] == 2


def test_what_a_hit_saves_is_what_the_answer_had_cost(gateway: Gateway, key: Key, model: str) -> None:
    first = gateway.ask(key, chat(model, temperature=0))
    for _ in range(2):
        gateway.ask(key, chat(model, temperature=0))
    cost = first.headers["x-turnpike-cost-usd"]

    def saved_twice() -> bool:
        [row] = gateway.usage_of(key, requests=3)
        return float(str(row["saved_usd"])) == pytest.approx(2 * float(cost)) and row["cost_usd"] == cost

    eventually(saved_twice, "two hits save twice the cost")


def test_without_a_temperature_nothing_is_kept(gateway: Gateway, key: Key, model: str) -> None:
    assert [outcome(gateway, key, chat(model)) for _ in range(2)] == ["miss", "miss"]
    assert [outcome(gateway, key, chat(model, temperature=0.5)) for _ in range(2)] == ["miss", "miss"]
    assert [outcome(gateway, key, chat(model, temperature=0, n=2)) for _ in range(2)] == ["miss", "miss"]


def test_spelling_does_not_matter_but_every_field_does(gateway: Gateway, key: Key, model: str) -> None:
    plain = b'{"model":"%s","messages":[{"role":"user","content":"caf\xc3\xa9"}],"temperature":0}' % model.encode()
    spelt = b'{ "temperature": 0.0, "messages":[{"content":"caf\\u00e9","role":"user"}], "model":"%s"}' % model.encode()
    assert gateway.ask(key, plain).headers["x-turnpike-cache"] == "miss"
    assert gateway.ask(key, spelt).headers["x-turnpike-cache"] == "exact"
    for more in (b'"seed":1', b'"max_tokens":9', b'"unknown":null', b'"tools":[]', b'"stream":true'):
        changed = plain[:-1] + b"," + more + b"}"
        assert gateway.ask(key, changed).headers["x-turnpike-cache"] == "miss", more


def test_directives(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    body = chat(model)
    assert [outcome(gateway, key, body, "on") for _ in range(2)] == ["miss", "exact"]
    assert outcome(gateway, key, body, "off") == "miss"
    one.queue(model, reply(Says(pieces=("renewed",))))
    assert outcome(gateway, key, body, "refresh") == "miss"
    assert b"renewed" in gateway.ask(key, body, {"x-turnpike-cache": "on"}).content
    assert outcome(gateway, key, body, "only") == "exact"


def test_only_without_a_kept_answer_is_504_and_not_to_be_tried_again(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    answer = gateway.ask(key, chat(model, temperature=0), {"x-turnpike-cache": "only"})
    error_of(answer, 504, "cache_miss")
    assert answer.headers["x-should-retry"] == "false"
    assert one.asked(model) == []
    assert outcome(gateway, key, chat(model, temperature=0)) == "miss", "`only` keeps nothing"


def test_answers_stay_within_their_team(gateway: Gateway, model: str) -> None:
    first, second = gateway.create_team("first"), gateway.create_team("second")
    body = chat(model, temperature=0)
    keys = [gateway.create_key(team_id=team) for team in (first, first, second)] + [gateway.create_key() for _ in "ab"]
    assert [outcome(gateway, key, body) for key in keys] == ["miss", "exact", "miss", "miss", "miss"]


@pytest.mark.parametrize(
    "behaviour",
    [
        refusal(400),
        reply(Says(finish="length")),
        reply(Says(tool_calls=({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},))),
    ],
    ids=["error", "cut short", "tool call"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_whole_plain_answer_is_not_kept(
    gateway: Gateway, key: Key, one: Provider, model: str, behaviour: object, stream: bool
) -> None:
    one.queue(model, behaviour)  # type: ignore[arg-type]
    body = chat(model, temperature=0, stream=stream)
    gateway.ask(key, body)
    assert outcome(gateway, key, body) == "miss"


def test_a_stream_that_broke_is_not_kept(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    one.queue(model, broken_stream(Says(), Pause(0.01), Reset(), after=3))
    body = chat(model, temperature=0, stream=True)
    gateway.ask(key, body)
    assert outcome(gateway, key, body) == "miss"
