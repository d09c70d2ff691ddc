"""A creation sent twice under one `idempotency-key` happens once, whichever worker it reaches, and gets one answer.

What was made stands in the database for a day, less secrets. An answer with a secret is given again by the process that
made it alone, from its memory: elsewhere the second is refused and told what the first has made.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import orjson
from pydantic import BaseModel

from billing.idempotency import KEPT_US, BeingMade, OtherBody
from gateway.admin.problem import Problem

ANSWERS_MAX: Final = 1000
KEY_CHARACTERS_MAX: Final = 255
SECRET_FIELD: Final = "key"  # noqa: S105 - the name of a field

Answer = TypeVar("Answer", bound=BaseModel)


class Kept(Protocol):
    """What outlives the process; `billing.idempotency.Idempotency` is one."""

    def claim(self, _room: str, _key: str, _body_digest: bytes, _now_at_us: int, /) -> str | None: ...
    def finish(self, _room: str, _key: str, _answer: str, /) -> None: ...
    def drop(self, _room: str, _key: str, /) -> None: ...


class _Secret(NamedTuple):
    body_digest: bytes
    at_us: int
    answer: Any


class Idempotency:
    def __init__(self, clock: Callable[[], int], kept: Kept) -> None:
        self._clock: Final = clock
        self._kept: Final = kept
        self._lock: Final = Lock()
        self._secrets: Final[OrderedDict[tuple[str, str], _Secret]] = OrderedDict()

    def once(self, room: str, key: str | None, body: bytes, make: Callable[[], Answer], kind: type[Answer]) -> Answer:
        """What `make` answers, or answered when this key was first sent to this room."""
        if key is None:
            return make()
        if not 0 < len(key) <= KEY_CHARACTERS_MAX:
            raise Problem("invalid", f"`idempotency-key` has 1 to {KEY_CHARACTERS_MAX} characters.")
        digest = hashlib.sha256(body).digest()
        remembered = self._remembered(room, key, digest)
        if remembered is not None:
            answer: Answer = remembered
            return answer
        try:
            text = self._kept.claim(room, key, digest, self._clock())
        except OtherBody as error:
            raise _mismatch() from error
        except BeingMade as error:
            detail = (
                "The first of these is still being made, or its process ended over it: ask again, and before you take "
                "another key look whether it was made."
            )
            raise Problem("in_progress", detail, retry_after_s=1) from error
        if text is not None:
            return self._again(text, kind)
        try:
            made = make()
        except BaseException:
            # A refused creation may be corrected and sent again under the same key.
            self._kept.drop(room, key)
            raise
        if SECRET_FIELD in kind.model_fields:
            self._remember(room, key, _Secret(digest, self._clock(), made))
        self._kept.finish(room, key, made.model_dump_json(exclude={SECRET_FIELD}))
        return made

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
