"""What every desk works with: the rooms, one lock, ids, and creations that happen once."""

import base64
from collections.abc import Callable
from threading import Lock
from typing import Final, TypeVar

from pydantic import BaseModel

from gateway.admin.door import Caller
from gateway.admin.idempotency import Idempotency
from gateway.admin.problem import Problem
from gateway.admin.rooms import AdminRooms

ID_BYTES: Final = 10  # sixteen letters and digits, none of them padding

Made = TypeVar("Made", bound=BaseModel)


class Counter:
    def __init__(self, rooms: AdminRooms) -> None:
        self.rooms: Final = rooms
        self.store: Final = rooms.store
        self.idempotency: Final = Idempotency(rooms.clock, rooms.store.idempotency, rooms.entropy, rooms.takeover_us)
        # Between reading a row for `if-match` and writing it, nobody else in this process may write.
        self.lock: Final = Lock()

    def now(self) -> int:
        return self.rooms.clock()

    def new_text(self) -> str:
        return base64.b32hexencode(self.rooms.entropy(ID_BYTES)).decode().lower()

    def new_id(self, kind: str) -> str:
        return f"{kind}_{self.new_text()}"

    def changed(self, *rooms: str) -> None:
        """To be called after the commit: returns when every worker works by it, or has had its second."""
        self.rooms.changed(frozenset(rooms))

    def once(
        self,
        by: Caller,
        what: str,
        key: str | None,
        asked: BaseModel,
        make: Callable[[Caller], Made],
        kind: type[Made],
        *,
        of: str = "",
    ) -> Made:
        """Each caller has keys of his own: nobody is answered what another one made. `make` is given the caller by whom
        it is to be made: under the claim of this creation.
        """
        actor = by.actor
        room = f"{what}:{actor.type}:{actor.id or ''}"
        body = f"{of} {asked.model_dump_json(exclude_unset=True)}".encode()
        return self.idempotency.once(room, key, body, lambda claim: make(by._replace(claim=claim)), kind)


def not_found(kind: str, one_id: str, listed: str) -> Problem:
    return Problem("not_found", f"No {kind} has the id `{one_id[:100]}`; GET {listed} lists them.")


def not_yours(what: str) -> Problem:
    return Problem("not_allowed", f"{what}: ask one of its administrators.")
