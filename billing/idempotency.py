"""Creations that came with an `idempotency-key`: once for all workers, and across restarts.

What is kept of an answer is the caller's to choose: a secret must not be in it. Of a creation that ended with its
process nobody knows whether it was made: its key is not free again before it is forgotten, unless it is dropped.
"""

from sqlalchemy import Engine

from billing.database import writing
from billing.queries import idempotency as q
from billing.refusals import Conflict

KEPT_US = 24 * 3600 * 1_000_000


class OtherBody(Conflict):
    """The key came with another body before."""


class BeingMade(Conflict):
    """The first of these has not been answered yet."""


class Idempotency:
    def __init__(self, engine: Engine) -> None:
        self._writing = writing(engine)

    def claim(self, room: str, key: str, body_digest: bytes, now_at_us: int) -> str | None:
        """The answer that was kept; None: it is the caller's to make, then to `finish` or to `drop`."""
        with self._writing.begin() as tx:
            q.forget(tx, now_at_us - KEPT_US)
            if q.claim(tx, room, key, body_digest, now_at_us):
                return None
            kept_digest, answer = q.claimed(tx, room, key)
        if bytes(kept_digest) != body_digest:
            raise OtherBody("this key came with another body before: use a new one")
        if answer is None:
            raise BeingMade("the first of these is still being made, or ended with its process: look before you repeat")
        return str(answer)

    def finish(self, room: str, key: str, answer: str) -> None:
        """Kept for a day."""
        with self._writing.begin() as tx:
            q.answer(tx, room, key, answer)

    def drop(self, room: str, key: str) -> None:
        """Of what was refused: it may be corrected and sent again under the same key."""
        with self._writing.begin() as tx:
            q.drop(tx, room, key)
