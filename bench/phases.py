"""What is measured, and how one measurement is made and judged."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import bill, provision
from bench.machine import Snapshot, cpu_ns, rss_mb
from bench.targets import Mock, Running, Target

BOOKS_DUE_S = 2.0
QUIET_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    title: str
    stream: bool = False
    connections: int = 64
    rate: float = 0.0  # requests a second that arrive at random; 0: as many as are answered
    body_kb: int = 1
    delay_us: int = 0
    gap_us: int = 0
    chunks: int = 64
    temperature: float = 0.2  # as most programs ask; at 0 an exact cache looks each request up and keeps each answer


THINKS_US = 60_000

PHASES = (
    Phase("requests", "Requests a second: closed loop, 64 connections, 1 KB body"),
    Phase("requests-kept", "The same at temperature 0: looked up in the exact cache, each answer kept", temperature=0),
    Phase("streams", "Streams a second: 32 in flight, 64 chunks each", stream=True, connections=32),
    Phase(
        "latency",
        "Latency added at 200 requests/s: the provider thinks 60 ms",
        rate=200,
        delay_us=THINKS_US,
        connections=2000,
    ),
    Phase(
        "latency-20",
        "Latency added at 20 requests/s: the provider thinks 60 ms",
        rate=20,
        delay_us=THINKS_US,
        connections=2000,
    ),
    Phase(
        "first-chunk",
        "Latency added to streams at 20 streams/s: the provider thinks 60 ms, then 64 chunks, 10 ms apart",
        stream=True,
        rate=20,
        delay_us=THINKS_US,
        gap_us=10_000,
        connections=2000,
    ),
    Phase("body-20k", "Requests a second with a 20 KB body: closed loop, 64 connections", body_kb=20),
    Phase("body-200k", "Requests a second with a 200 KB body: closed loop, 64 connections", body_kb=200),
)


def body(kilobytes: int, model: str, *, stream: bool, temperature: float = 0.2) -> bytes:
    """A conversation of about that size. It ends with the place of its running number, which loadgen fills in."""
    head: dict[str, Any] = {
        "model": model,
        "temperature": temperature,
        "max_tokens": 256,
        "top_p": 1.0,
        "user": "bench",
    }
    if stream:
        head |= {"stream": True, "stream_options": {"include_usage": True}}
    rules = (
        "You keep the gate of a turnpike road. Say what each carriage owes, name the line of the tariff, and be brief."
    )
    asked = (
        'A waggon with four horses and broad wheels came from the north at dusk; what does it owe, and who is "exempt"?'
    )
    told = "Broad wheels pay half: four horses owe eightpence.\nMails, soldiers on the march and funerals pass free."
    messages = [{"role": "system", "content": rules}]
    question = {"role": "user", "content": f"{asked} Please answer for number #{0:016d}#"}
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
    while len(json.dumps(head | {"messages": [*messages, *turns, question]})) <= kilobytes * 1024:
        messages += turns
    return json.dumps(head | {"messages": [*messages, question]}).encode()


@dataclass(frozen=True, slots=True)
class Run:
    target: str
    round: int
    per_s: float
    load: dict[str, Any]
    cpu_us: float  # of all threads and processes of the target, per request
    rss_mb: float
    foreign_cores: float
    wrong: tuple[str, ...]
    overloaded: bool


def command(phase: Phase, target: Target, file: Path, window: tuple[float, float], core: int) -> list[str]:
    """The load generator's command line; the window is what it measures and, before that, warms up for, in seconds."""
    words = ["taskset", "-c", str(core), str(provision.native("loadgen"))]
    words += ["--port", str(target.port), "--header", f"Authorization: Bearer {target.key}", "--body", str(file)]
    words += ["--seconds", str(window[0]), "--warm", str(window[1]), "--connections", str(phase.connections)]
    words += ["--rate", str(phase.rate)] if phase.rate else []
    return words + (["--stream", "--chunks", str(phase.chunks)] if phase.stream else [])


def judge(load: dict[str, Any], body_bytes: int, seen: dict[str, int]) -> tuple[str, ...]:
    """What speaks against the run. `seen` is what reached the mock during it."""
    found = []
    if load["wrong"] or not load["right"]:
        why = f"{load['wrong_by']}, the last {load['last_wrong']}"
        found.append(f"{load['wrong']} of {load['started']} answers wrong: {why}")
    if load["unfinished"]:
        found.append(f"{load['unfinished']} of {load['started']} not answered 20 s after the end")
    elif seen["requests"] != load["started"]:
        found.append(f"{load['started']} asked, {seen['requests']} reached the provider: a cache or a retry answers")
    if seen["body_bytes"] < 0.9 * body_bytes * seen["requests"]:
        found.append(f"bodies of {body_bytes} bytes arrived with {seen['body_bytes'] // max(seen['requests'], 1)}")
    return tuple(found)


def overloaded(phase: Phase, load: dict[str, Any]) -> bool:
    """At a fixed rate: more than a second's arrivals were still open at the end, so the queue grows without bound."""
    return bool(phase.rate) and (load["unfinished"] > 0 or load["open_at_end"] > max(phase.rate, 20))


class Track:
    """Runs the phases over targets that are up, one at a time; what it starts sits on the load generator's core."""

    def __init__(self, mock: Mock, runnings: Sequence[Running], core: int, home: Path) -> None:
        self.mock, self.runnings, self.core, self.home = mock, runnings, core, home

    def _pids(self) -> list[int]:
        return [running.pid for running in self.runnings if running.pid]

    def wait_until_quiet(self) -> None:
        """A target that was overloaded works on after the last client has gone; the next one shall not pay for it."""
        deadline = time.monotonic() + QUIET_S_MAX
        while time.monotonic() < deadline:
            before = sum(map(cpu_ns, self._pids()))
            time.sleep(0.2)
            if sum(map(cpu_ns, self._pids())) - before < 0.05 * 0.2e9:
                return

    def run(self, phase: Phase, running: Running, number: int, seconds: float, warm: float) -> Run:
        target = running.target
        file = self.home / f"{target.name}-{phase.name}.json"
        text = body(phase.body_kb, target.model, stream=phase.stream, temperature=phase.temperature)
        file.write_bytes(text)
        self.mock.set_manners(target.door, delay_us=phase.delay_us, chunks=phase.chunks, gap_us=phase.gap_us)
        self.wait_until_quiet()
        ours = [self.mock.pid, *([running.pid] if running.pid else [])]
        seen, before, began = self.mock.counts(target.door), Snapshot.take(ours), time.monotonic()
        words = command(phase, target, file, (seconds, warm), self.core)
        load = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=seconds + warm + 60).stdout)
        after, wall_s = Snapshot.take(ours), time.monotonic() - began
        memory = rss_mb(running.pid) if running.pid else 0.0
        if running.pid:
            time.sleep(BOOKS_DUE_S)  # for every target alike: work put off until after the answers is work
        counts, settled = self.mock.counts(target.door), Snapshot.take(ours)
        wrong = judge(load, len(text), {name: counts[name] - seen[name] for name in seen})
        if target.keeps_books:
            wrong += tuple(bill.compare(target.port, counts))
        print(f"bench: {phase.name}, round {number}, {target.name}: {load['per_s']:,.1f} per s", file=sys.stderr)
        return Run(
            target.name,
            number,
            load["per_s"],
            load,
            settled.used_ns(running.pid, before) / 1e3 / max(load["started"], 1) if running.pid else 0.0,
            memory,
            after.foreign_cores(before, wall_s, ours),
            wrong,
            overloaded(phase, load),
        )

    def rounds(self, phase: Phase, rounds: int, seconds: float) -> list[Run]:
        """Each target once there and once back, and so on; each is warm before it counts."""
        runs = [self.run(phase, running, -1, min(1.0, seconds), 0.2) for running in self.runnings]
        for number in range(rounds):
            order = self.runnings if number % 2 == 0 else self.runnings[::-1]
            runs += [self.run(phase, running, number, seconds, min(1.0, seconds / 3)) for running in order]
        return runs
