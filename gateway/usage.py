"""A provider's usage object as billing counts it. Pure; tolerant of what is left out, never of what cannot be."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from billing.price import Usage
from gateway.chat_request import ChatAsk
from gateway.usage_document import AnswerDocument

NO_USAGE: Final = Usage()
# For estimates alone (no usage ever came): English text is about 4 bytes a token, dense text 2.
BYTES_PER_TOKEN: Final = 4
INPUT_BYTES_PER_TOKEN: Final = 2

_decode = msgspec.json.Decoder(AnswerDocument).decode


def usage_of_answer(body: bytes) -> Usage | None:
    """The usage of a whole answer; `NO_USAGE` where it has none, None where it is no chat completion."""
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _usage_of_odd_answer(body)
    found = answer.usage
    if found is None or found.prompt_tokens is None:
        return NO_USAGE
    prompt, completion = found.prompt_tokens_details, found.completion_tokens_details
    if prompt is None and completion is None and found.prompt_cache_hit_tokens is None:
        return Usage(found.prompt_tokens, 0, 0, found.completion_tokens or 0)
    cached = (prompt.cached_tokens if prompt else None) or found.prompt_cache_hit_tokens or 0
    return _usage(
        found.prompt_tokens, cached, (prompt.cache_write_tokens if prompt else None) or 0, found.completion_tokens or 0,
        (completion.reasoning_tokens if completion else None) or 0, (prompt.audio_tokens if prompt else None) or 0,
        (completion.audio_tokens if completion else None) or 0,
    )  # fmt: skip


def _usage_of_odd_answer(body: bytes) -> Usage | None:
    """Slower, for usage objects of a shape of their own."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        return None
    usage = answer.get("usage")
    if isinstance(usage, dict) and isinstance(usage.get("prompt_tokens"), int | float):
        return usage_of(usage)
    return NO_USAGE  # one that nobody can read is no bill


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """The usage object of a stream's chunk, or of an odd answer."""
    prompt = usage.get("prompt_tokens_details")
    completion = usage.get("completion_tokens_details")
    prompt = prompt if isinstance(prompt, dict) else {}
    completion = completion if isinstance(completion, dict) else {}
    cached = _count(prompt.get("cached_tokens")) or _count(usage.get("prompt_cache_hit_tokens"))
    return _usage(
        _count(usage.get("prompt_tokens")), cached, _count(prompt.get("cache_write_tokens")),
        _count(usage.get("completion_tokens")), _count(completion.get("reasoning_tokens")),
        _count(prompt.get("audio_tokens")),
        _count(completion.get("audio_tokens")),
    )  # fmt: skip


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _usage(
    prompt: int, cached: int, cache_write: int, completion: int, reasoning: int, audio_in: int, audio_out: int
) -> Usage:
    """Parts never exceed their whole: a provider's slip must not make a cost negative."""
    if cached or cache_write or audio_in:
        cached = min(cached, prompt)
        cache_write = min(cache_write, prompt - cached)
        audio_in = min(audio_in, prompt - cached - cache_write)
    if reasoning or audio_out:
        if reasoning > completion:
            # More reasoning than completion: it was counted beside it, not in it.
            completion += reasoning
        audio_out = min(audio_out, completion - reasoning)
    return Usage(prompt, cached, cache_write, completion, reasoning, audio_in, audio_out)


def estimated_usage(ask: ChatAsk, answer_bytes: int) -> Usage:
    """For a whole answer that came without usage."""
    return Usage(input_tokens=-(-len(ask.body) // BYTES_PER_TOKEN), output_tokens=-(-answer_bytes // BYTES_PER_TOKEN))


def cancelled_usage(ask: ChatAsk, events: int) -> Usage:
    """For an answer whose usage never came: the input, counted generously, and a token for each event delivered."""
    return Usage(input_tokens=-(-len(ask.body) // INPUT_BYTES_PER_TOKEN), output_tokens=events)
