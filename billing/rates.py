"""May this request start now, under several limits at once? Pure: counts and the time are arguments, numbers are whole.

A limit a minute is a bucket that refills evenly, as OpenAI's: its headers say how long until a limit is whole again,
and after one request of sixty a minute that is a second, not the rest of some minute. So a client may spend a minute's
worth at once and then gets on at the even pace; counted by the clock's minutes, two minutes' worth would pass around
each edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from billing.limits import Limit

WINDOW_US: Final = 60_000_000
# A concurrency limit frees a place when a request ends, which nobody can foretell.
CONCURRENCY_WAIT_US: Final = 1_000_000
# What a request used beyond its limit is paid back for so long at most, whatever a provider says it used.
OWED_WINDOWS_MAX: Final = 60

NONE: Final = -1
REQUESTS: Final = "requests"
TOKENS: Final = "tokens"
CONCURRENCY: Final = "concurrency"
SIZE: Final = "size"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom one limit binds: `id` names its count, `words` it to people."""

    id: str
    words: str
    limit: Limit


class Count:
    """What a subject has used and time has not given back yet, in sixty-millionths: a limit of N a minute gives back N
    of them a microsecond. `running`: how many of its requests are under way.
    """

    __slots__ = ("at_us", "requests", "running", "tokens")

    def __init__(self, requests: int, tokens: int, running: int, at_us: int) -> None:
        self.requests = requests
        self.tokens = tokens
        self.running = running
        self.at_us = at_us


class Tightest:
    """Of several limits of one sort that of which the least remains, for the headers; `limit` is `NONE` where there is
    no such limit. `reset_us`: until it is whole again if nobody asks.
    """

    __slots__ = ("limit", "remaining", "reset_us")

    def __init__(self) -> None:
        self.limit = NONE
        self.remaining = 0
        self.reset_us = 0

    def see(self, used: int, per_minute: int) -> None:
        remaining = max(per_minute - -(-used // WINDOW_US), 0)
        if self.limit == NONE or remaining < self.remaining:
            self.limit = per_minute
            self.remaining = remaining
            self.reset_us = -(-used // per_minute) if per_minute else WINDOW_US


class Decision:
    """`kind` names which limit of `subject` refuses, and `wait_us` for how long; empty where the request may start,
    and then it is counted.
    """

    __slots__ = ("kind", "requests", "subject", "tokens", "wait_us")

    def __init__(self) -> None:
        self.kind = ""
        self.subject: Subject | None = None
        self.wait_us = 0
        self.requests = Tightest()
        self.tokens = Tightest()

    def refuse(self, kind: str, subject: Subject, wait_us: int) -> None:
        self.kind, self.subject, self.wait_us = kind, subject, wait_us


def decide(subjects: Sequence[Subject], counts: Sequence[Count], tokens: int, prompt: int, now_us: int) -> Decision:
    """Counts the request under all its limits, or under none. `tokens` is an estimate of all it will use, `prompt` of
    its input alone, which no waiting makes smaller.

    Of several refusals the longest wait is told: to come back before that is in vain.
    """
    decision = Decision()
    for place, subject in enumerate(subjects):
        count = counts[place]
        refill(count, subject.limit, now_us)
        _judge(decision, subject, count, tokens, prompt)
    may = decision.subject is None
    for place, subject in enumerate(subjects):
        limit, count = subject.limit, counts[place]
        if limit.requests_per_minute is not None:
            if may:
                count.requests += WINDOW_US
            decision.requests.see(count.requests, limit.requests_per_minute)
        if limit.tokens_per_minute is not None:
            if may:
                count.tokens += min(tokens, limit.tokens_per_minute) * WINDOW_US
            decision.tokens.see(count.tokens, limit.tokens_per_minute)
        if may:
            count.running += 1
    return decision


def _judge(decision: Decision, subject: Subject, count: Count, tokens: int, prompt: int) -> None:
    if decision.kind == SIZE:
        return
    limit = subject.limit
    per_minute, tokens_per_minute = limit.requests_per_minute, limit.tokens_per_minute
    if tokens_per_minute is not None:
        if prompt > tokens_per_minute:
            decision.refuse(SIZE, subject, WINDOW_US)
            return
        # An estimate takes the whole limit at most: so what is thought to exceed it is let in at all.
        wait = _wait_us(count.tokens, min(tokens, tokens_per_minute), tokens_per_minute)
        if wait > decision.wait_us:
            decision.refuse(TOKENS, subject, wait)
    if per_minute is not None:
        wait = _wait_us(count.requests, 1, per_minute)
        if wait > decision.wait_us:
            decision.refuse(REQUESTS, subject, wait)
    if (
        limit.concurrency_max is not None
        and count.running >= limit.concurrency_max
        and decision.wait_us < CONCURRENCY_WAIT_US
    ):
        decision.refuse(CONCURRENCY, subject, CONCURRENCY_WAIT_US)


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


def _wait_us(used: int, more: int, per_minute: int) -> int:
    """How long until so much more fits; 0 where it does now."""
    over = used + (more - per_minute) * WINDOW_US
    if over <= 0 < per_minute:
        return 0
    return -(-over // per_minute) if per_minute else WINDOW_US
