"""Request ids: `req_` and 32 hexadecimal digits, time first (as in UUIDv7), so that a database appends instead of
scattering.
"""

from collections.abc import Callable
from typing import Final

PREFIX: Final = "req_"
_RANDOM_DIGITS: Final = 20
_BATCH_BYTES: Final = 256 * _RANDOM_DIGITS // 2


class RequestIds:
    """Mints ids. Randomness is drawn for many at once: a system call for each would cost more than all the rest."""

    __slots__ = ("_at", "_clock", "_entropy", "_ms", "_prefix", "_random")

    def __init__(self, clock: Callable[[], int], entropy: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._entropy = entropy
        self._ms = -1
        self._prefix = ""
        self._random = ""
        self._at = 0

    def __call__(self) -> str:
        return self.at(self._clock())

    def at(self, at_us: int) -> str:
        """An id for an instant that the caller has already read."""
        ms = at_us // 1000
        if ms != self._ms:
            self._ms, self._prefix = ms, f"{PREFIX}{ms:012x}"
        at = self._at
        if at == len(self._random):
            self._random, at = self._entropy(_BATCH_BYTES).hex(), 0
        self._at = end = at + _RANDOM_DIGITS
        return self._prefix + self._random[at:end]
