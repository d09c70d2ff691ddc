"""The local replicas from outside: their states, start and stop, and what they last said.

These endpoints are coroutines, unlike the rest: the supervisor lives on the gateway's own loop.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Final

from fastapi import FastAPI, Query

from gateway.admin import shown
from gateway.admin.asked import LogsAsked, did_you_mean
from gateway.admin.instant import instant_text
from gateway.admin.problem import Problem
from gateway.admin.rooms import AdminRooms, LocalControl, ReplicaView

_LOG: Final = logging.getLogger("turnpike.admin")


class Local:
    """Starts and stops in the background: a model takes longer to be ready than a caller waits for an answer."""

    def __init__(self, rooms: AdminRooms) -> None:
        self._rooms: Final = rooms
        # The loop holds a task weakly; this keeps it alive until it is done.
        self._running: Final[set[asyncio.Task[None]]] = set()

    @property
    def control(self) -> LocalControl:
        if self._rooms.local is None:
            raise Problem(
                "not_configured",
                "No local model is configured. Name one under `local.models` in turnpike.yaml and restart.",
            )
        return self._rooms.local

    def states(self) -> list[shown.Replica]:
        return [] if self._rooms.local is None else [_shown(one) for one in self._rooms.local.states()]

    def known(self, model: str) -> LocalControl:
        control = self.control
        names = {one.model for one in control.states()}
        if model not in names:
            raise Problem("not_found", f"No local model is named `{model[:100]}`; {did_you_mean(model, names)}")
        return control

    def start(self, model: str) -> list[shown.Replica]:
        return self._behind(self.known(model).start_model, model)

    def stop(self, model: str) -> list[shown.Replica]:
        return self._behind(self.known(model).stop_model, model)

    def _behind(self, act: Callable[[str], Coroutine[None, None, None]], model: str) -> list[shown.Replica]:
        task = asyncio.get_running_loop().create_task(act(model))
        self._running.add(task)
        task.add_done_callback(self._done)
        return [one for one in self.states() if one.model == model]

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The replica's own state tells the reason too; whoever asked has long had his answer.
            _LOG.error("local model: %s", error)


def add(app: FastAPI, local: Local) -> None:
    @app.get("/admin/v1/local", tags=["local"])
    async def states() -> shown.Replicas:
        return shown.Replicas(data=local.states())

    @app.post("/admin/v1/local/{model:path}/start", status_code=202, tags=["local"])
    async def start(model: str) -> shown.Replicas:
        return shown.Replicas(data=local.start(model))

    @app.post("/admin/v1/local/{model:path}/stop", status_code=202, tags=["local"])
    async def stop(model: str) -> shown.Replicas:
        return shown.Replicas(data=local.stop(model))

    @app.get("/admin/v1/local/{model:path}/logs", tags=["local"])
    def logs(model: str, asked: Annotated[LogsAsked, Query()]) -> shown.Logs:
        return shown.Logs(model=model, lines=list(local.known(model).logs(model, asked.lines)))


def _shown(view: ReplicaView) -> shown.Replica:
    return shown.Replica(
        model=view.model,
        replica=view.index,
        state=str(view.state.value),
        since=instant_text(view.since_at_us),
        phase=view.phase,
        percent=view.percent,
        address=view.address,
        restarts=view.restarts,
        cause=view.cause,
    )
