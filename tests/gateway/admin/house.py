"""A gateway's control plane for tests: real books on a SQLite file, the real ring, a supervisor that is a script."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import httpx

from billing.keys import KeyRing
from gateway.admin.app import build_admin
from gateway.admin.rooms import AdminRooms

ADMIN_KEY = "an-admin-key-of-256-bits-in-a-real-gateway"
NOON = 1_764_072_000_000_000  # 2025-11-25T12:00:00Z
BASE = "http://gateway.test"


class ReplicaPhase(Enum):
    STOPPED = "stopped"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Replica:
    model: str
    state: ReplicaPhase
    index: int = 0
    since_at_us: int = NOON
    phase: str = ""
    percent: int | None = None
    address: str | None = None
    restarts: int = 0
    cause: str | None = None


class ScriptedSupervisor:
    """Starts in no time; refuses the model it was told to refuse."""

    def __init__(self) -> None:
        self.replicas = [Replica("tiny", ReplicaPhase.STOPPED), Replica("broken", ReplicaPhase.STOPPED)]

    def states(self) -> Sequence[Replica]:
        return tuple(self.replicas)

    async def start_model(self, name: str) -> None:
        await asyncio.sleep(0)
        if name == "broken":
            raise RuntimeError("not enough memory for the weights")
        self._set(name, ReplicaPhase.READY)

    async def stop_model(self, name: str) -> None:
        await asyncio.sleep(0)
        self._set(name, ReplicaPhase.STOPPED)

    def logs(self, name: str, lines_max: int) -> Sequence[str]:
        return tuple(f"{name} says {number}" for number in range(5))[-lines_max:]

    def _set(self, name: str, state: ReplicaPhase) -> None:
        self.replicas = [replace(one, state=state) if one.model == name else one for one in self.replicas]


class Clock:
    def __init__(self) -> None:
        self.now_at_us = NOON

    def __call__(self) -> int:
        return self.now_at_us


class Entropy:
    """Different every time, the same every run."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, count: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_256(str(self.drawn).encode()).digest(count)


@dataclass
class House:
    rooms: AdminRooms
    clock: Clock
    keyring: KeyRing
    supervisor: ScriptedSupervisor
    missing: list[str] = field(default_factory=list)

    # Clients over a transport in memory: they hold nothing that would have to be closed.
    def __post_init__(self) -> None:
        self.app = build_admin(self.rooms)
        self.transport = httpx.ASGITransport(self.app)
        self.anonymous = httpx.AsyncClient(transport=self.transport, base_url=BASE)
        self.admin = httpx.AsyncClient(
            transport=self.transport, base_url=BASE, headers={"authorization": f"Bearer {ADMIN_KEY}"}
        )
        self.browser = httpx.AsyncClient(transport=self.transport, base_url=BASE, headers={"accept": "text/html"})

    async def virtual_key(self, **more: object) -> str:
        answer = await self.admin.post("/admin/v1/keys", json={"name": "a virtual key", **more})
        assert answer.status_code == 201, answer.text
        key: str = answer.json()["key"]
        return key
