"""A creation sent twice under one `idempotency-key` happens once, whichever worker it reaches, and gets one answer.

What was made stands in the database for a day, less secrets. An answer with a secret is given again by the process that
made it alone, from its memory: elsewhere the second is refused and told what the first has made.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import orjson
from pydantic import BaseModel

from billing.idempotency import KEPT_US, TAKEOVER_US, BeingMade, Claim, MadeUnanswered, OtherBody
from gateway.admin.problem import Problem

ANSWERS_MAX: Final = 1000
KEY_CHARACTERS_MAX: Final = 255
TOKEN_BYTES: Final = 12
SECRET_FIELD: Final = "key"  # noqa: S105 - the name of a field

Answer = TypeVar("Answer", bound=BaseModel)


class Kept(Protocol):
    """What outlives the process; `billing.idempotency.Idempotency` is one."""

    def claim(self, _claim: Claim, _body_digest: bytes, _now_at_us: int, _takeover_us: int, /) -> str | None: ...
    def finish(self, _claim: Claim, _answer: str, /) -> None: ...
    def drop(self, _claim: Claim, /) -> None: ...


class _Secret(NamedTuple):
    body_digest: bytes
    at_us: int
    answer: Any


class Idempotency:
    def __init__(
        self,
        clock: Callable[[], int],
        kept: Kept,
        entropy: Callable[[int], bytes] = os.urandom,
        takeover_us: int = TAKEOVER_US,
    ) -> None:
        self._clock: Final = clock
        self._kept: Final = kept
        self._entropy: Final = entropy
        self._takeover_us: Final = takeover_us
        self._lock: Final = Lock()
        self._secrets: Final[OrderedDict[tuple[str, str], _Secret]] = OrderedDict()

    def once(
        self, room: str, key: str | None, body: bytes, make: Callable[[Claim | None], Answer], kind: type[Answer]
    ) -> Answer:
        """What `make` answers, or answered when this key was first sent to this room. It makes it under the claim."""
        if key is None:
            return make(None)
        if not 0 < len(key) <= KEY_CHARACTERS_MAX:
            raise Problem("invalid", f"`idempotency-key` has 1 to {KEY_CHARACTERS_MAX} characters.")
        digest = hashlib.sha256(body).digest()
        remembered = self._remembered(room, key, digest)
        if remembered is not None:
            answer: Answer = remembered
            return answer
        claim = Claim(room, key, self._entropy(TOKEN_BYTES).hex())
        text = self._claimed(claim, digest)
        if text is not None:
            return self._again(text, kind)
        try:
            made = make(claim)
        except BaseException:
            # A refused creation may be corrected and sent again under the same key.
            self._kept.drop(claim)
            raise
        if SECRET_FIELD in kind.model_fields:
            self._remember(room, key, _Secret(digest, self._clock(), made))
        self._kept.finish(claim, made.model_dump_json(exclude={SECRET_FIELD}))
        return made

    def _claimed(self, claim: Claim, digest: bytes) -> str | None:
        try:
            return self._kept.claim(claim, digest, self._clock(), self._takeover_us)
        except OtherBody as error:
            raise _mismatch() from error
        except MadeUnanswered as error:
            detail = f"This made `{error.object_id}`, and its answer was lost with its process: read it by its id."
            raise Problem("already_made", detail) from error
        except BeingMade as error:
            wait_s = max(1, self._takeover_us // 1_000_000)
            detail = f"The first of these is still being made: ask again. After {wait_s} s unanswered it is yours."
            raise Problem("in_progress", detail, retry_after_s=1) from error

    def _again(self, text: str, kind: type[Answer]) -> Answer:
        if SECRET_FIELD in kind.model_fields:
            made_id = orjson.loads(text)["id"]
            raise Problem(
                "already_made",
                f"This made `{made_id}`, and its secret was in the first answer alone: rotate it to get another.",
            )
        return kind.model_validate_json(text)

    def _remembered(self, room: str, key: str, digest: bytes) -> Any | None:
        with self._lock:
            self._forget(self._clock())
            found = self._secrets.get((room, key))
        if found is None:
            return None
        if found.body_digest != digest:
            raise _mismatch()
        return found.answer

    def _remember(self, room: str, key: str, secret: _Secret) -> None:
        with self._lock:
            self._secrets[room, key] = secret

    def _forget(self, now_at_us: int) -> None:
        while self._secrets:
            place, oldest = next(iter(self._secrets.items()))
            if now_at_us - oldest.at_us < KEPT_US and len(self._secrets) < ANSWERS_MAX:
                return
            del self._secrets[place]


def _mismatch() -> Problem:
    return Problem("idempotency_mismatch", "This `idempotency-key` came with another body before: use a new one.")
