"""The official Node client, unmodified, with nothing changed but its baseURL and its key."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway, Key, eventually
from tests.fakes.bill import Tokens, usd_text
from tests.fakes.script import FOREVER_S, Close, Pause, Says, broken_stream, refusal, reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.provider import Provider

pytestmark = pytest.mark.slow

CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"where":"здесь"}'}}


@pytest.fixture
def node(gateway: Gateway, key: Key, node_client: Path) -> Callable[..., dict[str, object]]:
    def run(act: str, model: str, secret: str = key.secret) -> dict[str, object]:
        asked = json.dumps({"baseURL": gateway.v1, "apiKey": secret, "model": model, "act": act})
        script = node_client / "client.mjs"
        done = subprocess.run(["node", script, asked], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        saw = json.loads(done.stdout)
        assert isinstance(saw, dict)
        return saw

    return run


def test_an_answer(node: Callable[..., dict[str, object]], one: Provider, model: str) -> None:
    one.queue(model, reply(Says(pieces=("grüße 🚀",))))
    assert node("answer", model) == {"content": "grüße 🚀", "provider": "one"}


def test_a_stream_with_its_exact_cost(node: Callable[..., dict[str, object]], one: Provider, model: str) -> None:
    one.queue(model, reply(Says(pieces=("数", "据"), tokens=Tokens(400, 30, cached=100))))
    saw = node("stream", model)
    assert saw["content"] == "数据"
    assert saw["usage"] == Tokens(400, 30, cached=100).document()
    turnpike = saw["turnpike"]
    assert isinstance(turnpike, dict)
    assert turnpike["cost_usd"] == usd_text(one.bill_nano_usd(model))


def test_a_tool_call(node: Callable[..., dict[str, object]], one: Provider, model: str) -> None:
    one.queue(model, reply(Says(pieces=(), tool_calls=(CALL,), finish="tool_calls")))
    saw = node("tools", model)
    assert saw["finish"] == "tool_calls"
    assert '{\\"where\\":\\"здесь\\"}' in json.dumps(saw["calls"], ensure_ascii=False)


def test_a_provider_that_fails_is_replaced(node: Callable[..., dict[str, object]], one: Provider, pair: str) -> None:
    one.always(pair, refusal(500))
    assert node("answer", pair) == {"content": "Hello, world", "provider": "two"}


def test_a_cache_hit(node: Callable[..., dict[str, object]], model: str) -> None:
    assert node("hit", model) == {"caches": ["miss", "exact"]}


@pytest.mark.parametrize(
    ("secret", "asked", "code", "status"),
    [("tp-unknown", "pool", "invalid_api_key", 401), (None, "none-such", "model_not_found", 404)],
)
def test_refusals(
    node: Callable[..., dict[str, object]], key: Key, secret: str | None, asked: str, code: str, status: int
) -> None:
    error = node("answer", asked, secret or key.secret)["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["status"]) == (code, status)


def test_a_stream_that_breaks_after_its_first_word_throws(
    node: Callable[..., dict[str, object]], one: Provider, model: str
) -> None:
    one.always(model, broken_stream(Says(), Close(), after=3))
    error = node("stream", model)["error"]
    assert isinstance(error, dict)
    assert error["code"] == "provider_error"


def test_a_client_that_breaks_off_frees_the_provider(
    node: Callable[..., dict[str, object]], one: Provider, model: str
) -> None:
    one.always(model, broken_stream(Says(), Pause(FOREVER_S), after=3))
    assert node("leave", model) == {"left": True}
    eventually(lambda: [left for left in one.left if left.request.model == model], "the provider is let go")


def test_models_are_listed(node: Callable[..., dict[str, object]]) -> None:
    ids = node("models", "")["ids"]
    assert isinstance(ids, list)
    assert "pool" in ids
