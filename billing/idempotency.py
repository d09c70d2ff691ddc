"""Creations that came with an `idempotency-key`: once for all workers, and across restarts.

What is kept of an answer is the caller's to choose: a secret must not be in it. A creation that has made nothing for a
while may be taken over: from then on the first can make nothing any more, since what makes something says so under its
own token in that very transaction (`billing.audit.record`).
"""

from typing import Final

from sqlalchemy import Engine

from billing.database import writing
from billing.queries import idempotency as q
from billing.queries.idempotency import Claim
from billing.refusals import Conflict

KEPT_US: Final = 24 * 3600 * 1_000_000
# Nobody waits longer for a creation that runs: a database is waited for 5 s, the other workers for one.
TAKEOVER_US: Final = 10 * 1_000_000

__all__ = ["KEPT_US", "TAKEOVER_US", "BeingMade", "Claim", "Idempotency", "MadeUnanswered", "OtherBody"]


class OtherBody(Conflict):
    """The key came with another body before."""


class BeingMade(Conflict):
    """The first of these has not been answered yet."""


class MadeUnanswered(Conflict):
    """It was made, and its process ended before the answer was kept."""

    def __init__(self, object_id: str) -> None:
        super().__init__(f"{object_id!r} was made, its answer is lost: read it by its id")
        self.object_id = object_id


class Idempotency:
    def __init__(self, engine: Engine) -> None:
        self._writing = writing(engine)

    def claim(self, claim: Claim, body_digest: bytes, now_at_us: int, takeover_us: int = TAKEOVER_US) -> str | None:
        """The answer that was kept; None: it is the caller's to make, then to `finish` or to `drop`."""
        with self._writing.begin() as tx:
            q.forget(tx, now_at_us - KEPT_US)
            if q.claim(tx, claim, body_digest, now_at_us):
                return None
            found = q.claimed(tx, claim.room, claim.key)
            if bytes(found.body_digest) != body_digest:
                raise OtherBody("this key came with another body before: use a new one")
            if found.answer is not None:
                return str(found.answer)
            waited = now_at_us - found.claimed_at_us >= takeover_us
            if found.made is not None and waited:
                raise MadeUnanswered(found.made)
            if waited and q.take_over(tx, claim, found.token, now_at_us):
                return None
        raise BeingMade("the first of these is still being made: ask again")

    def finish(self, claim: Claim, answer: str) -> None:
        """Kept for a day."""
        with self._writing.begin() as tx:
            q.answer(tx, claim, answer)

    def drop(self, claim: Claim) -> None:
        """Of what was refused: it may be corrected and sent again under the same key. What was made stays told."""
        with self._writing.begin() as tx:
            q.drop(tx, claim)
