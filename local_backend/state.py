"""What a replica may be and what may happen to it, as a table. Pure: the caller brings time and chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

BACKOFF_S_MAX: Final = 60.0
SAME_CAUSE_MAX: Final = 3


class State(Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    CRASHED = "crashed"
    BACKING_OFF = "backing_off"
    FAILED = "failed"


class Event(Enum):
    START = "start"
    """Somebody wants an answer from it."""
    HEALTHY = "healthy"
    """Its port is open and /health says 200: no proof that it answers."""
    ANSWERED = "answered"
    """It has completed a real request."""
    DIED = "died"
    """The process ended, froze, or stopped making progress while it started."""
    STOP = "stop"
    GONE = "gone"
    """No process of its tree is left."""
    RETRY = "retry"
    """The back-off is over."""
    GIVE_UP = "give_up"
    """Its tree is gone, and trying once more would not help: the same cause again and again."""


NEXT: Final[Mapping[tuple[State, Event], State]] = {
    (State.STOPPED, Event.START): State.STARTING,
    (State.STARTING, Event.HEALTHY): State.WARMING,
    (State.STARTING, Event.DIED): State.CRASHED,
    (State.STARTING, Event.STOP): State.DRAINING,
    (State.WARMING, Event.ANSWERED): State.READY,
    (State.WARMING, Event.DIED): State.CRASHED,
    (State.WARMING, Event.STOP): State.DRAINING,
    (State.READY, Event.DIED): State.CRASHED,
    (State.READY, Event.STOP): State.DRAINING,
    # A replica that dies while it drains is still draining: only an empty tree ends that.
    (State.DRAINING, Event.DIED): State.DRAINING,
    (State.DRAINING, Event.GONE): State.STOPPED,
    # A dead API server leaves its engine running, so a crash is not over before the tree is gone.
    (State.CRASHED, Event.GONE): State.BACKING_OFF,
    (State.CRASHED, Event.GIVE_UP): State.FAILED,
    (State.CRASHED, Event.STOP): State.DRAINING,
    (State.BACKING_OFF, Event.RETRY): State.STARTING,
    (State.BACKING_OFF, Event.STOP): State.STOPPED,
    (State.FAILED, Event.START): State.STARTING,
    (State.FAILED, Event.STOP): State.STOPPED,
}

# Events that reach a state late, or ask for what already is, and change nothing.
IGNORED: Final[Mapping[State, frozenset[Event]]] = {
    State.STOPPED: frozenset(Event) - {Event.START},
    State.STARTING: frozenset({Event.START, Event.ANSWERED, Event.GONE, Event.RETRY, Event.GIVE_UP}),
    State.WARMING: frozenset({Event.START, Event.HEALTHY, Event.GONE, Event.RETRY, Event.GIVE_UP}),
    State.READY: frozenset({Event.START, Event.HEALTHY, Event.ANSWERED, Event.GONE, Event.RETRY, Event.GIVE_UP}),
    State.DRAINING: frozenset({Event.START, Event.HEALTHY, Event.ANSWERED, Event.STOP, Event.RETRY, Event.GIVE_UP}),
    State.CRASHED: frozenset({Event.START, Event.HEALTHY, Event.ANSWERED, Event.DIED, Event.RETRY}),
    State.BACKING_OFF: frozenset(set(Event) - {Event.RETRY, Event.STOP}),
    State.FAILED: frozenset(Event) - {Event.START, Event.STOP},
}


def after(state: State, event: Event) -> State:
    if event in IGNORED[state]:
        return state
    return NEXT[state, event]


def backoff_s(failures: int, draw: float) -> float:
    """Seconds before the next attempt: 1, 2, 4 … 60, less up to a quarter so that replicas do not march in step."""
    longest_s = min(BACKOFF_S_MAX, 2.0 ** min(max(failures - 1, 0), 10))
    return longest_s * (1 - draw / 4)


@dataclass(frozen=True, slots=True)
class Failures:
    """How often in a row, and how often for the very same reason, a start has failed."""

    count: int = 0
    cause: str = ""
    same: int = 0

    def with_cause(self, cause: str) -> "Failures":
        return Failures(self.count + 1, cause, self.same + 1 if cause == self.cause else 1)

    @property
    def hopeless(self) -> bool:
        return self.same >= SAME_CAUSE_MAX


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """One replica as a person wants to see it."""

    model: str
    index: int
    state: State
    since_at_us: int
    phase: str
    percent: int | None
    address: str | None
    pid: int | None
    restarts: int
    cause: str | None
