"""A creation sent twice under one `idempotency-key` happens once and gets one answer, its secret included.

Kept in memory for a day and bounded, never on disk: the answer holds a secret that is stored nowhere else.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar

from gateway.admin.problem import Problem

KEPT_US: Final = 24 * 3600 * 1_000_000
ANSWERS_MAX: Final = 1000
KEY_CHARACTERS_MAX: Final = 255

Answer = TypeVar("Answer")


class _Kept(NamedTuple):
    body_digest: bytes
    at_us: int
    answer: Any | None  # None while it is being made


class Idempotency:
    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock: Final = clock
        self._lock: Final = Lock()
        self._kept: Final[OrderedDict[tuple[str, str], _Kept]] = OrderedDict()

    def once(self, room: str, key: str | None, body: bytes, make: Callable[[], Answer]) -> Answer:
        """What `make` answers, or answered when this key was first sent to this room."""
        if key is None:
            return make()
        if not 0 < len(key) <= KEY_CHARACTERS_MAX:
            raise Problem("invalid", f"`idempotency-key` has 1 to {KEY_CHARACTERS_MAX} characters.")
        place = (room, key)
        found = self._claim(place, hashlib.sha256(body).digest())
        if found is not None:
            answer: Answer = found
            return answer
        try:
            made = make()
        except BaseException:
            # A refused creation may be corrected and sent again under the same key.
            with self._lock:
                del self._kept[place]
            raise
        with self._lock:
            self._kept[place] = self._kept[place]._replace(answer=made)
        return made

    def _claim(self, place: tuple[str, str], body_digest: bytes) -> Any | None:
        now_at_us = self._clock()
        with self._lock:
            self._forget(now_at_us)
            kept = self._kept.get(place)
            if kept is None:
                self._kept[place] = _Kept(body_digest, now_at_us, None)
                return None
        if kept.body_digest != body_digest:
            raise Problem(
                "idempotency_mismatch", "This `idempotency-key` came with another body before: use a new one."
            )
        if kept.answer is None:
            raise Problem("in_progress", "The first of these is still being made: ask again.", retry_after_s=1)
        return kept.answer

    def _forget(self, now_at_us: int) -> None:
        while self._kept:
            place, oldest = next(iter(self._kept.items()))
            lapsed = now_at_us - oldest.at_us >= KEPT_US
            # One still being made is never forgotten: it would be made a second time.
            if oldest.answer is None or not (lapsed or len(self._kept) >= ANSWERS_MAX):
                return
            del self._kept[place]
