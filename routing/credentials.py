"""Which of a provider's keys goes out with this attempt: smooth weighted round robin over those that are awake.

A refused key is off until it is accepted again, and is tried again on one request every `recheck_s`; a rate-limited
one rests. A key is always picked: when none is awake the provider, not we, gets to say no.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from routing.health import RETRY_AFTER_S_MAX, US_PER_S
from routing.outcome import Outcome

RECHECK_S: Final = 300.0
LIMIT_REST_S: Final = 1.0


@unique
class KeyState(Enum):
    READY = "ready"
    RESTING = "resting"  # rate-limited
    REFUSED = "refused"  # wrong, out of money or not allowed
    PROBING = "probing"  # one request has gone out with a refused key to see


@unique
class KeyEvent(Enum):
    ACCEPTED = "accepted"
    LIMITED = "limited"
    REFUSED = "refused"
    PICKED = "picked"  # only a key whose rest is over is picked for its turn


NEXT_KEY: Final[Mapping[tuple[KeyState, KeyEvent], KeyState]] = MappingProxyType(
    {
        (KeyState.READY, KeyEvent.ACCEPTED): KeyState.READY,
        (KeyState.READY, KeyEvent.LIMITED): KeyState.RESTING,
        (KeyState.READY, KeyEvent.REFUSED): KeyState.REFUSED,
        (KeyState.READY, KeyEvent.PICKED): KeyState.READY,
        # A request let in before the limit was reached may still be answered.
        (KeyState.RESTING, KeyEvent.ACCEPTED): KeyState.RESTING,
        (KeyState.RESTING, KeyEvent.LIMITED): KeyState.RESTING,
        (KeyState.RESTING, KeyEvent.REFUSED): KeyState.REFUSED,
        (KeyState.RESTING, KeyEvent.PICKED): KeyState.READY,
        (KeyState.REFUSED, KeyEvent.ACCEPTED): KeyState.READY,
        # To be told of a limit is to be known.
        (KeyState.REFUSED, KeyEvent.LIMITED): KeyState.RESTING,
        (KeyState.REFUSED, KeyEvent.REFUSED): KeyState.REFUSED,
        (KeyState.REFUSED, KeyEvent.PICKED): KeyState.PROBING,
        (KeyState.PROBING, KeyEvent.ACCEPTED): KeyState.READY,
        (KeyState.PROBING, KeyEvent.LIMITED): KeyState.RESTING,
        (KeyState.PROBING, KeyEvent.REFUSED): KeyState.REFUSED,
        (KeyState.PROBING, KeyEvent.PICKED): KeyState.PROBING,
    }
)

# A 529 says that the provider as a whole is busy, a 400 that the request is wrong: neither is about the key.
EVENTS: Final[Mapping[Outcome, KeyEvent | None]] = MappingProxyType(
    {
        Outcome.ANSWERED: KeyEvent.ACCEPTED,
        Outcome.CONNECT_FAILED: None,
        Outcome.TIMED_OUT: None,
        Outcome.RESET: None,
        Outcome.RATE_LIMITED: KeyEvent.LIMITED,
        Outcome.OVERLOADED: None,
        Outcome.SERVER_ERROR: None,
        Outcome.AUTH_REFUSED: KeyEvent.REFUSED,
        Outcome.CLIENT_ERROR: None,
        Outcome.BAD_ANSWER: None,
        Outcome.CANCELLED: None,
    }
)


@dataclass(slots=True)
class _Key:
    weight: int
    credit: int = 0
    state: KeyState = KeyState.READY
    until_at_us: int = 0


class KeySet:
    """The keys of one provider, known by their places; what they are stays with the caller."""

    __slots__ = ("_keys", "_recheck_us", "_troubled")

    def __init__(self, weights: tuple[int, ...], recheck_s: float = RECHECK_S) -> None:
        if not weights or min(weights) < 1:
            raise ValueError(f"a provider needs at least one key and every weight at least 1, not {weights}")
        self._keys = [_Key(weight) for weight in weights]
        self._recheck_us = int(recheck_s * US_PER_S)
        self._troubled = False

    def pick(self, now_at_us: int) -> int:
        """The place of the key to send: the next in turn of those awake, or the first that will be."""
        keys = self._keys
        if len(keys) == 1:
            return self._picked(0, now_at_us) if self._troubled else 0
        awake = [place for place, key in enumerate(keys) if key.until_at_us <= now_at_us] if self._troubled else None
        if awake is None:
            return self._turn(range(len(keys)))
        if awake:
            return self._picked(self._turn(awake), now_at_us)
        # A key that rests will do again by itself, a refused one hardly.
        return min(range(len(keys)), key=lambda place: (_is_off(keys[place]), keys[place].until_at_us))

    def awake(self, now_at_us: int) -> bool:
        """Whether any key is worth sending now, so whether another attempt at this provider makes sense."""
        return not self._troubled or any(key.until_at_us <= now_at_us for key in self._keys)

    def note(self, place: int, outcome: Outcome, now_at_us: int, retry_after_s: float | None = None) -> None:
        """Learn from one attempt made with the key at `place`."""
        event = EVENTS[outcome]
        if event is None or (event is KeyEvent.ACCEPTED and not self._troubled):
            return
        key = self._keys[place]
        was_resting = key.state is KeyState.RESTING
        key.state = NEXT_KEY[key.state, event]
        if key.state is KeyState.READY:
            key.until_at_us = 0
        elif key.state is KeyState.REFUSED:
            key.until_at_us = now_at_us + self._recheck_us
        elif event is KeyEvent.LIMITED:
            rest_s = LIMIT_REST_S if retry_after_s is None else min(RETRY_AFTER_S_MAX, max(0.0, retry_after_s))
            rested_at_us = now_at_us + int(rest_s * US_PER_S)
            # Of two refusals that cross on the way the longer rest holds.
            key.until_at_us = max(key.until_at_us, rested_at_us) if was_resting else rested_at_us
        self._troubled = any(key.state is not KeyState.READY for key in self._keys)

    def states(self) -> tuple[KeyState, ...]:
        return tuple(key.state for key in self._keys)

    def _turn(self, places: range | list[int]) -> int:
        """Smooth weighted round robin: all gain their weight, the richest goes and pays what all gained."""
        gained = 0
        best = places[0]
        for place in places:
            key = self._keys[place]
            key.credit += key.weight
            gained += key.weight
            if key.credit > self._keys[best].credit:
                best = place
        self._keys[best].credit -= gained
        return best

    def _picked(self, place: int, now_at_us: int) -> int:
        key = self._keys[place]
        if key.until_at_us <= now_at_us:
            key.state = NEXT_KEY[key.state, KeyEvent.PICKED]
            if key.state is KeyState.PROBING:
                # One request at a time finds out; should its answer never come, another may after the next interval.
                key.until_at_us = now_at_us + self._recheck_us
            self._troubled = any(k.state is not KeyState.READY for k in self._keys)
        return place


class Credentials:
    """The key sets of all providers, for callers that go by name."""

    def __init__(self, weights: Mapping[str, tuple[int, ...]], recheck_s: float = RECHECK_S) -> None:
        self.sets: Final = {provider: KeySet(own, recheck_s) for provider, own in weights.items()}

    def pick(self, provider: str, now_at_us: int) -> int:
        return self.sets[provider].pick(now_at_us)

    def awake(self, provider: str, now_at_us: int) -> bool:
        return self.sets[provider].awake(now_at_us)

    def note(
        self, provider: str, place: int, outcome: Outcome, now_at_us: int, retry_after_s: float | None = None
    ) -> None:
        self.sets[provider].note(place, outcome, now_at_us, retry_after_s)


def _is_off(key: _Key) -> bool:
    return key.state in {KeyState.REFUSED, KeyState.PROBING}
