"""One attempt at one deployment: money held and intent written before the first byte, and every end of it settled."""

import logging
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final

import orjson

from billing.books import AttemptRow, EntryKind, Hold
from billing.budget_refusals import BudgetBackendUnavailable, BudgetRefused
from billing.holds import charge_of
from billing.journal import JournalFull
from billing.money import usd_text
from billing.price import UNPRICED, Usage, cost_nano_usd
from billing.wallets import NOTHING
from gateway import echo
from gateway.answer import Answer, AnswerTimedOut
from gateway.caller import Facts
from gateway.chat_request import ChatAsk
from gateway.errors import MaxCostExceeded, ModelUnpriced
from gateway.estimate import Bound, bound_of, least_nano_usd, most_nano_usd, output_for
from gateway.providers.registry import FITS, fit
from gateway.redact import scrub
from gateway.rewrite import body_for
from gateway.ride import ClientGone, Ride
from gateway.roads import DEMO, LOCAL, Provider, Road
from gateway.services import Services
from gateway.usage import NO_USAGE, cancelled_usage, estimated_usage, usage_of, usage_of_answer
from gateway.wire.errand import Waiter
from gateway.wire.http1 import ResponseHead
from gateway.wire.sse import ChatStream
from gateway.wire.upstream import (
    BadAnswer,
    ConnectFailed,
    ConnectTimedOut,
    Pool,
    StaleConnection,
    UpstreamConnection,
    UpstreamError,
)
from local_backend.supervisor import LocalModelFailed
from routing.outcome import Outcome, classify
from routing.plan import Choice

log = logging.getLogger("turnpike")

ERROR_TEXT_MAX: Final = 2000
US: Final = 1_000_000

_ANSWERED: Final = Outcome.ANSWERED
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Attempt:
    """What became of it. `told` is the provider's own error object, where it sent one."""

    # Defaults stand on the class, without slots: most attempts set few of them, and each one set costs.
    key_place = 0
    answer: Answer
    outcome = _ANSWERED
    status: int | None = None
    error: str | None = None
    timed_out = False
    retry_after_s: float | None = None
    told = _NOTHING
    usage = NO_USAGE
    cost_nano_usd = 0
    # Under a budget: what the hold is taken from, whether the slices at hand were too small, whether the books have it.
    wallets = NOTHING
    asks = False
    booked = False
    bound: Bound
    output_tokens: int | None = None
    """The limit that the provider is told, where a budget binds."""

    def __init__(self, choice: Choice, road: Road, hold: Hold, why: str, started_at: float) -> None:
        self.choice = choice
        self.road = road
        self.hold = hold
        self.why = why
        self.started_at = started_at


def open_attempt(s: Services, ride: Ride, ask: ChatAsk, facts: Facts, choice: Choice, road: Road, why: str) -> Attempt:
    """The hold: an upper bound on what this attempt may cost. Bytes bound tokens: no tokenizer makes more of a text."""
    key = ride.key
    assert key is not None
    bound = bound_of(ask, road.deployment.model, road.output_tokens_max, road.known_output_max, road.context_tokens_max)
    deployment = choice.deployment
    number = len(ride.attempts) + 1
    started_at, at_us = ride.started_at, ride.at_us
    if number > 1:
        started_at, at_us = s.monotonic(), s.clock()
    price = road.price_for(key.team_id, at_us)
    hold = Hold(
        ride.request_id, number, at_us, key.id, key.team_id, key.user_id, ride.end_user,
        deployment.provider, deployment.model, ride.model_asked, ride.tags, price,
        most_nano_usd(bound, price), key.organization_id,
    )  # fmt: skip
    attempt = Attempt(choice, road, hold, why, started_at)
    attempt.bound = bound
    if facts.max_cost_nano_usd is not None:
        _cap(attempt, facts.max_cost_nano_usd - ride.spent_nano_usd)
    if s.books.wallets.limited:
        _take(s, attempt)
    if s.charges_input and not attempt.wallets:
        attempt.hold = attempt.hold._replace(input_tokens=cancelled_usage(ask, 0).input_tokens)
    return attempt


def _cap(attempt: Attempt, left_nano_usd: int) -> None:
    """Bounds the attempt by the request's own `x-turnpike-max-cost`. Raises `MaxCostExceeded`, `ModelUnpriced`."""
    hold, bound, price = attempt.hold, attempt.bound, attempt.hold.price
    if price is UNPRICED:
        raise ModelUnpriced(f"nobody knows what {hold.provider}/{hold.model} costs, and x-turnpike-max-cost is set")
    if hold.amount_nano_usd <= left_nano_usd:
        return
    least = least_nano_usd(bound, price)
    if least > left_nano_usd:
        raise MaxCostExceeded(
            f"{hold.provider}/{hold.model} may cost {usd_text(least)} USD at the least, and x-turnpike-max-cost leaves"
            f" {usd_text(max(left_nano_usd, 0))} USD",
            param="x-turnpike-max-cost",
        )
    attempt.hold = hold._replace(amount_nano_usd=left_nano_usd)
    attempt.output_tokens = output_for(left_nano_usd, bound, price)
    attempt.bound = bound._replace(output_tokens=attempt.output_tokens)


def _take(s: Services, attempt: Attempt) -> None:
    """Takes the hold from the budgets' slices at hand. Where they are too small, `attempt.asks` is set. Raises
    `ModelUnpriced`.
    """
    hold, bound, price = attempt.hold, attempt.bound, attempt.hold.price
    most = hold.amount_nano_usd
    if not most and price is not UNPRICED:
        return
    wallets = s.books.wallets.of(charge_of(hold), hold.opened_at_us)
    if not wallets:
        return
    if price is UNPRICED:
        rule = wallets[0].rule
        raise ModelUnpriced(
            f"nobody knows what {hold.provider}/{hold.model} costs, and budget {rule.id!r} binds: give it a price"
            " (`turnpike prices import`, or `price` in the configuration)",
            param="model",
        )
    attempt.wallets = wallets
    attempt.output_tokens = bound.output_tokens
    if not s.books.wallets.take_amply(wallets, most):
        attempt.asks = not s.books.wallets.take(wallets, most, least_nano_usd(bound, price))


async def take_slowly(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt) -> BudgetRefused | None:
    """Asks the database for the hold, which may come out smaller. Gives a refusal; raises what keeps it from asking."""
    hold, bound, price = attempt.hold, attempt.bound, attempt.hold.price
    waiter: Waiter[int | Exception] = Waiter()
    asked = s.books.wallets.ask(attempt.wallets, hold.amount_nano_usd, least_nano_usd(bound, price), waiter.set)
    try:
        answer = await ride.hear(waiter)
    except BaseException:
        asked.cancel()
        raise
    if isinstance(answer, BudgetRefused):
        attempt.wallets = NOTHING
        return answer
    if isinstance(answer, Exception):
        attempt.wallets = NOTHING
        if not (s.open_when_down and isinstance(answer, BudgetBackendUnavailable)):
            raise answer
        # By explicit policy: it is posted once the database is back, whatever the budget says then.
        attempt.asks = False
        attempt.why = f"{attempt.why}; not checked against its budgets, whose database is away"
        return None
    attempt.asks = False
    if answer < hold.amount_nano_usd:
        attempt.hold = hold._replace(amount_nano_usd=answer)
        attempt.output_tokens = output_for(answer, bound, price)
        if ask.output_tokens_max is None or attempt.output_tokens < ask.output_tokens_max:
            ride.budget_lines = b"x-turnpike-max-tokens: %d\r\n" % attempt.output_tokens
    return None


def let_go(s: Services, attempt: Attempt) -> None:
    """Gives a hold back that the books never got to see."""
    if attempt.wallets and not attempt.booked and not attempt.asks:
        s.books.wallets.settle(attempt.wallets, attempt.hold.amount_nano_usd, 0)


async def make(
    s: Services, ride: Ride, ask: ChatAsk, facts: Facts, attempt: Attempt, stream: ChatStream | None
) -> None:
    """Sends, and waits until the answer can be judged: then `attempt.outcome` says what came.

    An answered stream is left open and unsettled, for `gateway.chat` to relay. Raises `ClientGone`, everything settled.
    """
    provider = attempt.road.provider
    timeouts = provider.timeouts
    deadline = attempt.started_at + timeouts.total_s
    deadline = min(deadline, ride.deadline)
    answer = attempt.answer = ride.answer = Answer(s, stream, deadline, timeouts)
    connections = provider.connections
    if connections is not None:
        attempt.key_place = place = provider.keys.pick(attempt.hold.opened_at_us)
        connection = None if s.awaits_disk else connections.idle()
        if connection is not None:  # the common case: no step of it waits
            request = _request(ask, facts, attempt, provider.heads[place])
            _book(s, attempt, connection)
            answer.begin(connection, request)
        elif not await _send(s, ride, ask, facts, attempt):
            return
    elif provider.name == DEMO:
        s.books.reserve_and_dispatch(attempt.hold, attempt.wallets)
        attempt.booked = True
        echo.answer(ask, ride.request_id, attempt.hold.opened_at_us, answer)
    elif not await _send(s, ride, ask, facts, attempt):
        return
    # Nothing waits inside a handler: compiled, that would corrupt memory (docs/development.md).
    stale, gone = False, None
    try:
        try:
            await answer
        except StaleConnection:
            stale = True
        if stale:
            # The idle limit of a kept-alive connection struck while the request was under way: once more, on a fresh
            # one.
            answer = attempt.answer = ride.answer = Answer(s, stream, deadline, timeouts)
            if not await _send(s, ride, ask, facts, attempt, again=True):
                return
            await answer
    except ClientGone as left:  # a name of its own: a compiled variable has one type
        gone = left
    except UpstreamError as error:
        _lost(s, ride, ask, attempt, error)
        return
    if gone is not None:
        await _left(s, ride, ask, attempt)
        raise gone
    _judge(s, ride, ask, attempt, answer)


def _book(s: Services, attempt: Attempt, connection: UpstreamConnection) -> None:
    """Hold and intent in one; without them the connection is there for the next request."""
    try:
        s.books.reserve_and_dispatch(attempt.hold, attempt.wallets)
    except JournalFull:
        connection.spare()
        raise
    attempt.booked = True


async def _left(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt) -> None:
    """The client hung up before the answer could be judged."""
    if attempt.outcome is Outcome.CANCELLED:  # while it was being sent anew: `_send` has released it
        return
    answer = attempt.answer
    if not s.drain_cancelled or not await _drained(answer):
        answer.abort()
        cancelled(s, ride, ask, attempt)
        return
    _judge(s, ride, ask, attempt, answer)
    if answer.streamed is not None:
        await drain(s, ride, ask, attempt)


async def drain(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt) -> None:
    """Reads a stream to its end although its client has gone, so that its bill is known exactly."""
    answer = attempt.answer
    answer.unrelay()
    attempt.outcome, attempt.error = Outcome.CANCELLED, "the client hung up; the answer was read to its end"
    try:
        await answer.ended
    except UpstreamError as error:
        attempt.error = scrub(str(error), attempt.road.provider.secrets)
    _settle_estimated(s, ride, ask, attempt, answer.streamed)


async def _drained(answer: Answer) -> bool:
    """Waits for the answer although nobody will read it. False where none comes."""
    try:
        await answer
    except UpstreamError:
        return False
    return True


async def _send(s: Services, ride: Ride, ask: ChatAsk, facts: Facts, attempt: Attempt, *, again: bool = False) -> bool:
    """Opens a connection, writes the intent, sends. False where nothing was sent; the attempt then knows why.

    `again`: the hold and the intent of the first try still stand.
    """
    provider, hold = attempt.road.provider, attempt.hold
    reserved = again
    try:
        if provider.connections is None:
            name = attempt.road.deployment.model
            ready = s.local.ready(name)
            if ready is None:
                ready = await ride.wait(s.local.started(name))
            connections, start = ready
        else:
            connections, start = provider.connections, provider.heads[attempt.key_place]
        request = _request(ask, facts, attempt, start)
        if not again:
            s.books.reserve(hold, attempt.wallets)
            reserved = attempt.booked = True
        idle = None if again else connections.idle()
        connection = await ride.wait(connections.connect()) if idle is None else idle
        if not again:
            try:
                s.books.dispatch(hold)
            except JournalFull:
                s.books.release(hold)
                connection.spare()
                raise
            if s.awaits_disk:
                connection = await _on_disk(s, ride, hold, connections, connection)
    except (ConnectFailed, LocalModelFailed, AnswerTimedOut) as error:
        attempt.timed_out = isinstance(error, ConnectTimedOut | AnswerTimedOut)
        _unsent(s, ride, attempt, Outcome.CONNECT_FAILED, str(error), reserved=reserved)
        return False
    except ClientGone:
        _unsent(s, ride, attempt, Outcome.CANCELLED, "the client hung up before anything was sent", reserved=reserved)
        raise
    attempt.answer.begin(connection, request)
    return True


async def _on_disk(
    s: Services, ride: Ride, hold: Hold, connections: Pool, connection: UpstreamConnection
) -> UpstreamConnection:
    """Waits until the intent has reached the disk; a connection that closed meanwhile is replaced."""
    intent = s.books.durable()
    if intent is not None:
        try:
            await ride.wait(intent)
        except JournalFull:
            s.books.release(hold)
            connection.spare()
            raise
        except BaseException:
            connection.spare()
            raise
    if connection.usable:
        return connection
    idle = connections.idle()
    return await ride.wait(connections.connect()) if idle is None else idle


def _unsent(s: Services, ride: Ride, attempt: Attempt, outcome: Outcome, error: str, *, reserved: bool) -> None:
    if reserved:
        s.books.release(attempt.hold)
    attempt.outcome = outcome
    attempt.error = scrub(error, attempt.road.provider.secrets)
    _note(s, ride, attempt)


def _request(ask: ChatAsk, facts: Facts, attempt: Attempt, start: bytes) -> bytes:
    road = attempt.road
    provider = road.provider
    row = provider.row
    fitted = FITS if provider.plain else fit(row, ask.fields)
    body = body_for(
        ask, road.model_json, ask_usage=row.stream_usage, fit=fitted, output_tokens=attempt.output_tokens,
        limit_field=row.limit_field,
    )  # fmt: skip
    extra = facts.forwarded
    if provider.forward_headers:
        extra += b"".join(b"%b: %b\r\n" % pair for pair in facts.headers if pair[0] in provider.forward_headers)
    if facts.traceparent is not None and provider.name == LOCAL:
        extra += b"traceparent: %b\r\n" % facts.traceparent
    return b"%b%d\r\n%b\r\n%b" % (start, len(body), extra, body)


def _judge(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt, answer: Answer) -> None:
    head = answer.head
    assert head is not None
    attempt.status = head.status
    if head.status == 200:
        if answer.streamed is not None:
            return
        usage = usage_of_answer(answer.whole)
        if usage is None:
            _lost(
                s, ride, ask, attempt, BadAnswer("the provider answered 200 with something that is no chat completion")
            )
            return
        kind = EntryKind.ACTUAL
        if usage is NO_USAGE:
            usage, kind = estimated_usage(ask, len(answer.whole)), EntryKind.ESTIMATED
        settle(s, ride, attempt, usage, kind)
        return
    attempt.outcome = classify(head.status)
    if attempt.outcome is Outcome.ANSWERED:  # 201, 204: success of a kind that a chat completion does not have
        attempt.outcome = Outcome.BAD_ANSWER
    attempt.retry_after_s = retry_after_of(head, attempt.hold.opened_at_us)
    attempt.told = error_told(answer.whole, attempt.road.provider)
    attempt.error = str(attempt.told.get("message") or f"status {head.status}")
    s.books.release(attempt.hold)
    _note(s, ride, attempt)


def settle(s: Services, ride: Ride, attempt: Attempt, usage: Usage, kind: EntryKind) -> None:
    """Posts what an answered attempt cost, and notes it."""
    attempt.usage = usage
    attempt.cost_nano_usd = cost_nano_usd(usage, attempt.hold.price)
    s.books.settle(attempt.hold, usage, attempt.cost_nano_usd, kind)
    _note(s, ride, attempt)


def cancelled(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt) -> None:
    """The client hung up: its input and what was delivered are paid for, as an estimate, at most the hold."""
    attempt.outcome = Outcome.CANCELLED
    attempt.error = "the client hung up"
    _settle_estimated(s, ride, ask, attempt, attempt.answer.streamed)


def broken_off(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt, error: UpstreamError) -> None:
    """A stream failed after its first content: the delivered part is paid for."""
    attempt.outcome = _outcome_of(error)
    attempt.error = scrub(str(error), attempt.road.provider.secrets)
    attempt.timed_out = isinstance(error, AnswerTimedOut)
    _settle_estimated(s, ride, ask, attempt, attempt.answer.streamed)


def settle_stream(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt, stream: ChatStream) -> bytes:
    """Posts what a stream cost that was relayed to its end. Gives what is still to be relayed, where we ended it."""
    if attempt.answer.stopped is not None:
        return _stopped(s, ride, ask, attempt, stream, attempt.answer.stopped)
    if stream.usage is not None:
        settle(s, ride, attempt, usage_of(stream.usage), EntryKind.ACTUAL)
    else:
        settle(s, ride, attempt, cancelled_usage(ask, stream.events), EntryKind.ESTIMATED)
    return b""


def _stopped(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt, stream: ChatStream, last: bytes) -> bytes:
    """It went on beyond the limit that its provider was sent: what was delivered is paid for, at most the hold."""
    limit = attempt.output_tokens
    hold = attempt.hold
    log.warning(
        "%s/%s goes on beyond the %s tokens that it is told to stop at: stopped", hold.provider, hold.model, limit
    )
    attempt.error = f"stopped: the provider went on beyond the {limit} tokens that it was told to stop at"
    usage = cancelled_usage(ask, stream.events)
    told = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    end = stream.cut_short(last, told)
    _settle_estimated(s, ride, ask, attempt, stream)
    return end


def _settle_estimated(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt, stream: ChatStream | None) -> None:
    if stream is not None and stream.usage is not None:
        usage, kind = usage_of(stream.usage), EntryKind.ACTUAL
    else:
        usage, kind = cancelled_usage(ask, stream.events if stream is not None else 0), EntryKind.ESTIMATED
    attempt.usage = usage
    cost = cost_nano_usd(usage, attempt.hold.price)
    attempt.cost_nano_usd = cost if kind is EntryKind.ACTUAL else min(cost, attempt.hold.amount_nano_usd)
    s.books.settle(attempt.hold, usage, attempt.cost_nano_usd, kind)
    _note(s, ride, attempt)


def _lost(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt, error: UpstreamError) -> None:
    """Failed before anything could be relayed, after the request was sent: the provider may bill it."""
    answer = attempt.answer
    attempt.outcome = _outcome_of(error)
    attempt.error = scrub(str(error), attempt.road.provider.secrets)
    attempt.timed_out = isinstance(error, AnswerTimedOut)
    if answer.head is not None:
        attempt.status = answer.head.status
        if answer.streamed is not None:
            _settle_estimated(s, ride, ask, attempt, answer.streamed)
            return
    if isinstance(error, StaleConnection):
        s.books.release(attempt.hold)
    else:
        attempt.usage, attempt.cost_nano_usd = s.books.settle_unknown(attempt.hold)
    _note(s, ride, attempt)


def _outcome_of(error: UpstreamError) -> Outcome:
    if isinstance(error, AnswerTimedOut):
        return Outcome.TIMED_OUT
    return Outcome.BAD_ANSWER if isinstance(error, BadAnswer) else Outcome.RESET


def _note(s: Services, ride: Ride, attempt: Attempt) -> None:
    """Tells health and credentials, and adds the attempt to the request's story."""
    outcome, deployment, keys = attempt.outcome, attempt.choice.deployment, attempt.road.provider.keys
    hold = attempt.hold
    duration_us = int((s.monotonic() - attempt.started_at) * US)
    now_at_us = hold.opened_at_us + duration_us
    keys.note(attempt.key_place, outcome, now_at_us, attempt.retry_after_s)
    # A limit is a key's: only when no key is awake does the target rest.
    if outcome is not Outcome.RATE_LIMITED or not keys.awake(now_at_us):
        jitter = 0.0 if outcome is Outcome.ANSWERED else s.draw()
        s.health.note(deployment.id, outcome, now_at_us, attempt.retry_after_s, jitter)
    row = AttemptRow(
        hold.attempt, deployment.provider, deployment.model, attempt.why, attempt.status, outcome.value, attempt.error,
        hold.opened_at_us, duration_us, attempt.usage, attempt.cost_nano_usd,
    )  # fmt: skip
    ride.attempts.append(row)
    ride.spent_nano_usd += attempt.cost_nano_usd
    s.metrics.attempt(row)


def retry_after_of(head: ResponseHead, now_at_us: int) -> float | None:
    """RFC 9110 §10.2.3: seconds or a date; `retry-after-ms` as OpenAI and Azure send it."""
    precise = head.headers.get(b"retry-after-ms")
    value = head.headers.get(b"retry-after")
    try:
        if precise is not None:
            return max(0.0, float(precise) / 1000)
        if value is None:
            return None
        if value.replace(b".", b"", 1).isdigit():
            return float(value)
        return max(0.0, parsedate_to_datetime(value.decode("latin-1")).timestamp() - now_at_us / US)
    except (ValueError, TypeError, OverflowError):
        return None  # a header that says nothing readable says nothing


def error_told(body: bytes, provider: Provider) -> dict[str, Any]:
    """The provider's error object, with secrets and addresses taken out; its text where it is none."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[:ERROR_TEXT_MAX].decode("utf-8", "replace").strip()
        return {"message": scrub(text, provider.secrets)} if text and not text.startswith("<") else {}
    error = told.get("error", told) if isinstance(told, dict) else told
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        return {}
    return {
        name: scrub(value, provider.secrets) if isinstance(value, str) else value
        for name, value in error.items()
        if name in ("message", "type", "param", "code") and (value is None or isinstance(value, str | int))
    }
