"""Request ids: `req_` and a ULID, so that ids sort by time and a database appends instead of scattering."""

import base64
from collections.abc import Callable
from typing import Final

PREFIX: Final = "req_"
CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_FROM_RFC4648: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", CROCKFORD.encode())
_BATCH: Final = 256


class RequestIds:
    """Mints ids. Randomness is drawn for many at once: a system call for each would cost more than all the rest."""

    def __init__(self, clock: Callable[[], int], entropy: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._entropy = entropy
        self._ms = -1
        self._prefix = ""
        self._random = ""
        self._at = 0

    def __call__(self) -> str:
        ms = self._clock() // 1000
        if ms != self._ms:
            self._ms, self._prefix = ms, PREFIX + _ten(ms)
        at = self._at
        if at == len(self._random):
            # 10 random bytes are exactly 16 characters of base 32.
            coded = base64.b32encode(self._entropy(10 * _BATCH)).translate(_FROM_RFC4648)
            self._random, at = coded.decode("ascii"), 0
        self._at = at + 16
        return self._prefix + self._random[at : at + 16]


def _ten(ms: int) -> str:
    digits = []
    for _ in range(10):
        ms, digit = divmod(ms, 32)
        digits.append(CROCKFORD[digit])
    return "".join(reversed(digits))
