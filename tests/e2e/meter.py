"""A provider whose answers are of random lengths within the limit it is told, and that remembers when it charged what.

What it has charged by an instant is at least what the gateway can have settled by then: the charge comes before the
answer's last words. What its clients saw bounds what the gateway can have held.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Self

from tests.fakes.bill import Tokens
from tests.fakes.provider import Provider
from tests.fakes.script import Charged, Received, Says, Send, Step, reply

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping, Sequence

    from tests.e2e.throng import Seen
    from tests.fakes.bill import Tariff
    from tests.fakes.script import Behaviour

METERED: Final = "metered"
NANO: Final = 10**9


class Meter(Provider):
    """Its one model is `METERED`."""

    def __init__(self, prices: Tariff) -> None:
        super().__init__("meter", prices)
        self.charged_at_s: list[float] = []

    def charge(self, request: Received, step: Charged) -> None:
        super().charge(request, step)
        self.charged_at_s.append(time.monotonic())

    def charged_nano_usd(self, by_s: float) -> int:
        return sum(line.cost_nano_usd for line in self.bill[: bisect_right(self.charged_at_s, by_s)])

    def configuration(self) -> dict[str, object]:
        row = {"dialect": "openai", "base_url": self.base_url, "api_key": "sk-meter-0123456789abcdef"}
        model = {"provider": "meter", "model": METERED, "price": self.prices.as_configured()}
        return {"providers": {"meter": row}, "models": {METERED: [model]}}


def told_limit(request: Received) -> int:
    document = request.document()
    limit = document.get("max_tokens", document.get("max_completion_tokens"))
    assert isinstance(limit, int), "where a budget binds, the provider is told a limit"
    return limit


def of_random_length(draw: random.Random, tokens_max: int, stream_s_max: float) -> Behaviour:
    """So many tokens as the provider pleases, and not one beyond what it is told."""

    def behaviour(request: Received) -> tuple[Step, ...]:
        tokens = min(draw.randint(1, tokens_max), told_limit(request))
        says = Says(pieces=("some ", "words ", "and ", "more"), tokens=Tokens(input=10, output=tokens))
        charge, *steps = reply(says, gap_s=draw.uniform(0, stream_s_max) / 7)(request)
        last = next(at for at, step in enumerate(steps) if isinstance(step, Send) and b'"usage":{' in step.data)
        return (*steps[:last], charge, *steps[last:])

    return behaviour


def usage_of(stream: bytes) -> Mapping[str, object]:
    """The usage chunk of a stream that asked for it."""
    chunks = [line.removeprefix(b"data: ") for line in stream.split(b"\n\n") if line.startswith(b"data: {")]
    usage: Mapping[str, object] = json.loads(chunks[-1])["usage"]
    return usage


@dataclass(frozen=True, slots=True)
class Served:
    """A hold that stood at most from its request's first byte to its answer's last, and what was left of it then."""

    seen: Seen
    hold_nano_usd: int
    cost_nano_usd: int


def served(seen: Seen, output_nano_usd: int) -> Served:
    """Of a whole stream; its head tells the hold, its end the tokens."""
    assert seen.body.endswith(b"data: [DONE]\n\n"), seen.body[-200:]
    tokens = usage_of(seen.body)["completion_tokens"]
    assert isinstance(tokens, int)
    hold = int(Decimal(seen.headers["x-turnpike-cost-usd"]) * NANO)
    return Served(seen, hold, tokens * output_nano_usd)


class Taken:
    """What is posted and pending at most, at each instant: a hold while its request was under way, then its cost."""

    def __init__(self, before_nano_usd: int, all_served: Iterable[Served]) -> None:
        steps = []
        for one in all_served:
            steps.append((one.seen.sent_at_s, one.hold_nano_usd))
            steps.append((one.seen.ended_at_s, one.cost_nano_usd - one.hold_nano_usd))
        steps.sort()
        self._at_s: Sequence[float] = [at_s for at_s, _ in steps]
        self._sums: Sequence[int] = list(accumulate((change for _, change in steps), initial=before_nano_usd))

    def most_between(self, begin_s: float, end_s: float) -> int:
        """What stood when it began counts, and each change until it ended."""
        return max(self._sums[bisect_left(self._at_s, begin_s) : bisect_right(self._at_s, end_s) + 1])


@dataclass(frozen=True, slots=True)
class Named:
    """The numbers in a refusal's message."""

    limit_nano_usd: int
    left_nano_usd: int
    needs_nano_usd: int

    @classmethod
    def by(cls, refused: Seen) -> Self:
        words = refused.message.split()
        amounts = [int(Decimal(words[at - 1]) * NANO) for at, word in enumerate(words) if word.strip(",;") == "USD"]
        limit, left, needs = amounts
        return cls(limit, left, needs)
