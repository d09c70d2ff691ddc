"""A gateway's control plane for tests: real books on a SQLite file, the real ring, a supervisor that is a script."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from billing.books import Books
from billing.keys import KeyRing
from billing.store import Store
from gateway.admin.app import build_admin
from gateway.admin.rooms import AdminRooms, DeploymentView

ADMIN_KEY = "an-admin-key-of-256-bits-in-a-real-gateway"
NOON = 1_764_072_000_000_000  # 2025-11-25T12:00:00Z
BASE = "http://gateway.test"
JOURNAL_SEGMENT_BYTES = 256 * 1024
DEPLOYMENTS = (
    DeploymentView("chat[0]:openai/gpt-5-mini", "chat", "openai", "gpt-5-mini", 3),
    DeploymentView(
        "chat[1]:lab/llama-70b", "chat", "lab", "llama-70b", 1, NOON + 30_000_000, "5 answers of 503 in a row"
    ),
)


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


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


class House:
    def __init__(self, file: Path, url: str = "") -> None:
        """On the SQLite file, or on another database; what lies beside the file is the state directory."""
        self.file = file
        self.url = url or url_of(file)
        self.clock = Clock()
        self.keyring = KeyRing()
        self.supervisor = ScriptedSupervisor()
        self.missing: list[str] = []
        self.told: list[frozenset[str]] = []  # to the workers, of what has changed
        self.store = Store(self.url)
        self.rooms = AdminRooms(
            store=self.store,
            keyring=self.keyring,
            admin_key_digest=hashlib.sha256(ADMIN_KEY.encode()).digest(),
            deployments=lambda: DEPLOYMENTS,
            local=self.supervisor,
            ready=lambda: tuple(self.missing),
            pending=lambda: self.books.pending() if self.opened else (),
            flush=lambda: self.books.flush() if self.opened else None,
            clock=self.clock,
            entropy=Entropy(),
            version="0.1.0",
            state=file.parent,
            changed=self.told.append,
            live_boots=lambda: frozenset({"boot"}),
        )
        self.app = build_admin(self.rooms)
        # Clients over a transport in memory: they hold nothing that would have to be closed.
        self.transport = httpx.ASGITransport(self.app)
        bearer = {"authorization": f"Bearer {ADMIN_KEY}"}
        self.anonymous = httpx.AsyncClient(transport=self.transport, base_url=BASE)
        self.admin = httpx.AsyncClient(transport=self.transport, base_url=BASE, headers=bearer)
        self.browser = httpx.AsyncClient(transport=self.transport, base_url=BASE, headers={"accept": "text/html"})

    @cached_property
    def books(self) -> Books:
        """Opened by the first test that books something: its thread and its journal are not for nothing."""
        found = Books(
            self.url,
            self.file.parent / "journal",
            clock=self.clock,
            segment_bytes=JOURNAL_SEGMENT_BYTES,
            boot_id="boot",
            state=self.file.parent,
        )
        found.open()
        return found

    @property
    def opened(self) -> bool:
        return "books" in vars(self)

    async def virtual_key(self, **more: object) -> str:
        answer = await self.admin.post("/admin/v1/keys", json={"name": "a virtual key", **more})
        assert answer.status_code == 201, answer.text
        key: str = answer.json()["key"]
        return key

    async def made(self, what: str, **fields: object) -> dict[str, Any]:
        """Made by the admin key."""
        answer = await self.admin.post(f"/admin/v1/{what}", json=fields)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def person(self, role: str, user_id: str = "", **fields: object) -> httpx.AsyncClient:
        """A client that comes by a key of a new user with that role. `teams` are those the user is in."""
        teams = fields.pop("teams", ())
        assert isinstance(teams, tuple)
        user_id = user_id or f"user_{role}"
        await self.made("users", id=user_id, name=role, email=f"{user_id}@example.org", role=role, **fields)
        for team_id in teams:
            await self.made(f"teams/{team_id}/members", user_id=user_id)
        key = await self.made("keys", name=f"of {user_id}", id=f"key_of_{user_id}", user_id=user_id)
        return self.bearer(key["key"])

    def bearer(self, key: str) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(transport=self.transport, base_url=BASE, headers=headers)

    def close(self) -> None:
        if self.opened:
            self.books.close()
        self.store.close()
