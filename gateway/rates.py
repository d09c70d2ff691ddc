"""Lets a request in under the limits of its key, team and model, or says which one refuses it and for how long.

Tokens are counted on what a request used. Until that is known an estimate stands for it: the prompt by its length, and
a usual answer, or less where the caller wants less. OpenAI takes the larger of prompt and `max_tokens`; then a caller
who bounds answers generously pays for tokens that nobody writes, and one who leaves the bound out for none. The
estimate keeps a burst of requests at once near the limit; what it gets wrong is corrected when each ends.
"""

from collections.abc import Sequence
from typing import Final

from billing.books import AttemptRow
from billing.counters import Counters
from billing.rates import CONCURRENCY, NONE, REQUESTS, SIZE, Decision, Subject
from billing.tenancy import Holder
from gateway.chat_request import ChatAsk
from gateway.errors import RateLimited

# English text is about four bytes a token; JSON's own around it are no text.
BYTES_PER_TOKEN: Final = 4
FRAME_BYTES: Final = 40
MESSAGE_FRAME_BYTES: Final = 13
# Pictures, sound and files come as text that is no text to the model; below this size it makes no difference.
PARTS_BYTES_MIN: Final = 4096
PART_TOKENS: Final = 765  # a picture of 1024 × 1024, as OpenAI counts it
ANSWER_TOKENS: Final = 256

_BOTH_LINES: Final = (
    b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-limit-tokens: %d\r\n"
    b"x-ratelimit-remaining-requests: %d\r\nx-ratelimit-remaining-tokens: %d\r\n"
    b"x-ratelimit-reset-requests: %b\r\nx-ratelimit-reset-tokens: %b\r\n"
)
_REQUESTS_LINES: Final = (
    b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %b\r\n"
)
_TOKENS_LINES: Final = (
    b"x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: %b\r\n"
)


class Ticket:
    """A request that was let in, until it ends. `lines` are its answer's headers."""

    __slots__ = ("begun_us", "estimate", "lines", "subjects")

    def __init__(self, subjects: tuple[Subject, ...], estimate: int, begun_us: int, lines: bytes) -> None:
        self.subjects = subjects
        self.estimate = estimate
        self.begun_us = begun_us
        self.lines = lines


class Rates:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def admit(self, holder: Holder, names: tuple[str, ...], ask: ChatAsk, now_us: int) -> Ticket | None:
        """`names`: what the model goes by. None where no limit binds; else `end` must follow. Raises `RateLimited`."""
        subjects = holder.subjects(names)
        if not subjects:
            return None
        prompt = prompt_tokens(ask)
        estimate = prompt + answer_tokens(ask)
        decision = self._counters.admit(subjects, estimate, prompt, now_us)
        lines = header_lines(decision)
        if decision.kind:
            raise refusal(decision, estimate, prompt, lines)
        return Ticket(subjects, estimate, now_us, lines)

    def end(self, ticket: Ticket, attempts: Sequence[AttemptRow], now_us: int) -> None:
        """However the request ended: its place is free, and what it used counts instead of the estimate."""
        used = 0
        for attempt in attempts:
            usage = attempt.usage
            tokens = usage.input_tokens + usage.output_tokens
            # Charged although nobody knows for what: the provider may have worked.
            used += tokens or (ticket.estimate if attempt.cost_nano_usd else 0)
        self._counters.end(ticket.subjects, ticket.estimate, used, ticket.begun_us, now_us)

    def close(self) -> None:
        self._counters.close()


def prompt_tokens(ask: ChatAsk) -> int:
    """About how many tokens the input has."""
    messages = ask.fields["messages"]
    text_bytes = len(ask.body) - FRAME_BYTES - MESSAGE_FRAME_BYTES * len(messages)
    parts = 0
    if text_bytes > PARTS_BYTES_MIN:
        for message in messages:
            content = message.get("content")
            if content.__class__ is list:
                for part in content:
                    if part.__class__ is dict and part.get("type") != "text":
                        text_bytes -= _blob_chars(part)
                        parts += 1
    return max(text_bytes // BYTES_PER_TOKEN, 1) + parts * PART_TOKENS


def _blob_chars(part: dict[str, object]) -> int:
    """Of what stands one level down: `image_url.url`, `input_audio.data`, `file.file_data`."""
    inner = (value for value in part.values() if isinstance(value, dict))
    return sum(len(text) for value in inner for text in value.values() if isinstance(text, str))


def answer_tokens(ask: ChatAsk) -> int:
    """What a usual answer has, or all that the caller wants."""
    wanted = ask.output_tokens_max
    each = ANSWER_TOKENS if wanted is None or wanted > ANSWER_TOKENS else wanted
    return each * ask.choices


def refusal(decision: Decision, estimate: int, prompt: int, lines: bytes) -> RateLimited:
    """Says which limit, and what to do."""
    subject = decision.subject
    assert subject is not None
    words, limit = subject.words, subject.limit
    wait = duration_text(decision.wait_us).decode()
    extra: tuple[tuple[str, str], ...] = ()
    if decision.kind == REQUESTS:
        message = (
            f"rate limit reached: {words} may make {limit.requests_per_minute} requests a minute; try again in {wait}"
        )
    elif decision.kind == CONCURRENCY:
        message = (
            f"rate limit reached: {words} may have {limit.concurrency_max} requests under way at once, and has them;"
            " try again when one has ended"
        )
    elif decision.kind == SIZE:
        message = (
            f"this request's prompt is about {prompt} tokens long, and {words} may use {limit.tokens_per_minute} a"
            " minute: shorten it, or have the limit raised"
        )
        extra = (("x-should-retry", "false"),)
    else:
        message = (
            f"rate limit reached: {words} may use {limit.tokens_per_minute} tokens a minute, and this request is"
            f" estimated at {estimate}; try again in {wait}"
        )
    told = [(name, value) for name, _, value in (line.partition(": ") for line in lines.decode().split("\r\n")) if name]
    precise = ("retry-after-ms", str(-(-decision.wait_us // 1000)))
    return RateLimited(message, (*told, precise, *extra), retry_after_s=decision.wait_us / 1_000_000)


def header_lines(decision: Decision) -> bytes:
    """OpenAI's six headers, or the three of whichever sort is limited."""
    requests, tokens = decision.requests, decision.tokens
    if requests.limit == NONE:
        if tokens.limit == NONE:
            return b""
        return _TOKENS_LINES % (tokens.limit, tokens.remaining, duration_text(tokens.reset_us))
    if tokens.limit == NONE:
        return _REQUESTS_LINES % (requests.limit, requests.remaining, duration_text(requests.reset_us))
    return _BOTH_LINES % (
        requests.limit, tokens.limit, requests.remaining, tokens.remaining,
        duration_text(requests.reset_us), duration_text(tokens.reset_us),
    )  # fmt: skip


def duration_text(us: int) -> bytes:
    """As OpenAI writes it: `0s`, `120ms`, `8.64s`, `6m0s`, `1h0m0s`; rounded up to a millisecond."""
    ms = -(-us // 1000)
    if ms < 1000:
        return b"%dms" % ms if ms else b"0s"
    seconds, ms = divmod(ms, 1000)
    part = b".%03d" % ms if ms else b""
    if ms:
        part = part.rstrip(b"0")
    if seconds < 60:
        return b"%d%bs" % (seconds, part)
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return b"%dm%d%bs" % (minutes, seconds, part)
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%d%bs" % (hours, minutes, seconds, part)
