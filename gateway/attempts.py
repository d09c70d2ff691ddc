"""Tries a plan's targets in order until one answers: each with a hold of its own, and a reason for the trace."""

from typing import Any, Final

import orjson

from billing.budget_refusals import BudgetRefused
from billing.money import usd_text
from billing.price import cost_nano_usd
from gateway.attempt import Attempt, let_go, make, open_attempt, take_slowly
from gateway.caller import Facts
from gateway.chat_request import ChatAsk
from gateway.errors import (
    AllRateLimited,
    AttemptsFailed,
    AttemptsTimedOut,
    BadRequest,
    Overloaded,
    ProviderRefused,
    Refusal,
)
from gateway.providers.registry import fit
from gateway.ride import Ride
from gateway.roads import Provider, Road
from gateway.services import Services
from gateway.usage import usage_of
from gateway.wire.sse import ChatStream
from routing.outcome import VERDICTS, Outcome
from routing.plan import Choice, after_failure

ATTEMPTS_MAX: Final = 3
# A provider's own refusals that its caller can mend: status, param, code and message are passed on.
PASSED_ON: Final = frozenset({400, 404, 409, 413, 422})


class Search:
    """One request's way through its plan. `unable`: why a target was passed over; `spent`: which budget refused one."""

    unable: Refusal | None = None
    spent: BudgetRefused | None = None

    def __init__(self, s: Services, ride: Ride, ask: ChatAsk, facts: Facts, choices: tuple[Choice, ...]) -> None:
        self._s = s
        self._ride = ride
        self._ask = ask
        self._facts = facts
        self._choices = choices
        self._place = 0
        self._failed: list[Attempt] = []

    async def run(self) -> Attempt:
        """The attempt that was answered. Raises what the caller is to be told when none was."""
        s, ride = self._s, self._ride
        while self._place < len(self._choices) and len(self._failed) < ATTEMPTS_MAX:
            choice = self._choices[self._place]
            self._place += 1
            road = s.roads.roads[choice.deployment.id]
            provider = road.provider
            if not self._can(provider):
                continue
            why = choice.why
            if self._failed:
                before = self._failed[-1]
                why = after_failure(choice, before.choice.deployment, said(before))
            attempt = open_attempt(s, ride, self._ask, self._facts, choice, road, why)
            if attempt.asks:
                refused = await take_slowly(s, ride, self._ask, attempt)
                if refused is not None:
                    self._turn_away(refused, road)
                    continue
            self._tell(attempt, attempt.why)
            provider.in_flight += 1
            try:
                await make(s, ride, self._ask, self._facts, attempt, self._stream(attempt))
            finally:
                provider.in_flight -= 1
                let_go(s, attempt)
            if attempt.outcome is Outcome.ANSWERED:
                return attempt
            if not self._goes_on(attempt):
                break
        raise self._failure()

    def _can(self, provider: Provider) -> bool:
        """Whether the provider takes this request, and another one at all."""
        refused = None if provider.plain else fit(provider.row, self._ask.fields).refused
        if refused is not None:
            message = f"{provider.name} does not take `{refused}`"
            self.unable = BadRequest(message, param=refused, code="unsupported_parameter")
            return False
        return provider.concurrency_max is None or provider.in_flight < provider.concurrency_max

    def _turn_away(self, refused: BudgetRefused, road: Road) -> None:
        """A budget has no room. By its policy that ends the request, or cheaper targets are tried instead."""
        if self.spent is None:
            if (refused.rule.over_budget or self._s.over_budget) != "downgrade":
                raise refused
            self._choices = self._s.roads.cheaper(self._choices[self._place :], road, self._ride.key, self._ride.at_us)
            self._place = 0
            self.spent = refused

    def _tell(self, attempt: Attempt, why: str) -> None:
        ride, choice, road = self._ride, attempt.choice, attempt.road
        ride.calls = attempt.hold.attempt
        ride.model, ride.provider, ride.named_lines = choice.deployment.model, road.provider.name, road.named_lines
        ride.route, ride.why = choice.route, why

    def _stream(self, attempt: Attempt) -> ChatStream | None:
        ask = self._ask
        if not ask.stream:
            return None
        hide = attempt.road.provider.row.stream_usage and not ask.wants_usage
        annotate = _annotation(self._ride, attempt) if ask.wants_usage else None
        limit = attempt.output_tokens
        if limit is None:
            return ChatStream(hide_usage=hide, annotate=annotate)
        return ChatStream(hide_usage=hide, annotate=annotate, tokens_max=limit * ask.choices, choices=ask.choices)

    def _goes_on(self, attempt: Attempt) -> bool:
        """Whether another target, or the same one with another key, may be tried after this failure."""
        self._failed.append(attempt)
        verdict = VERDICTS[attempt.outcome]
        if attempt.status in PASSED_ON and not verdict.another_target:
            raise ProviderRefused(attempt.status or 400, attempt.told or {"message": attempt.error})
        if self._s.monotonic() >= self._ride.deadline:
            return False
        provider = attempt.road.provider
        if verdict.another_key and len(provider.heads) > 1 and provider.keys.awake(self._s.clock()):
            self._place -= 1  # the same target, another of its keys
            return True
        return verdict.another_target

    def _failure(self) -> Exception:
        if self.spent is not None:
            return self.spent
        if self._failed:
            return all_failed(self._failed)
        return self.unable or Overloaded("every provider of this model has as many requests under way as it may")


def _annotation(ride: Ride, attempt: Attempt) -> Any:
    def annotate(usage: dict[str, Any]) -> bytes:
        cost = ride.spent_nano_usd + cost_nano_usd(usage_of(usage), attempt.hold.price)
        return orjson.dumps({"cost_usd": usd_text(cost), "provider": ride.provider, "model": ride.model})

    return annotate


def said(attempt: Attempt) -> str:
    """Like "answered 503": what the next attempt's reason says of this one."""
    if attempt.status is not None and attempt.outcome is not Outcome.BAD_ANSWER:
        return f"answered {attempt.status}"
    return attempt.outcome.value.replace("_", " ")


def told(attempt: Attempt) -> dict[str, Any]:
    """What a caller learns of an attempt."""
    return {
        "provider": attempt.choice.deployment.provider,
        "model": attempt.choice.deployment.model,
        "status": attempt.status,
        "reason": attempt.outcome.value,
        "message": attempt.error,
    }


def all_failed(failed: list[Attempt]) -> AttemptsFailed:
    """All 429: a 429 with the smallest retry-after. Else 504 where the last one timed out, 502 otherwise."""
    story = [told(attempt) for attempt in failed]
    if all(attempt.outcome is Outcome.RATE_LIMITED for attempt in failed):
        waits = [attempt.retry_after_s for attempt in failed if attempt.retry_after_s is not None]
        return AllRateLimited(
            "every provider of this model is rate limited", story, retry_after_s=min(waits, default=None)
        )
    last = failed[-1]
    if last.timed_out:
        return AttemptsTimedOut("no provider answered in time", story)
    return AttemptsFailed(f"no provider answered: {last.choice.deployment.provider} {said(last)}", story)
