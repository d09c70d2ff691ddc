"""What every change of the control plane has in common: its audit row and its word to the workers.

Row, audit row and the versions that workers watch are written in one transaction: none is ever there without the rest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from billing import queries
from billing.audit import Actor, record

TENANCY = "tenancy"
BUDGETS = "budgets"
LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class Change:
    """One change by one actor: `action` is what it did, such as `team.update`."""

    actor: Actor
    now_at_us: int
    action: str
    object_id: str

    def note(
        self,
        tx: Connection,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        rooms: Iterable[str],
    ) -> None:
        """Last in the transaction: the audit log is one chain, and whoever adds to it keeps the others waiting."""
        for room in sorted(rooms):
            queries.bump_control(tx, room)
        record(tx, self.actor, self.action, self.object_id, before, after, self.now_at_us)
