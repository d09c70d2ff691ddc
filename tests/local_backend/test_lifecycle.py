"""Starting, failing, freezing and ending, with a vLLM that does each on demand."""

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from local_backend.readiness import Load, load
from local_backend.state import State
from local_backend.supervisor import LocalModelFailed, ReplicaState, Supervisor
from tests.local_backend.conftest import Backend
from tests.local_backend.trees import eventually, everyone, record_in, survivors

pytestmark = pytest.mark.process


def starts(backend: Backend) -> int:
    diary = Path(str(backend.model.args["fake-diary"]))
    return len(diary.read_text().splitlines()) if diary.exists() else 0


def ports(backend: Backend) -> list[str]:
    arguments = [json.loads(line) for line in Path(str(backend.model.args["fake-diary"])).read_text().splitlines()]
    return [each[each.index("--port") + 1] for each in arguments]


def state(supervisor: Supervisor, index: int = 0) -> State:
    return supervisor.states()[index].state


async def test_nothing_is_started_before_somebody_asks(fake: Backend) -> None:
    async with fake.supervisor() as supervisor:
        assert supervisor.ready_address("tiny") is None
        assert state(supervisor) is State.STOPPED
        await asyncio.sleep(0.1)
    assert starts(fake) == 0


async def test_fifty_callers_start_it_once_and_all_get_the_address(fake: Backend) -> None:
    async with fake.with_args(**{"fake-start-s": 0.3}).supervisor() as supervisor:
        addresses = await asyncio.gather(*(supervisor.ensure_ready("tiny") for _ in range(50)))
        assert set(addresses) == {supervisor.ready_address("tiny")}
    assert starts(fake) == 1


async def test_an_eager_model_starts_by_itself(fake: Backend) -> None:
    eager = replace(fake, model=replace(fake.model, start="eager"))
    async with eager.supervisor() as supervisor:
        await eventually(lambda: supervisor.ready_address("tiny") is not None, 10, "ready")


async def test_a_slow_start_shows_its_progress(fake: Backend) -> None:
    told: list[ReplicaState] = []
    async with fake.with_args(**{"fake-start-s": 0.5}).supervisor(tell=told.append) as supervisor:
        waiting = asyncio.create_task(supervisor.ensure_ready("tiny"))
        await eventually(lambda: supervisor.states()[0].percent == 85, 5, "half of the weights")
        assert supervisor.states()[0].phase == "loading weights"
        await waiting
        ready = supervisor.states()[0]
        assert (ready.percent, ready.cause, ready.restarts) == (None, None, 0)
        assert ready.address == str(supervisor.ready_address("tiny"))
        assert ready.pid == record_in(fake.directory).leader.pid
    seen = [each.state for each in told]
    assert seen == [State.STARTING, State.WARMING, State.READY, State.DRAINING, State.STOPPED]


async def test_who_gives_up_waiting_stops_nothing(fake: Backend) -> None:
    async with fake.with_args(**{"fake-start-s": 0.4}).supervisor() as supervisor:
        patient = asyncio.create_task(supervisor.ensure_ready("tiny"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await supervisor.ensure_ready("tiny")
        await patient
    assert starts(fake) == 1


async def test_a_failed_start_tells_vllms_own_reason_at_once_and_is_tried_again(fake: Backend) -> None:
    flaky = fake.with_args(**{"fake-crashes": 1})
    async with flaky.supervisor() as supervisor:
        with pytest.raises(LocalModelFailed) as caught:
            await supervisor.ensure_ready("tiny")
        assert caught.value.cause == "No available memory for the cache blocks."
        assert caught.value.retry_after_s is not None
        # In the pause nobody waits in vain.
        with pytest.raises(LocalModelFailed):
            await supervisor.ensure_ready("tiny")
        await eventually(lambda: supervisor.ready_address("tiny") is not None, 10, "the second start")
        assert supervisor.states()[0].restarts == 1
    assert starts(fake) == 2


async def test_the_same_cause_three_times_is_given_up_until_somebody_starts_it(fake: Backend) -> None:
    async with fake.with_args(**{"fake-crashes": 3}).supervisor() as supervisor:
        await supervisor.start_model("tiny")
        await eventually(lambda: state(supervisor) is State.FAILED, 20, "given up")
        with pytest.raises(LocalModelFailed, match=r"No available memory.*turnpike local start tiny") as caught:
            await supervisor.ensure_ready("tiny")
        assert caught.value.retry_after_s is None
        assert starts(fake) == 3
        await supervisor.start_model("tiny")
        await supervisor.ensure_ready("tiny")


async def test_a_missing_executable_is_said_at_once(fake: Backend) -> None:
    async with replace(fake, command=("/nowhere/vllm", "serve")).supervisor() as supervisor:
        with pytest.raises(LocalModelFailed, match="turnpike local install"):
            await supervisor.ensure_ready("tiny")
        assert state(supervisor) is State.FAILED


async def test_a_missing_model_folder_is_said_at_once(fake: Backend) -> None:
    async with fake.supervisor(replace(fake.model, model="/nowhere/model")) as supervisor:
        with pytest.raises(LocalModelFailed, match=r"local\.models\.tiny\.model: there is no folder /nowhere/model"):
            await supervisor.ensure_ready("tiny")


async def test_a_start_without_a_word_is_ended(fake: Backend) -> None:
    limits = replace(fake.limits, start_silence_s_max=0.5)
    async with fake.with_args(**{"fake-mute": True}).supervisor(limits=limits) as supervisor:
        with pytest.raises(LocalModelFailed, match=r"no progress for 0\.5 s while starting Python"):
            await supervisor.ensure_ready("tiny")


async def test_health_alone_makes_nobody_ready(fake: Backend) -> None:
    async with fake.with_args(**{"fake-refuse": True}).supervisor() as supervisor:
        with pytest.raises(LocalModelFailed, match="completed no request: /v1/completions answered 500"):
            await supervisor.ensure_ready("tiny")


async def test_who_ignores_sigterm_is_killed(fake: Backend) -> None:
    limits = replace(fake.limits, stop_s_max=0.3)
    async with fake.with_args(**{"fake-stubborn": True}).supervisor(limits=limits) as supervisor:
        await supervisor.ensure_ready("tiny")
        people = everyone(record_in(fake.directory))
        assert len(people) == 4
        await supervisor.stop_model("tiny")
        assert survivors(people) == []
        assert state(supervisor) is State.STOPPED


async def test_a_stop_lets_the_open_request_finish_and_takes_no_new_one(fake: Backend) -> None:
    limits = replace(fake.limits, canary_pause_s=60)
    async with fake.with_args(**{"fake-answer-s": 0.5}).supervisor(limits=limits) as supervisor:
        address = await supervisor.ensure_ready("tiny")
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        until = asyncio.get_running_loop().time() + 5
        while await load(address, 1) == Load(0, 1):
            assert asyncio.get_running_loop().time() < until
        stopping = asyncio.create_task(supervisor.stop_model("tiny"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert supervisor.ready_address("tiny") is None
        assert b" 200 " in await reader.readline()
        writer.close()
        await stopping


async def test_a_stop_in_the_middle_of_a_start_leaves_nothing(fake: Backend) -> None:
    async with fake.with_args(**{"fake-start-s": 5}).supervisor() as supervisor:
        waiting = asyncio.create_task(supervisor.ensure_ready("tiny"))
        await eventually(lambda: starts(fake) == 1, 5, "started")
        people = everyone(record_in(fake.directory))
        await supervisor.stop_model("tiny")
        with pytest.raises(LocalModelFailed, match="it was stopped"):
            await waiting
        assert survivors(people) == []


@pytest.mark.parametrize("turns", range(12))
async def test_a_stop_at_any_moment_of_the_first_milliseconds_leaves_nothing(fake: Backend, turns: int) -> None:
    async with fake.supervisor() as supervisor:
        await supervisor.start_model("tiny")
        for _ in range(turns):
            await asyncio.sleep(0.002)
        await supervisor.stop_model("tiny")
        assert state(supervisor) is State.STOPPED
    assert records(fake.directory) == []
    await eventually(lambda: not speaking_of(fake.directory), 5, "nobody left")


def records(directory: Path) -> list[Path]:
    return list((directory / "replicas").glob("*"))


def speaking_of(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in command and int(entry.name) != os.getpid():
                found.append(command.decode())
    return found


async def test_asked_for_while_it_stops_it_starts_again(fake: Backend) -> None:
    async with fake.supervisor() as supervisor:
        await supervisor.ensure_ready("tiny")
        stopping = asyncio.create_task(supervisor.stop_model("tiny"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert state(supervisor) is State.DRAINING
        await supervisor.ensure_ready("tiny")
        await stopping
    assert starts(fake) == 2


async def test_two_who_stop_wait_for_the_same_end(fake: Backend) -> None:
    async with fake.supervisor() as supervisor:
        await supervisor.ensure_ready("tiny")
        people = everyone(record_in(fake.directory))
        await asyncio.gather(supervisor.stop_model("tiny"), supervisor.stop_model("tiny"))
        assert survivors(people) == []


async def test_a_killed_guardian_leaves_nothing_either(fake: Backend) -> None:
    async with fake.supervisor() as supervisor:
        await supervisor.ensure_ready("tiny")
        record = record_in(fake.directory)
        people = everyone(record)
        os.kill(record.guardian.pid, signal.SIGKILL)
        await eventually(lambda: not survivors(people), 5, "the tree is gone")
        await eventually(lambda: starts(fake) == 2, 10, "started again")
        await supervisor.ensure_ready("tiny")


async def test_a_frozen_guardian_is_done_without(fake: Backend) -> None:
    limits = replace(fake.limits, stop_s_max=0.3, kill_s_max=0.5)
    async with fake.supervisor(limits=limits) as supervisor:
        await supervisor.ensure_ready("tiny")
        record = record_in(fake.directory)
        people = everyone(record)
        os.kill(record.guardian.pid, signal.SIGSTOP)
        await supervisor.stop_model("tiny")
        assert survivors(people) == []
        assert state(supervisor) is State.STOPPED


async def test_an_api_server_that_freezes_is_replaced(fake: Backend) -> None:
    limits = replace(fake.limits, probe_s_max=0.2)
    async with fake.supervisor(limits=limits) as supervisor:
        await supervisor.ensure_ready("tiny")
        os.kill(record_in(fake.directory).leader.pid, signal.SIGSTOP)
        causes: set[str | None] = set()

        def started_again() -> bool:
            causes.add(supervisor.states()[0].cause)  # gone as soon as it is ready again
            return starts(fake) == 2

        await eventually(started_again, 20, "started again")
        assert any("it is frozen" in str(cause) for cause in causes)
        await supervisor.ensure_ready("tiny")


async def test_a_busy_engine_is_not_taken_for_a_frozen_one(fake: Backend) -> None:
    """The canary itself is too slow here, but tokens are made all the time."""
    limits = replace(fake.limits, canary_s_max=0.3)
    async with fake.with_args(**{"fake-answer-s": 0.5}).supervisor(limits=limits) as supervisor:
        address = await supervisor.ensure_ready("tiny")
        until = asyncio.get_running_loop().time() + 3

        async def keep_busy(after_s: float) -> None:
            await asyncio.sleep(after_s)
            while asyncio.get_running_loop().time() < until:
                reader, writer = await asyncio.open_connection(address.host, address.port)
                writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
                await reader.readline()
                writer.close()

        await asyncio.gather(*(keep_busy(after_s / 10) for after_s in range(5)))
        assert state(supervisor) is State.READY
    assert starts(fake) == 1


async def test_replicas_take_turns_and_one_that_dies_is_left_out(fake: Backend) -> None:
    pair = replace(fake, model=replace(fake.model, replicas=2))
    async with pair.supervisor() as supervisor:
        await supervisor.ensure_ready("tiny")
        await eventually(lambda: all(each.state is State.READY for each in supervisor.states()), 10, "both ready")
        seen = [supervisor.ready_address("tiny") for _ in range(4)]
        assert seen[0] != seen[1]
        assert seen[:2] == seen[2:]
        first = supervisor.states()[0]
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        await eventually(lambda: state(supervisor) is not State.READY, 5, "noticed")
        assert {str(supervisor.ready_address("tiny")) for _ in range(4)} == {str(supervisor.states()[1].address)}
        await eventually(lambda: state(supervisor) is State.READY, 10, "back")
        assert any(line.startswith("[1] ") for line in supervisor.logs("tiny", 100))


async def test_one_start_at_a_time(fake: Backend) -> None:
    told: list[tuple[int, State]] = []
    trio = replace(fake.with_args(**{"fake-start-s": 0.2}), model=replace(fake.model, replicas=3))
    async with trio.supervisor(tell=lambda each: told.append((each.index, each.state))) as supervisor:
        await supervisor.ensure_ready("tiny")
        await eventually(lambda: all(each.state is State.READY for each in supervisor.states()), 10, "all ready")
        assert len(set(ports(fake))) == 3
    warming = [index for index, each in told if each is State.WARMING]
    ready = [index for index, each in told if each is State.READY]
    assert warming == ready


async def test_an_unknown_name_is_refused_with_the_known_ones(fake: Backend) -> None:
    async with fake.supervisor() as supervisor:
        assert supervisor.ready_address("small") is None
        with pytest.raises(LocalModelFailed, match=r"local\.models has tiny"):
            await supervisor.ensure_ready("small")


async def test_a_closed_supervisor_starts_nothing(fake: Backend) -> None:
    supervisor = fake.supervisor()
    async with supervisor:
        pass
    with pytest.raises(LocalModelFailed, match="shutting down"):
        await supervisor.ensure_ready("tiny")


def test_wrong_arguments_are_refused_before_anything_starts(fake: Backend) -> None:
    with pytest.raises(ValueError, match=r"local\.models\.tiny\.args\.port"):
        fake.with_args(port=1).supervisor()


async def test_the_gateways_secrets_do_not_reach_vllm(fake: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "top-secret")
    async with fake.supervisor() as supervisor:
        await supervisor.ensure_ready("tiny")
        assert b"top-secret" not in environment_of(record_in(fake.directory).leader.pid)


def environment_of(pid: int) -> bytes:
    found = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"VLLM_NO_USAGE_STATS=1" in found
    return found
