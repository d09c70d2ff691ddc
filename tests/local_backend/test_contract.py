"""What is promised of any vLLM, asked of the fake one and of the real one."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from local_backend.processes import Named, Record, clear_leftovers, members, read_record
from local_backend.readiness import Address, load
from local_backend.state import State
from local_backend.supervisor import LocalModelFailed, Supervisor
from tests.local_backend.conftest import Backend
from tests.local_backend.trees import eventually, everyone, named, record_in, survivors

pytestmark = pytest.mark.process

STAND_IN = Path(__file__).with_name("gateway_stand_in.py")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@asynccontextmanager
async def serving(backend: Backend) -> AsyncIterator[tuple[Supervisor, Address]]:
    async with backend.supervisor() as supervisor:
        async with asyncio.timeout(backend.up_s_max):
            address = await supervisor.ensure_ready("tiny")
        yield supervisor, address


def chat(text: str, **more: object) -> dict[str, object]:
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 64,
        **more,
    }


async def test_it_answers_whole_and_in_a_stream_and_calls_tools_and_ends_without_a_trace(backend: Backend) -> None:
    """One start for all of it: a real one takes twenty seconds."""
    async with serving(backend) as (supervisor, address):
        people = everyone(record_in(backend.directory))
        assert len(people) >= 4
        async with httpx.AsyncClient(base_url=f"http://{address}/v1", timeout=60) as client:
            await answers_whole(client)
            await answers_in_a_stream(client)
            await calls_a_tool(client)
        seen = await load(address, 5)
        assert seen.requests == 0
        assert seen.tokens > 0
        assert supervisor.logs("tiny", 5)
        await supervisor.stop_model("tiny")
        assert survivors(people) == []
        assert supervisor.states()[0].state is State.STOPPED
    assert not list((backend.directory / "replicas").glob("*"))


async def answers_whole(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/chat/completions", json=chat("Hello"))).raise_for_status().json()
    assert "Hello" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 1


async def answers_in_a_stream(client: httpx.AsyncClient) -> None:
    async with client.stream("POST", "/chat/completions", json=chat("Hello", stream=True)) as response:
        lines = [line async for line in response.aiter_lines()]
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    choices = [json.loads(event)["choices"][0] for event in events]
    assert "Hello" in "".join(choice["delta"].get("content") or "" for choice in choices)
    assert choices[-1]["finish_reason"] == "stop"
    assert len(choices) > 2


async def calls_a_tool(client: httpx.AsyncClient) -> None:
    asked = chat("What is the weather in Vienna?", tools=[WEATHER])
    answer = (await client.post("/chat/completions", json=asked)).raise_for_status().json()["choices"][0]
    (call,) = answer["message"]["tool_calls"]
    assert answer["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "get_weather"
    assert list(json.loads(call["function"]["arguments"])) == ["city"]


async def test_killed_or_frozen_it_is_replaced_and_leaves_nothing(backend: Backend) -> None:
    async with serving(backend) as (supervisor, _):
        for part, number in (("EngineCor", signal.SIGKILL), ("serve", signal.SIGKILL), ("EngineCor", signal.SIGSTOP)):
            people = harm(record_in(backend.directory), part, number)
            within_s = 5 if number is signal.SIGKILL else 20
            await eventually(lambda: supervisor.ready_address("tiny") is None, within_s, f"{part} {number}: noticed")
            await eventually(partial(none_of, people), 5, f"{part} {number}: the tree is gone")
            async with asyncio.timeout(backend.up_s_max):
                await supervisor.ensure_ready("tiny")
        assert supervisor.states()[0].restarts == 3


def harm(record: Record, part: str, number: signal.Signals) -> list[Named]:
    people = everyone(record)
    os.kill(record.leader.pid if part == "serve" else named(record, part), number)
    return people


def none_of(people: list[Named]) -> bool:
    return survivors(people) == []


@asynccontextmanager
async def gateway_process(backend: Backend) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path, Record]]:
    """A gateway in a process of its own, with its replica's record, once that is ready."""
    wanted = {
        "command": backend.command,
        "directory": str(backend.directory),
        "model": {"name": "tiny", "model": backend.model.model, "args": dict(backend.model.args)},
    }
    gateway = await asyncio.create_subprocess_exec(
        sys.executable,
        STAND_IN,
        json.dumps(wanted),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(STAND_IN.parents[2])},  # noqa: TID251
    )
    assert gateway.stdout is not None
    async with asyncio.timeout(backend.up_s_max):
        path = Path((await gateway.stdout.readline()).decode().strip())
    record = read_record(path)
    assert record is not None
    yield gateway, path, record
    await gateway.wait()


async def test_when_the_gateway_is_killed_nothing_is_left_within_five_seconds(backend: Backend) -> None:
    async with gateway_process(backend) as (gateway, path, record):
        people = everyone(record)
        assert len(people) >= 4
        gateway.send_signal(signal.SIGKILL)
        await eventually(partial(none_of, people), 5, "the tree is gone")
        assert members(record.leader) == ()
        await eventually(lambda: read_record(path) is None, 5, "its record is gone")


async def test_when_gateway_and_guardian_are_killed_the_next_gateway_clears_up(backend: Backend) -> None:
    """The guardian goes first, so that it cannot do its duty; PR_SET_PDEATHSIG takes the API server along."""
    async with gateway_process(backend) as (gateway, path, record):
        people = everyone(record)
        # Frozen, the gateway cannot clear up behind its guardian.
        gateway.send_signal(signal.SIGSTOP)
        os.kill(record.guardian.pid, signal.SIGKILL)
        gateway.send_signal(signal.SIGKILL)
    await eventually(lambda: not record.leader.alive(), 5, "the API server went with its guardian")
    assert survivors(people)
    assert await clear_leftovers(path.parent, 5) == ()
    assert survivors(people) == []
    assert read_record(path) is None


@pytest.mark.slow
async def test_a_start_that_cannot_work_fails_with_the_engines_own_sentence(
    vllm_environment: Path, tiny_model: Path, tmp_path: Path
) -> None:
    from local_backend.supervisor import Limits, LocalModel
    from tests.fixtures.vllm import TINY_ARGS

    args = {**TINY_ARGS, "kv-cache-memory-bytes": "64k"}
    backend = Backend(
        (str(vllm_environment), "serve"), LocalModel("tiny", str(tiny_model), args=args), tmp_path, Limits(), 120
    )
    async with backend.supervisor() as supervisor:
        with pytest.raises(LocalModelFailed, match="No available memory for the cache blocks"):
            await supervisor.ensure_ready("tiny")
