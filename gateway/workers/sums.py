"""What all workers have counted, those that are gone included: a sum that falls looks like a restart to a scraper.

Kept by the parent. What a worker counted between the last scrape and its death is lost here; the ledger has it.
"""

from typing import Any, Final

from gateway.metrics import Metrics
from gateway.workers.bus import Bus

METRICS: Final = "metrics"
METRICS_OF_ALL: Final = "metrics.all"
ANSWER_S_MAX: Final = 1.0


class Sums:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._last: dict[str, Any] = {}
        self._left = Metrics()
        self._gone: set[str] = set()
        bus.handle(METRICS_OF_ALL, self._of_all)

    def gone(self, boot_id: str) -> None:
        """A worker has ended: what it last told is kept."""
        self._gone.add(boot_id)
        last = self._last.pop(boot_id, None)
        if last is not None:
            self._left.absorb(last, live=False)

    async def _of_all(self, _: Any) -> bytes:
        answers = await self._bus.tell_all(METRICS, None, ANSWER_S_MAX)
        self._last.update({boot_id: told for boot_id, told in answers.items() if boot_id not in self._gone})
        total = Metrics()
        total.absorb(self._left.snapshot(), live=False)
        for boot_id, told in self._last.items():
            # One that does not answer still has what it told last.
            total.absorb(told, live=boot_id in answers)
        return total.render()
