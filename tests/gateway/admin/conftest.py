"""One house a test, on its own database."""

import hashlib
from pathlib import Path

import pytest

from billing.keys import KeyRing
from gateway.admin.rooms import AdminRooms, DeploymentView
from tests.gateway.admin.fake_store import FakeStore
from tests.gateway.admin.house import ADMIN_KEY, NOON, Clock, Entropy, House, ScriptedSupervisor


@pytest.fixture
def house(tmp_path: Path) -> House:
    clock, ring, supervisor = Clock(), KeyRing(), ScriptedSupervisor()
    missing: list[str] = []
    rooms = AdminRooms(
        store=FakeStore(),
        keyring=ring,
        admin_key_digest=hashlib.sha256(ADMIN_KEY.encode()).digest(),
        deployments=lambda: (
            DeploymentView("chat[0]:openai/gpt-5-mini", "chat", "openai", "gpt-5-mini", 3),
            DeploymentView(
                "chat[1]:lab/llama-70b", "chat", "lab", "llama-70b", 1, NOON + 30_000_000, "5 answers of 503 in a row"
            ),
        ),
        local=supervisor,
        ready=lambda: tuple(missing),
        pending=lambda: (),
        flush=lambda: None,
        clock=clock,
        entropy=Entropy(),
        version="0.1.0",
    )
    return House(rooms, clock, ring, supervisor, missing)
