"""Where teams and keys are changed: the row and the ring that the data plane reads, in one call and in this order.

A key that this returned from revoking opens nothing any more, in this process, from the next request on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from threading import Lock
from typing import Final

from billing import keys as billing_keys
from billing.keys import Key
from billing.store import Page, Team
from gateway.admin import shown
from gateway.admin.asked import KeyAsked, KeyChange, RotationAsked, TeamAsked, TeamChange
from gateway.admin.etag import demand_fresh
from gateway.admin.idempotency import Idempotency
from gateway.admin.instant import at_us, instant_text, optional_text
from gateway.admin.problem import Problem
from gateway.admin.rooms import AdminRooms


class Desk:
    def __init__(self, rooms: AdminRooms) -> None:
        self.rooms: Final = rooms
        self.store: Final = rooms.store
        self.idempotency: Final = Idempotency(rooms.clock)
        # Between reading a row for `if-match` and writing it, nobody else may write.
        self._lock: Final = Lock()
