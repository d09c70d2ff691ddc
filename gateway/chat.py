"""The life of a chat request, top to bottom:

authenticate → parse once → admit → look in the cache → plan → hold the money → attempt, in order → relay → settle →
keep → tell.
"""

import re
from typing import Any, Final

from billing.books import Hold
from billing.keys import Key
from billing.price import FREE, Usage
from billing.tenancy import Holder
from cache.exact import Kept
from cache.fingerprint import fingerprint
from cache.policy import BYPASS, Eligibility, eligibility, tenant, unkept_body_because, unkept_stream_because
from gateway.attempt import Attempt, broken_off, cancelled, drain, settle_stream
from gateway.attempts import Search, told
from gateway.caller import Facts, clean_tags, facts_of
from gateway.chat_request import ChatAsk, parse_chat
from gateway.errors import (
    AttemptsFailed,
    AttemptsTimedOut,
    BadRequest,
    CacheMiss,
    InvalidKey,
    ModelNotAllowed,
    ModelNotFound,
    Overloaded,
)
from gateway.ride import ClientGone, Ride
from gateway.roads import Named
from gateway.services import Services
from gateway.usage import cancelled_usage
from gateway.wire.headers import named_lines
from gateway.wire.server import ServerConnection
from gateway.wire.sse import DONE
from gateway.wire.upstream import UpstreamError

ATTEMPTS_MAX: Final = 3
# A provider's own refusals that its caller can mend: status, param, code and message are passed on.
PASSED_ON: Final = frozenset({400, 404, 409, 413, 422})
_COST_TOLD: Final = re.compile(rb'"turnpike":\{"cost_usd":"[0-9.]+"')
_COST_NOTHING: Final = b'"turnpike":{"cost_usd":"0.000000000"'


async def chat_completions(s: Services, ride: Ride) -> None:
    """Answers one request. What it raises becomes an error answer."""
    facts = facts_of(ride.head)
    holder = recognise(s, facts, ride.connection, ride.at_us)
    key = ride.key = holder.key
    ask = parse_chat(ride.body)
    _attribute(ride, ask, facts)
    ride.tags = holder.tagged(ride.tags)
    named = resolve(s, key, ask.model)
    admit(s, ride, facts)
    ticket = ride.ticket = s.rates.admit(holder, named.names, ask, ride.at_us)
    if ticket is not None:
        ride.rate_lines = ticket.lines

    kept_under = None
    temperature = ask.fields.get("temperature")
    if facts.cache is not None or (temperature is not None and temperature <= s.exact_policy.temperature_max):
        kept_under, rule = look_up_key(s, key, ask, facts)
        if rule.lookup and kept_under is not None:
            kept = s.exact.get(kept_under, ride.at_us)
            if kept is not None:
                serve_kept(s, ride, ask, kept)
                return
        if rule.only:
            raise CacheMiss("nothing is kept for this request, and x-turnpike-cache says `only`")
        if not rule.keep:
            kept_under = None

    if ask.stream:
        ride.watch_stream()
    choices = named.planner_for(key).plan(s.health, ride.at_us, s.draw())
    attempt = await Search(s, ride, ask, facts, choices).run()
    answer = attempt.answer
    if answer.streamed is not None:
        await relay(s, ride, ask, attempt, kept_under)
        return
    body = answer.whole
    content_type = answer.head.headers.get(b"content-type", b"application/json") if answer.head else b"application/json"
    if ride.stream_begun:  # a ping has already committed this answer to be a stream
        raise AttemptsFailed("the provider did not stream", [told(attempt)])
    ride.connection.reply(
        b"%bcontent-length: %d\r\n" % (ride.answer_head(content_type, ride.spent_nano_usd), len(body)), body
    )
    if kept_under is not None and unkept_body_because(body) is None:
        keep(s, kept_under, content_type, body, attempt)
    ride.close(200, None)


def authenticate(s: Services, facts: Facts, connection: ServerConnection, now_at_us: int) -> Key:
    """Whose request is this? The key as its team leaves it. Raises `InvalidKey`."""
    return recognise(s, facts, connection, now_at_us).key


def recognise(s: Services, facts: Facts, connection: ServerConnection, now_at_us: int) -> Holder:
    if facts.key_digest is None:
        raise InvalidKey("no key: send `Authorization: Bearer tp-…`")
    key = s.keyring.find(facts.key_digest, now_at_us)
    if key is None:
        s.failed_keys.note(connection.peer, now_at_us)
        raise InvalidKey("this key is unknown, expired or revoked")
    return s.tenancy.of(key)


def _attribute(ride: Ride, ask: ChatAsk, facts: Facts) -> None:
    fields = ask.fields
    ride.model_asked = ask.model
    ride.end_user = facts.end_user or fields.get("safety_identifier") or fields.get("user")
    ride.tags = facts.tags
    metadata = fields.get("metadata")
    if metadata and "tags" in metadata:
        tags: Any = metadata["tags"]
        tags = tags.split(",") if isinstance(tags, str) else tags
        if not isinstance(tags, list):
            raise BadRequest("`metadata.tags` must be an array of strings", param="metadata.tags", code="invalid_type")
        ride.tags = clean_tags((*facts.tags, *tags), "metadata.tags")


def resolve(s: Services, key: Key, model: str) -> Named:
    """The pool behind a name. Raises `ModelNotFound`, `ModelNotAllowed`."""
    named = s.roads.named(model)
    if named is None:
        raise ModelNotFound(f"no model is called {model[:200]!r}: GET /v1/models lists those there are", param="model")
    if not named.may(key):
        raise ModelNotAllowed(f"this key may not use the model {model!r}", param="model")
    return named


def admit(s: Services, ride: Ride, facts: Facts) -> None:
    """Load is shed at the door, before anything costs."""
    if s.gate.in_flight > s.requests_in_flight_max:
        raise Overloaded("too many requests are under way: try again shortly")
    if facts.timeout_s is not None:
        ride.deadline = ride.started_at + facts.timeout_s


def look_up_key(s: Services, key: Key, ask: ChatAsk, facts: Facts) -> tuple[bytes | None, Eligibility]:
    """Under which fingerprint this request is kept, if it may be, and what to do about it."""
    rule = eligibility(ask.fields, s.exact_policy, facts.cache)
    if rule is BYPASS or not (rule.lookup or rule.keep):
        return None, rule
    scope = tenant(s.exact_policy, key.id, key.team_id, key.organization_id)
    return fingerprint(scope, ask.fields), rule


async def relay(s: Services, ride: Ride, ask: ChatAsk, attempt: Attempt, keep_under: bytes | None) -> None:
    """Passes a stream on as it comes, to its end; then settles, keeps and closes."""
    answer = attempt.answer
    stream = answer.streamed
    assert stream is not None
    ride.first_content_us = int((answer.first_content_at - ride.started_at) * 1_000_000)
    ride.begin_stream(attempt.choice.route, attempt.hold.amount_nano_usd)
    if keep_under is not None:
        answer.keep_copy()
    provider = attempt.road.provider
    provider.in_flight += 1
    ride.progress = lambda: s.books.progress(attempt.hold, cancelled_usage(ask, stream.events))
    answer.relay_to(ride.connection)
    gone = None
    try:
        try:
            await answer.ended
        except ClientGone as left:  # a name of its own: a compiled variable has one type
            gone = left  # nothing waits inside a handler: compiled, that would corrupt memory (docs/development.md)
        if gone is not None:
            if s.drain_cancelled:
                await drain(s, ride, ask, attempt)
            else:
                answer.abort()
                cancelled(s, ride, ask, attempt)
            raise gone
    except UpstreamError as error:
        broken_off(s, ride, ask, attempt, error)
        if attempt.timed_out:
            raise AttemptsTimedOut("the provider's stream stood still", [told(attempt)]) from error
        raise AttemptsFailed("the provider's stream broke off", [told(attempt)]) from error
    finally:
        provider.in_flight -= 1
    end = settle_stream(s, ride, ask, attempt, stream)
    ride.connection.end_stream(end + DONE)
    if keep_under is not None and not end:
        events = answer.copied() + DONE
        if events != DONE and unkept_stream_because(events) is None:
            keep(s, keep_under, b"text/event-stream; charset=utf-8", events, attempt)
    ride.close(200, None)


def keep(s: Services, under: bytes, content_type: bytes, body: bytes, attempt: Attempt) -> None:
    """Keeps a whole, right answer."""
    deployment = attempt.choice.deployment
    kept = Kept(content_type, body, deployment.model, deployment.provider, attempt.cost_nano_usd, tuple(attempt.usage))
    s.exact.put(under, kept, s.clock(), s.exact_policy.ttl_s)


def serve_kept(s: Services, ride: Ride, ask: ChatAsk, kept: Kept) -> None:
    """Answers from the cache: costs nothing, and says what it saved."""
    ride.cache, ride.model, ride.provider = "exact", kept.model, kept.provider
    ride.named_lines = named_lines(kept.model, kept.provider)
    ride.route, ride.why = "pinned", "an equal request was answered before"
    key = ride.key
    assert key is not None
    memo = Hold(
        ride.request_id, 0, ride.at_us, key.id, key.team_id, key.user_id, ride.end_user, kept.provider, kept.model,
        ride.model_asked, ride.tags, FREE, 0, key.organization_id,
    )  # fmt: skip
    s.books.saving(memo, Usage(*kept.usage), kept.cost_nano_usd)
    if ask.stream:
        ride.stream = True
        ride.begin_stream("", 0)
        ride.connection.end_stream(_COST_TOLD.sub(_COST_NOTHING, kept.body))
    else:
        lines = b"%bcontent-length: %d\r\n" % (ride.answer_head(kept.content_type, 0), len(kept.body))
        ride.connection.reply(lines, kept.body)
    ride.close(200, None)
