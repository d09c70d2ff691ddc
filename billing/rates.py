"""May this request start now, under several limits at once? Pure: counts and the time are arguments, numbers are whole.

A limit a minute is a bucket that refills evenly, as OpenAI's: its headers say how long until a limit is whole again,
and after one request of sixty a minute that is a second, not the rest of some minute. So a client may spend a minute's
worth at once and then gets on at the even pace; counted by the clock's minutes, two minutes' worth would pass around
each edge.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from billing.limits import Limit

WINDOW_US: Final = 60_000_000
# A concurrency limit frees a place when a request ends, which nobody can foretell.
CONCURRENCY_WAIT_US: Final = 1_000_000
# What a request used beyond its limit is paid back for so long at most, whatever a provider says it used.
OWED_WINDOWS_MAX: Final = 60

REQUESTS: Final = "requests"
TOKENS: Final = "tokens"
CONCURRENCY: Final = "concurrency"
SIZE: Final = "size"


class Subject(NamedTuple):
    """Whom one limit binds: `id` names its count, `words` it to people."""

    id: str
    words: str
    limit: Limit


class Count:
    """What a subject has used and time has not given back yet, in sixty-millionths: a limit of N a minute gives back N
    of them a microsecond. `running`: how many of its requests are under way.
    """

    __slots__ = ("at_us", "requests", "running", "tokens")

    def __init__(self, requests: int = 0, tokens: int = 0, running: int = 0, at_us: int = 0) -> None:
        self.requests = requests
        self.tokens = tokens
        self.running = running
        self.at_us = at_us


class Standing(NamedTuple):
    """How one limit stands, for the headers. `reset_us`: until it is whole again if nobody asks."""

    limit: int
    remaining: int
    reset_us: int


class Decision(NamedTuple):
    """`kind` names which limit of `subject` refuses; empty where the request may start, and then it is counted.

    `requests` and `tokens` are the tightest limit of each sort: the one of which the least remains.
    """

    kind: str
    subject: Subject | None
    wait_us: int
    requests: Standing | None
    tokens: Standing | None


def decide(subjects: Sequence[Subject], counts: Sequence[Count], tokens: int, prompt: int, now_us: int) -> Decision:
    """Counts the request under all its limits, or under none. `tokens` is an estimate of all it will use, `prompt` of
    its input alone, which no waiting makes smaller.

    Of several refusals the longest wait is told: to come back before that is in vain.
    """
    kind, refusing, wait_us = "", None, 0
    for place, subject in enumerate(subjects):
        count = counts[place]
        refill(count, subject.limit, now_us)
        per_minute, tokens_per_minute, concurrency_max = subject.limit
        if tokens_per_minute is not None:
            wait = _wait_us(count.tokens, min(tokens, tokens_per_minute), tokens_per_minute)
            if prompt > tokens_per_minute and kind != SIZE:
                kind, refusing, wait_us = SIZE, subject, WINDOW_US
            elif wait > wait_us and kind != SIZE:
                kind, refusing, wait_us = TOKENS, subject, wait
        if kind == SIZE:
            continue
        if per_minute is not None:
            wait = _wait_us(count.requests, 1, per_minute)
            if wait > wait_us:
                kind, refusing, wait_us = REQUESTS, subject, wait
        if concurrency_max is not None and count.running >= concurrency_max and wait_us < CONCURRENCY_WAIT_US:
            kind, refusing, wait_us = CONCURRENCY, subject, CONCURRENCY_WAIT_US
    if refusing is None:
        for place, subject in enumerate(subjects):
            _take(subject.limit, counts[place], tokens)
    return _decision(kind, refusing, wait_us, subjects, counts)


def finish(subject: Subject, count: Count, estimate: int, used: int, begun_us: int, now_us: int) -> None:
    """The request is over and used so many tokens: what was estimated too much is given back, too little is added.

    After a minute nothing of the estimate is left to give back: time has done it.
    """
    limit = subject.limit
    refill(count, limit, now_us)
    if count.running > 0:
        count.running -= 1
    per_minute = limit.tokens_per_minute
    if per_minute is None:
        return
    more = used - min(estimate, per_minute)
    if more > 0:
        count.tokens = min(count.tokens + more * WINDOW_US, OWED_WINDOWS_MAX * per_minute * WINDOW_US)
    elif now_us - begun_us < WINDOW_US:
        count.tokens = max(count.tokens + more * WINDOW_US, 0)


def refill(count: Count, limit: Limit, now_us: int) -> None:
    """Gives back what the time since has earned."""
    elapsed_us = now_us - count.at_us
    if elapsed_us <= 0:
        # Another worker's reading of the clock is a little ahead; much ahead, the clock was set back.
        if elapsed_us < -WINDOW_US:
            count.at_us = now_us
        return
    count.at_us = now_us
    if count.requests:
        count.requests = max(count.requests - elapsed_us * (limit.requests_per_minute or 0), 0)
    if count.tokens:
        count.tokens = max(count.tokens - elapsed_us * (limit.tokens_per_minute or 0), 0)


def _take(limit: Limit, count: Count, tokens: int) -> None:
    """An estimate takes the whole limit at most: so a request is let in at all that is thought to exceed it."""
    per_minute, tokens_per_minute, _ = limit
    if per_minute is not None:
        count.requests += WINDOW_US
    if tokens_per_minute is not None:
        count.tokens += min(tokens, tokens_per_minute) * WINDOW_US
    count.running += 1


def _wait_us(used: int, more: int, per_minute: int) -> int:
    """How long until so much more fits; 0 where it does now."""
    over = used + (more - per_minute) * WINDOW_US
    if over <= 0 < per_minute:
        return 0
    return -(-over // per_minute) if per_minute else WINDOW_US


def _decision(
    kind: str, refusing: Subject | None, wait_us: int, subjects: Sequence[Subject], counts: Sequence[Count]
) -> Decision:
    requests: Standing | None = None
    tokens: Standing | None = None
    for place, subject in enumerate(subjects):
        count = counts[place]
        per_minute, tokens_per_minute, _ = subject.limit
        if per_minute is not None:
            standing = _standing(count.requests, per_minute)
            if requests is None or standing.remaining < requests.remaining:
                requests = standing
        if tokens_per_minute is not None:
            standing = _standing(count.tokens, tokens_per_minute)
            if tokens is None or standing.remaining < tokens.remaining:
                tokens = standing
    return Decision(kind, refusing, wait_us, requests, tokens)


def _standing(used: int, per_minute: int) -> Standing:
    if not per_minute:
        return Standing(0, 0, WINDOW_US)
    return Standing(per_minute, max(per_minute - -(-used // WINDOW_US), 0), -(-used // per_minute))
