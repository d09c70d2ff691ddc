"""With nothing configured and nothing found, the first request still answers, and says that it is simulated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway, chat, sse_data

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    # No vllm on this PATH, so that nothing at all is found.
    with Gateway(tmp_path_factory.mktemp("bare"), environ={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}) as running:
        yield running


def test_the_echo_answers_and_is_labelled_as_simulated(bare: Gateway) -> None:
    key = bare.create_key()
    answer = bare.ask(key, chat("demo/echo", "Is anybody there?"))
    assert answer.status_code == 200
    content = answer.json()["choices"][0]["message"]["content"]
    assert "Is anybody there?" in content
    assert "simulated" in answer.text.lower()
    assert answer.headers["x-turnpike-provider"] == "demo"
    assert answer.headers["x-turnpike-cost-usd"] == "0.000000000"


def test_the_echo_streams(bare: Gateway) -> None:
    key = bare.create_key()
    answer = bare.ask(key, chat("demo/echo", "Is anybody there?", stream=True, stream_options={"include_usage": True}))
    *chunks, done = sse_data(answer.content)
    assert done == b"[DONE]"
    documents = [json.loads(chunk) for chunk in chunks]
    content = "".join(part["choices"][0]["delta"].get("content") or "" for part in documents if part["choices"])
    assert "Is anybody there?" in content
    assert "simulated" in content.lower()
    assert documents[-1]["turnpike"]["cost_usd"] == "0.000000000"


def test_the_echo_is_listed_and_counted(bare: Gateway) -> None:
    key = bare.create_key()
    rows = bare.client.get("/v1/models", headers=key.bearer).json()["data"]
    assert "demo/echo" in {row["id"] for row in rows}
    bare.ask(key, chat("demo/echo"))
    [row] = bare.usage_of(key)
    assert row["cost_usd"] == "0.000000000"


@pytest.mark.parametrize(
    "more",
    [{"n": 2}, {"messages": []}, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}],
    ids=str,
)
def test_the_echo_minds_its_manners(bare: Gateway, more: dict[str, object]) -> None:
    answer = bare.ask(bare.create_key(), {**chat("demo/echo"), **more})
    assert answer.status_code in {200, 400}


def test_a_provider_key_in_the_environment_is_enough(tmp_path_factory: pytest.TempPathFactory) -> None:
    environ = {"OPENAI_API_KEY": "sk-found-0123456789", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    with Gateway(tmp_path_factory.mktemp("found"), environ=environ) as gateway:
        key = gateway.create_key()
        ids = {row["id"] for row in gateway.client.get("/v1/models", headers=key.bearer).json()["data"]}
        assert "demo/echo" not in ids
        assert "sk-found-0123456789" not in gateway.logs()
