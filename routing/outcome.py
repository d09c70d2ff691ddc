"""What happened upstream, as a table: may another key or target be tried, does it cool the target, may it be billed.

Pure. This is DESIGN's failure table before the first content of an answer; after it nothing is ever tried again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from types import MappingProxyType
from typing import Final


@unique
class Outcome(Enum):
    """How one attempt ended, in the words that logs, metrics and traces use."""

    ANSWERED = "answered"
    CONNECT_FAILED = "connect_failed"
    TIMED_OUT = "timed_out"
    RESET = "reset"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    AUTH_REFUSED = "auth_refused"
    CLIENT_ERROR = "client_error"
    BAD_ANSWER = "bad_answer"
    CANCELLED = "cancelled"


@unique
class Effect(Enum):
    """What an outcome says about the target's health."""

    CLEARS = "clears"  # it serves
    COUNTS = "counts"  # enough of these in a row trip it
    RESTS = "rests"  # it asked to be left alone
    SAYS_NOTHING = "says_nothing"  # the request, the key or the client was at fault


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an outcome, as long as no content has reached the client."""

    another_target: bool
    another_key: bool
    effect: Effect
    may_be_billed: bool


VERDICTS: Final[Mapping[Outcome, Verdict]] = MappingProxyType(
    {
        Outcome.ANSWERED: Verdict(another_target=False, another_key=False, effect=Effect.CLEARS, may_be_billed=True),
        Outcome.CONNECT_FAILED: Verdict(
            another_target=True, another_key=False, effect=Effect.COUNTS, may_be_billed=False
        ),
        Outcome.TIMED_OUT: Verdict(another_target=True, another_key=False, effect=Effect.COUNTS, may_be_billed=True),
        Outcome.RESET: Verdict(another_target=True, another_key=False, effect=Effect.COUNTS, may_be_billed=True),
        # A limit is a key's: a sibling key may have room, and only when none has does the target rest.
        Outcome.RATE_LIMITED: Verdict(another_target=True, another_key=True, effect=Effect.RESTS, may_be_billed=False),
        Outcome.OVERLOADED: Verdict(another_target=True, another_key=False, effect=Effect.RESTS, may_be_billed=False),
        Outcome.SERVER_ERROR: Verdict(
            another_target=True, another_key=False, effect=Effect.COUNTS, may_be_billed=False
        ),
        # Our credential is wrong or out of money; the target itself is well.
        Outcome.AUTH_REFUSED: Verdict(
            another_target=True, another_key=True, effect=Effect.SAYS_NOTHING, may_be_billed=False
        ),
        # A prompt too long, a bad field: the next target would be asked the same wrong question.
        Outcome.CLIENT_ERROR: Verdict(
            another_target=False, another_key=False, effect=Effect.SAYS_NOTHING, may_be_billed=False
        ),
        Outcome.BAD_ANSWER: Verdict(another_target=True, another_key=False, effect=Effect.COUNTS, may_be_billed=True),
        Outcome.CANCELLED: Verdict(
            another_target=False, another_key=False, effect=Effect.SAYS_NOTHING, may_be_billed=True
        ),
    }
)

STATUSES: Final[Mapping[int, Outcome]] = MappingProxyType(
    {
        401: Outcome.AUTH_REFUSED,
        402: Outcome.AUTH_REFUSED,
        403: Outcome.AUTH_REFUSED,
        # The provider gave up waiting on itself or on us: nothing to bill, and another may be quicker.
        408: Outcome.SERVER_ERROR,
        429: Outcome.RATE_LIMITED,
        529: Outcome.OVERLOADED,
    }
)


def classify(status: int) -> Outcome:
    """The outcome that a status line alone tells. A redirect is no answer: addresses come from configuration only."""
    if 200 <= status < 300:
        return Outcome.ANSWERED
    if status in STATUSES:
        return STATUSES[status]
    if 400 <= status < 500:
        return Outcome.CLIENT_ERROR
    return Outcome.SERVER_ERROR
