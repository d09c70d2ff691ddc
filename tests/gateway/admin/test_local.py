"""Local replicas over HTTP: seen, started, stopped and heard; a start answers before the model is ready."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from gateway.admin.app import build_admin
from tests.gateway.admin.house import ADMIN_KEY, BASE, House

WAIT_S_MAX = 5.0


async def becomes(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        while not true():  # noqa: ASYNC110  (what is waited for is seen from outside, as a caller sees it)
            await asyncio.sleep(0.01)


def state_of(house: House, model: str) -> str:
    return next(one.state.value for one in house.supervisor.states() if one.model == model)


async def test_each_replica_tells_its_state(house: House) -> None:
    found = (await house.admin.get("/admin/v1/local")).json()["data"]
    assert [(one["model"], one["replica"], one["state"]) for one in found] == [
        ("tiny", 0, "stopped"),
        ("broken", 0, "stopped"),
    ]
    assert found[0]["since"] == "2025-11-25T12:00:00.000000Z"


async def test_a_start_answers_at_once_and_happens(house: House) -> None:
    answer = await house.admin.post("/admin/v1/local/tiny/start")
    assert answer.status_code == 202
    assert [one["model"] for one in answer.json()["data"]] == ["tiny"]
    await becomes(lambda: state_of(house, "tiny") == "ready")
    assert (await house.admin.post("/admin/v1/local/tiny/stop")).status_code == 202
    await becomes(lambda: state_of(house, "tiny") == "stopped")


async def test_a_start_that_fails_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "turnpike.admin"):
        answer = await house.admin.post("/admin/v1/local/broken/start")
        assert answer.status_code == 202
        await becomes(lambda: "not enough memory" in caplog.text)


async def test_the_log_is_as_long_as_was_asked(house: House) -> None:
    answer = await house.admin.get("/admin/v1/local/tiny/logs?lines=2")
    assert answer.json() == {"model": "tiny", "lines": ["tiny says 3", "tiny says 4"]}


@pytest.mark.parametrize("path", ["tyni/start", "tyni/stop"])
async def test_an_unknown_model_is_404_and_names_the_nearest(house: House, path: str) -> None:
    answer = await house.admin.post(f"/admin/v1/local/{path}")
    assert answer.status_code == 404
    assert "did you mean `tiny`?" in answer.json()["detail"]


async def test_without_local_models_starting_one_says_how_to_have_one(house: House) -> None:
    app = build_admin(replace(house.rooms, local=None))
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE, headers=headers) as admin:
        assert (await admin.get("/admin/v1/local")).json() == {"data": []}
        answer = await admin.post("/admin/v1/local/tiny/start")
    assert answer.status_code == 501
    assert "local.models" in answer.json()["detail"]
