"""A real vLLM that the gateway starts, routes to and stops; and a hosted provider that it stands in for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import openai
import pytest

from tests.e2e.fixtures import ONE, TWO, deployment, hosted
from tests.e2e.gateway import Gateway, Key, chat, eventually, sse_data
from tests.fakes.provider import Provider
from tests.fakes.script import Says, refusal, reply
from tests.fixtures.vllm import TINY_ARGS, tiny_model, vllm_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types.chat import ChatCompletionToolParam

__all__ = ["tiny_model", "vllm_environment"]

pytestmark = pytest.mark.slow

START_S_MAX = 240.0
LOOK: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def providers() -> Iterator[tuple[Provider, Provider]]:
    with Provider("one", ONE) as one, Provider("two", TWO) as two:
        yield one, two


@pytest.fixture(scope="module")
def home(
    providers: tuple[Provider, Provider],
    vllm_environment: Path,
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    config = {
        "providers": hosted(*providers),
        "local": {
            "command": [str(vllm_environment), "serve"],
            "models": {"tiny": {"model": str(tiny_model), "args": dict(TINY_ARGS), "start": "eager"}},
        },
        "models": {
            "small": [{"provider": "local", "model": "tiny"}],
            "chat": [deployment("one", "chat")],
            "chat-two": [deployment("two", "chat")],
        },
        "routing": {"fallbacks": {"chat": ["chat-two", "small"]}},
    }
    gateway = Gateway(tmp_path_factory.mktemp("home"), config)
    try:
        gateway.start()
        answers(gateway, gateway.create_key())
        yield gateway
    finally:
        gateway.stop()


def answers(gateway: Gateway, key: Key) -> None:
    """Once vLLM is up."""

    def up() -> bool:
        body = chat("small", max_tokens=1)
        answer = gateway.client.post("/v1/chat/completions", json=body, headers=key.bearer, timeout=START_S_MAX)
        return answer.status_code == 200

    eventually(up, "the local model answers", within_s=START_S_MAX)


@pytest.fixture
def resident(home: Gateway) -> Key:
    return home.create_key()


@pytest.fixture
def client(home: Gateway, resident: Key) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=home.v1, api_key=resident.secret, max_retries=0, timeout=120) as made:
        yield made


def test_it_answers_and_costs_nothing(home: Gateway, resident: Key) -> None:
    answer = home.ask(resident, chat("small", "Hello!", max_tokens=16))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-turnpike-provider"] == "local"
    assert answer.headers["x-turnpike-cost-usd"] == "0.000000000"
    assert answer.json()["choices"][0]["message"]["content"].strip()
    [row] = home.usage_of(resident)
    assert row["cost_usd"] == "0.000000000"
    assert row["input_tokens"] == answer.json()["usage"]["prompt_tokens"]
    assert row["output_tokens"] == answer.json()["usage"]["completion_tokens"]


def test_its_stream_says_the_same_as_its_answer(home: Gateway, resident: Key) -> None:
    body = chat("small", "Hello!", max_tokens=16, seed=1)
    off = {"x-turnpike-cache": "off"}
    whole = home.ask(resident, {**body, "temperature": 0}, off).json()["choices"][0]["message"]["content"]
    stream = home.ask(resident, {**body, "temperature": 0, "stream": True}, off)
    *chunks, done = sse_data(stream.content)
    assert done == b"[DONE]"
    told = [json.loads(chunk) for chunk in chunks]
    assert "".join(part["choices"][0]["delta"].get("content") or "" for part in told) == whole
    assert len(told) > 3


def test_the_official_client_streams_from_it(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="small",
            messages=[{"role": "user", "content": "Hello!"}],
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-1].model_extra is not None
    assert chunks[-1].model_extra["turnpike"]["cost_usd"] == "0.000000000"


def test_it_calls_the_tool_that_it_is_told_to_call(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[LOOK],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        max_tokens=200,
        temperature=0,
    )
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments), dict)


@pytest.mark.parametrize("stream", [False, True])
def test_it_stands_in_when_both_hosted_providers_fail(
    home: Gateway, resident: Key, providers: tuple[Provider, Provider], stream: bool
) -> None:
    one, two = providers
    one.always("chat", refusal(503))
    two.always("chat", refusal(500))
    answer = home.ask(resident, chat("chat", "Hello!", max_tokens=8, stream=stream))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-turnpike-provider"] == "local"
    assert answer.headers["x-turnpike-route"] == "fallback"
    row = home.request_row(answer.headers["x-request-id"])
    attempts = row["attempts"]
    assert isinstance(attempts, list)
    assert [attempt["provider"] for attempt in attempts] == ["one", "two", "local"]
    one.always("chat", reply())
    two.always("chat", reply())


def test_hosted_and_local_stand_in_one_report_that_equals_the_bills(
    home: Gateway, resident: Key, providers: tuple[Provider, Provider]
) -> None:
    one, two = providers
    before = one.bill_nano_usd() + two.bill_nano_usd()
    one.queue("chat", *[reply(Says())] * 3)
    for _ in range(3):
        home.ask(resident, chat("chat", max_tokens=4))
        home.ask(resident, chat("small", max_tokens=4))
    rows = home.usage_of(resident, "provider", requests=6)
    billed = one.bill_nano_usd() + two.bill_nano_usd() - before
    assert {row["provider"] for row in rows} >= {"local"}
    assert sum(round(float(str(row["cost_usd"])) * 10**9) for row in rows) == billed


def test_what_it_cannot_do_is_refused_in_its_own_words(home: Gateway, resident: Key) -> None:
    answer = home.ask(resident, chat("small", "word " * 20_000))
    assert answer.status_code == 400
    assert "4096" in answer.json()["error"]["message"]
    assert "127.0.0.1" not in answer.text


def test_its_state_is_told(home: Gateway) -> None:
    replicas = json.dumps(home.admin("GET", "local", 200).json())
    assert "tiny" in replicas
    assert "ready" in replicas
    assert "tiny" in home.cli("local", "status")


def children_of(pid: int) -> set[int]:
    """Every process below this one."""
    found: set[int] = set()
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents if parent in frontier} - found
        found |= frontier
    return found


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def tree_of(gateway: Gateway) -> set[int]:
    tree = children_of(gateway.pid)
    assert len(tree) >= 2, "vLLM runs in processes of its own"
    return tree


def test_its_whole_process_tree_ends_with_the_gateway(home: Gateway) -> None:
    """The last test here: it ends the gateway of the others, stopped at first and then, started once more, killed."""
    tree = tree_of(home)
    assert home.stop() == 0
    eventually(lambda: not any(map(alive, tree)), "stopped: no process of vLLM is left", within_s=30)
    home.start()
    answers(home, home.create_key())
    tree = tree_of(home)
    home.kill()
    eventually(lambda: not any(map(alive, tree)), "killed: no process of vLLM is left", within_s=30)
