"""Which deployments rest, and until when. In process, told by the caller what happened, and when.

A retry-after is kept exactly; a limit without one doubles from a second; failures in a row trip the target for a
while that grows with each trip. A success wipes the slate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from routing.outcome import VERDICTS, Effect, Outcome

RETRY_AFTER_S_MAX: Final = 3600
LIMIT_REST_S_MIN: Final = 1
LIMIT_REST_S_MAX: Final = 60
FAILURES_MAX: Final = 5
TRIP_REST_S: Final = 30
TRIPS_COUNTED_MAX: Final = 10

US_PER_S: Final = 1_000_000


@unique
class State(Enum):
    STEADY = "steady"
    SHAKY = "shaky"  # failed lately, not often enough
    TRIPPED = "tripped"  # rests because it kept failing
    RESTING = "resting"  # rests because it asked to
    PROBING = "probing"  # its rest is over, the next outcome tells


@unique
class Event(Enum):
    ANSWERED = "answered"
    FAILED = "failed"
    FAILED_TOO_OFTEN = "failed_too_often"
    LIMITED = "limited"
    RESTED = "rested"


NEXT: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (State.STEADY, Event.ANSWERED): State.STEADY,
        (State.STEADY, Event.FAILED): State.SHAKY,
        (State.STEADY, Event.FAILED_TOO_OFTEN): State.TRIPPED,
        (State.STEADY, Event.LIMITED): State.RESTING,
        (State.STEADY, Event.RESTED): State.STEADY,
        (State.SHAKY, Event.ANSWERED): State.STEADY,
        (State.SHAKY, Event.FAILED): State.SHAKY,
        (State.SHAKY, Event.FAILED_TOO_OFTEN): State.TRIPPED,
        (State.SHAKY, Event.LIMITED): State.RESTING,
        (State.SHAKY, Event.RESTED): State.SHAKY,
        # Tried as a last resort or sent before the trip: either way it serves.
        (State.TRIPPED, Event.ANSWERED): State.STEADY,
        (State.TRIPPED, Event.FAILED): State.TRIPPED,
        (State.TRIPPED, Event.FAILED_TOO_OFTEN): State.TRIPPED,
        (State.TRIPPED, Event.LIMITED): State.RESTING,
        (State.TRIPPED, Event.RESTED): State.PROBING,
        # Requests let in before the limit was reached still finish; the limit holds none the less.
        (State.RESTING, Event.ANSWERED): State.RESTING,
        (State.RESTING, Event.FAILED): State.RESTING,
        (State.RESTING, Event.FAILED_TOO_OFTEN): State.TRIPPED,
        (State.RESTING, Event.LIMITED): State.RESTING,
        (State.RESTING, Event.RESTED): State.PROBING,
        (State.PROBING, Event.ANSWERED): State.STEADY,
        (State.PROBING, Event.FAILED): State.SHAKY,
        (State.PROBING, Event.FAILED_TOO_OFTEN): State.TRIPPED,
        (State.PROBING, Event.LIMITED): State.RESTING,
        (State.PROBING, Event.RESTED): State.PROBING,
    }
)

# Bound once: looking a member up on its class costs more than all the rest of a healthy note.
_ANSWERED: Final = Outcome.ANSWERED


@dataclass(slots=True)
class Trouble:
    """What is remembered of a deployment that is not steady. One that is steady has none."""

    state: State = State.STEADY
    until_at_us: int = 0
    failures: int = 0  # in a row
    trips: int = 0  # without a success between them
    limits: int = 0  # without a success between them


class Health:
    def __init__(self) -> None:
        self._troubles: dict[str, Trouble] = {}
        # The latest instant at which anything still rests: once it has passed, nobody need be asked about.
        self.cooling_latest_at_us = 0

    def cooling_until(self, deployment_id: str) -> int:
        """The instant at which its rest ends, 0 where it never rested. One in the past rests no more."""
        trouble = self._troubles.get(deployment_id)
        return trouble.until_at_us if trouble is not None else 0

    def any_cooling(self, deployment_ids: tuple[str, ...], now_at_us: int) -> bool:
        """Whether at least one of these rests; nearly always answered by one comparison."""
        if now_at_us >= self.cooling_latest_at_us:
            return False
        return any(self.cooling_until(each) > now_at_us for each in deployment_ids)

    def state(self, deployment_id: str, now_at_us: int) -> State:
        trouble = self._troubles.get(deployment_id)
        return State.STEADY if trouble is None else _at(trouble, now_at_us)

    def note(
        self,
        deployment_id: str,
        outcome: Outcome,
        now_at_us: int,
        retry_after_s: float | None = None,
        jitter: float = 1.0,
    ) -> None:
        """Learn from one attempt. `jitter`, a draw from 0 to 1, shortens a limit's rest to no less than its half."""
        if outcome is _ANSWERED and deployment_id not in self._troubles:
            return
        effect = VERDICTS[outcome].effect
        # Any status may come with a retry-after; only those that mean "not now" are taken at their word.
        asked_for_rest = effect is Effect.RESTS or (outcome is Outcome.SERVER_ERROR and retry_after_s is not None)
        if asked_for_rest:
            self._limited(self._trouble(deployment_id), now_at_us, retry_after_s, jitter)
        elif effect is Effect.COUNTS:
            self._failed(self._trouble(deployment_id), now_at_us)
        elif effect is Effect.CLEARS:
            self._answered(deployment_id, now_at_us)

    def _trouble(self, deployment_id: str) -> Trouble:
        return self._troubles.setdefault(deployment_id, Trouble())

    def _answered(self, deployment_id: str, now_at_us: int) -> None:
        trouble = self._troubles[deployment_id]
        if NEXT[_at(trouble, now_at_us), Event.ANSWERED] is State.STEADY:
            del self._troubles[deployment_id]
            self.cooling_latest_at_us = max((t.until_at_us for t in self._troubles.values()), default=0)
        else:
            trouble.failures = 0

    def _failed(self, trouble: Trouble, now_at_us: int) -> None:
        trouble.failures += 1
        before = _at(trouble, now_at_us)
        event = Event.FAILED_TOO_OFTEN if trouble.failures >= FAILURES_MAX else Event.FAILED
        trouble.state = NEXT[before, event]
        # Those that were under way when it tripped fail too, without making its rest longer.
        if trouble.state is State.TRIPPED and before is not State.TRIPPED:
            trouble.trips = min(trouble.trips + 1, TRIPS_COUNTED_MAX)
            self._rest(trouble, now_at_us + TRIP_REST_S * trouble.trips * US_PER_S)

    def _limited(self, trouble: Trouble, now_at_us: int, retry_after_s: float | None, jitter: float) -> None:
        before = _at(trouble, now_at_us)
        trouble.state = NEXT[before, Event.LIMITED]
        if retry_after_s is not None:
            self._rest(trouble, now_at_us + int(min(RETRY_AFTER_S_MAX, max(0.0, retry_after_s)) * US_PER_S))
        # Of a burst that was refused together only the first doubles the rest.
        elif before is not State.RESTING:
            rest_s = min(LIMIT_REST_S_MIN << trouble.limits, LIMIT_REST_S_MAX)
            trouble.limits = min(trouble.limits + 1, LIMIT_REST_S_MAX.bit_length())
            self._rest(trouble, now_at_us + int(rest_s * US_PER_S * (0.5 + 0.5 * jitter)))

    def _rest(self, trouble: Trouble, until_at_us: int) -> None:
        # Two answers may cross on the way: the longer of two rests holds.
        trouble.until_at_us = max(trouble.until_at_us, until_at_us)
        self.cooling_latest_at_us = max(self.cooling_latest_at_us, trouble.until_at_us)


def _at(trouble: Trouble, now_at_us: int) -> State:
    return NEXT[trouble.state, Event.RESTED] if now_at_us >= trouble.until_at_us else trouble.state
