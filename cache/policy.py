"""May this request be answered from what was kept, and may its answer be kept? Pure.

An answer is kept only where repeating it is what the caller would have got, or asked for: one choice, ended by
itself, in words. Errors, truncated or refused answers and tool calls never are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

import orjson

# What the API does with a request that names none.
TEMPERATURE_DEFAULT: Final = 1.0


# Words that an ordinary stream of one choice does not hold; inside a string their quotes would be escaped.
_DOUBTFUL: Final = (
    b'"error"',
    b'"tool_calls":[',
    b'"tool_calls": [',
    b'"function_call":{',
    b'"refusal":"',
    b'"refusal": "',
    b"\r",
)
_FINISHES: Final = re.compile(rb'"finish_reason":\s*"([^"]*)"')
_CONTENT: Final = re.compile(rb'"content":\s*"[^"]')


@unique
class Directive(Enum):
    """What `x-turnpike-cache` asks for."""

    ON = "on"
    OFF = "off"
    REFRESH = "refresh"
    ONLY = "only"


class UnknownDirective(ValueError):
    """The header holds none of the words that it may hold."""


@dataclass(frozen=True, slots=True)
class ExactPolicy:
    """The configuration's `cache.exact`. `scope` is key, team or organization: who may see whose answers."""

    enabled: bool = True
    ttl_s: float = 3600
    temperature_max: float = 0
    scope: str = "team"
    entries_max: int = 100_000
    bytes_max: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What to do around one request. `only`: a miss is the caller's answer, no provider is asked."""

    lookup: bool
    keep: bool
    only: bool = False


BYPASS: Final = Eligibility(lookup=False, keep=False)
_NOWHERE: Final = Eligibility(lookup=False, keep=False, only=True)
_SERVE_AND_KEEP: Final = Eligibility(lookup=True, keep=True)
_ASKED: Final[Mapping[Directive, Eligibility]] = {
    Directive.ON: _SERVE_AND_KEEP,
    Directive.OFF: BYPASS,
    Directive.REFRESH: Eligibility(lookup=False, keep=True),
    Directive.ONLY: Eligibility(lookup=True, keep=False, only=True),
}


def eligibility(body: Mapping[str, object], policy: ExactPolicy, directive: str | None) -> Eligibility:
    """What the policy, the request and its `x-turnpike-cache` header allow; a directive overrules temperature alone."""
    if directive is None:
        if policy.enabled and _temperature_allows(body, policy) and _asks_for_one(body):
            return _SERVE_AND_KEEP
        return BYPASS
    asked = _ASKED[parse_directive(directive)]
    if policy.enabled and _asks_for_one(body):
        return asked
    return _NOWHERE if asked.only else BYPASS


def parse_directive(text: str) -> Directive:
    try:
        return Directive(text.strip().lower())
    except ValueError:
        words = ", ".join(directive.value for directive in Directive)
        raise UnknownDirective(f"x-turnpike-cache is {text[:40]!r}: give one of {words}") from None


def tenant(policy: ExactPolicy, key_id: str, team_id: str | None, organization_id: str | None) -> str:
    """Whose answers these are. A key without a team or organization shares with nobody."""
    if policy.scope == "organization" and organization_id is not None:
        return f"organization:{organization_id}"
    if policy.scope == "team" and team_id is not None:
        return f"team:{team_id}"
    return f"key:{key_id}"


def unkept_because(answer: Mapping[str, object]) -> str | None:
    """Why this whole answer may not be kept, or None if it may."""
    if answer.get("error") is not None:
        return "it is an error"
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return "it has not exactly one choice"
    message = choices[0].get("message")
    if not isinstance(message, dict):
        return "its choice has no message"
    if not message.get("content"):
        return _more_than_words(message) or "it has no content"
    return _more_than_words(message) or _unfinished(choices[0].get("finish_reason"))


def unkept_body_because(body: bytes) -> str | None:
    """The same of an answer's bytes, which are parsed only where a word in them says so."""
    if not any(word in body for word in _DOUBTFUL) and _FINISHES.findall(body) == [b"stop"] and _CONTENT.search(body):
        return None
    answer = _parsed(body)
    return "it is no object" if answer is None else unkept_because(answer)


def unkept_stream_because(events: bytes) -> str | None:
    """The same of a stream's bytes: it must have come to its `[DONE]`. Events are read only where a word says so."""
    if events.endswith(b"data: [DONE]\n\n") and not any(word in events for word in _DOUBTFUL):
        finishes = _FINISHES.findall(events)
        if finishes == [b"stop"] and events.count(b"[DONE]") == 1 and _CONTENT.search(events):
            return None
    finish: object = None
    content = done = False
    for line in events.splitlines():
        data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
        if not data:
            continue
        if done:
            return "it goes on after its end"
        if data == b"[DONE]":
            done = True
            continue
        chunk = _parsed(data)
        if chunk is None or chunk.get("error") is not None:
            return "it holds an error"
        for choice in _choices(chunk):
            delta = choice.get("delta")
            if choice.get("index", 0) != 0 or not isinstance(delta, dict):
                return "it has not exactly one choice"
            reason = _more_than_words(delta)
            if reason is not None:
                return reason
            content = content or bool(delta.get("content"))
            finish = choice.get("finish_reason") or finish
    if not done:
        return "it was cut off"
    return _unfinished(finish) if content else "it has no content"


def _temperature_allows(body: Mapping[str, object], policy: ExactPolicy) -> bool:
    temperature = body.get("temperature")
    if temperature is None:
        temperature = TEMPERATURE_DEFAULT
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        return False
    return temperature <= policy.temperature_max


def _asks_for_one(body: Mapping[str, object]) -> bool:
    n = body.get("n")
    return n is None or (n == 1 and not isinstance(n, bool))


def _more_than_words(message: Mapping[str, object]) -> str | None:
    if message.get("tool_calls") or message.get("function_call"):
        return "it calls a tool"
    return "it is a refusal" if message.get("refusal") else None


def _unfinished(finish_reason: object) -> str | None:
    # `length` is a truncated answer, `content_filter` a refused one.
    return None if finish_reason == "stop" else f"it finished with {finish_reason!r}"


def _parsed(data: bytes) -> dict[str, object] | None:
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return chunk if isinstance(chunk, dict) else None


def _choices(chunk: Mapping[str, object]) -> list[dict[str, object]]:
    choices = chunk.get("choices")
    # The usage chunk has none; a choice that is no object is counted as a stranger by the caller.
    if not isinstance(choices, list):
        return []
    return [choice if isinstance(choice, dict) else {} for choice in choices]
