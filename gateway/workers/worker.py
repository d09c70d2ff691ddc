"""Which of a gateway's workers a process is."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Worker:
    """`boot_id` names this process and no other, on the bus and in the books. `bus` is None for a worker alone."""

    boot_id: str
    index: int = 0
    count: int = 1
    bus: Path | None = None
    port: int | None = None

    @property
    def alone(self) -> bool:
        return self.bus is None

    def share(self, total: int) -> int:
        """This worker's part of what all of them may have together; one at least, or it could serve nothing."""
        return max(total // self.count + (self.index < total % self.count), 1)
