"""One worker's view of all of them, for the control plane: it may be any worker that a person's request reached."""

import asyncio
from collections import UserDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from billing.books import Books, Hold
from gateway.admin.rooms import DeploymentView, PendingHold
from gateway.metrics import Metrics
from gateway.wire.asgi import Application, Message, Receive, Send
from gateway.workers.bus import PARENT, Bus
from gateway.workers.sums import METRICS, METRICS_OF_ALL

if TYPE_CHECKING:
    from concurrent.futures import Future

PENDING: Final = "pending"
FLUSH: Final = "flush"
DEPLOYMENTS: Final = "deployments"
ENDED: Final = "session.ended"
# One that is stopped is not waited for; what it holds shows when it goes on.
ANSWER_S_MAX: Final = 1.0
FLUSH_S_MAX: Final = 2
# Of an event loop that is busy, before its sibling is asked at all.
LATE_S_MAX: Final = 10.0


class HeldElsewhere(NamedTuple):
    """A hold of a request in flight in another worker."""

    request_id: str
    attempt: int
    opened_at_us: int
    key_id: str
    team_id: str | None
    user_id: str | None
    end_user: str | None
    provider: str
    model: str
    model_asked: str
    tags: tuple[str, ...]
    amount_nano_usd: int
    organization_id: str | None


class Together:
    """Asked from threads, as the control plane works on them. Answers for its siblings what they ask of it."""

    def __init__(
        self, bus: Bus, books: Books, metrics: Metrics, deployments: Callable[[], tuple[DeploymentView, ...]]
    ) -> None:
        self._bus, self._books, self._deployments = bus, books, deployments
        bus.handle(PENDING, lambda _: [_elsewhere(hold) for hold in books.pending()])
        bus.handle(FLUSH, self._flush_here)
        bus.handle(DEPLOYMENTS, lambda _: deployments())
        bus.handle(METRICS, lambda _: metrics.snapshot())

    def pending(self) -> Sequence[PendingHold]:
        asked = self._bus.telling(PENDING, None, ANSWER_S_MAX)
        here = self._books.pending()
        return [*here, *(hold for told in _told(asked) for hold in msgspec.convert(told, list[HeldElsewhere]))]

    def flush(self) -> None:
        """What was settled before, in any worker that runs, stands in the database after."""
        asked = self._bus.telling(FLUSH, None, FLUSH_S_MAX)
        self._books.flush()
        _told(asked)

    def deployments(self) -> tuple[DeploymentView, ...]:
        """As they stand with whichever worker has the worst to tell of each."""
        asked = self._bus.telling(DEPLOYMENTS, None, ANSWER_S_MAX)
        worst = {view.id: view for view in self._deployments()}
        for told in _told(asked):
            for view in msgspec.convert(told, list[DeploymentView]):
                known = worst.get(view.id)
                if known is None or (view.cooling_until_at_us or 0) > (known.cooling_until_at_us or 0):
                    worst[view.id] = view
        return tuple(worst.values())

    async def _flush_here(self, _: Any) -> None:
        await asyncio.to_thread(self._books.flush, FLUSH_S_MAX)


class EndedSessions(UserDict[str, int]):
    """Sessions of the pages that were signed out, in whichever worker."""

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus
        self._telling: set[asyncio.Task[Any]] = set()
        bus.handle(ENDED, lambda told: self.data.update([told]))

    def __setitem__(self, nonce: str, expires_at_us: int) -> None:
        """On the event loop's thread."""
        self.data[nonce] = expires_at_us
        if not self._bus.alone:
            task = asyncio.get_running_loop().create_task(self._bus.tell_all(ENDED, (nonce, expires_at_us)))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)


def metrics_of_all(bus: Bus, content_type: bytes) -> Application:
    """Answers `/metrics` with the sum over all workers, which their parent keeps."""

    async def application(_scope: Message, _receive: Receive, send: Send) -> None:
        text: bytes = await bus.ask(PARENT, METRICS_OF_ALL, None, LATE_S_MAX)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
        await send({"type": "http.response.body", "body": text})

    return application


def _told(asked: "Future[dict[str, Any]]") -> list[Any]:
    return list(asked.result(FLUSH_S_MAX + LATE_S_MAX).values())


def _elsewhere(hold: Hold) -> HeldElsewhere:
    return HeldElsewhere(*(getattr(hold, name) for name in HeldElsewhere._fields))
