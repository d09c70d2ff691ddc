"""Reads an OpenAI-shaped chat stream off the side while its bytes pass through. Pure: bytes in, bytes to relay out.

Only whole events leave here, so a multi-byte character or a JSON text is never cut by us. Blocks without a word of
interest
(`usage`, `error`, `finish_reason`, `[DONE]`) pass unparsed: a byte search costs 0.1 µs, a JSON parse of each chunk 1
µs.
A word inside a string cannot match: there its quotes are escaped.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

EVENT_BYTES_MAX: Final = 16 * 1024 * 1024
DONE: Final = b"data: [DONE]\n\n"
PING: Final = b": ping\n\n"
UNBOUNDED: Final = 2**62
EVENTS_BESIDE_MAX: Final = 8  # of a choice, that carry no token of it: role, filter results, finish reason, usage

_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_NULL_USAGE = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,')
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class StreamBroken(Exception):
    """The provider's stream is not what it should be, or says itself that it failed."""


def event_data(event: bytes) -> bytes:
    """The joined `data:` lines of one event."""
    if event.startswith(b"data: ") and event.find(b"\n", 0, -2) < 0 and event.endswith(b"\n\n"):
        return event[6:-2]  # the common case: one line
    parts = [line[5:].removeprefix(b" ") for line in _LINE_END.split(event) if line.startswith(b"data:")]
    return b"\n".join(parts)


def _has_content(choices: list[Any]) -> bool:
    """Whether a chunk says anything beyond the role: DESIGN's "first content"."""
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        if choice.get("finish_reason"):
            return True
        delta = choice.get("delta")
        if isinstance(delta, dict) and any(value for key, value in delta.items() if key != "role"):
            return True
    return False


class ChatStream:
    """One stream's reader.

    `hide_usage`: usage was asked for by us alone, so its chunk and its null field are taken out again.
    `annotate`: gives the bytes of the `turnpike` object for the usage chunk of a client that did ask.
    `tokens_max`: what the provider was told to stop at, all choices together, where that bounds what it may cost.
    """

    __slots__ = (
        *("_annotate", "_hide_usage", "_pending", "choices", "content_seen", "done", "events", "events_max"),
        *("finished", "usage"),
    )

    def __init__(
        self,
        *,
        hide_usage: bool,
        annotate: Callable[[dict[str, Any]], bytes] | None,
        tokens_max: int = UNBOUNDED,
        choices: int = 1,
    ) -> None:
        self._hide_usage = hide_usage
        self._annotate = annotate
        self._pending = b""
        self.content_seen = False
        self.finished = False
        self.done = False
        self.usage: dict[str, Any] | None = None
        self.events = 0
        self.choices = choices
        # An event has a token at least; providers put several into one, never one into several.
        self.events_max = tokens_max + EVENTS_BESIDE_MAX * choices

    @property
    def runs_over(self) -> bool:
        """Its provider has said more than it was told to, and shows no sign of an end."""
        ends = self.done or self.finished or self.usage is not None
        return self.events > self.events_max and self.content_seen and not ends

    def cut_short(self, last: bytes, usage: dict[str, Any]) -> bytes:
        """How a stream ends that is stopped at its limit: as its provider would have ended it, `[DONE]` left out.

        `last` is what was relayed last, whole events; `usage` what was counted, for a client that asked.
        """
        chunk = _chunk_of(last)
        finish = [{"index": place, "delta": {}, "finish_reason": "length"} for place in range(self.choices)]
        out = b"data: %b\n\n" % orjson.dumps({**chunk, "choices": finish})
        if self._annotate is None:
            return out
        told = orjson.dumps({**chunk, "choices": [], "usage": usage})[:-1]
        return b'%bdata: %b,"turnpike":%b,"estimated":true}}\n\n' % (out, told, self._annotate(usage)[:-1])

    def feed(self, data: bytes) -> bytes:
        """Whole events to relay, without the closing `[DONE]`. Raises `StreamBroken`."""
        if self._pending:
            data = self._pending + data
        end = data.rfind(b"\n\n") + 2
        if end < 2 or data.find(b"\r", end) >= 0:
            end = _last_event_end(data)
        if end != len(data):
            self._pending = data[end:]
            if len(self._pending) > EVENT_BYTES_MAX:
                raise StreamBroken(f"an event exceeds {EVENT_BYTES_MAX} bytes")
            data = data[:end]
        elif self._pending:
            self._pending = b""
        if not data:
            return b""
        self.events += data.count(b"\ndata:") + data.startswith(b"data:")
        if self.content_seen and not self.done:
            plain_to = self._plain_to(data)
            if plain_to == len(data):
                return self._plain(data)
            if plain_to:
                return self._plain(data[:plain_to]) + self._by_event(data[plain_to:])
        return self._by_event(data)

    def _plain_to(self, data: bytes) -> int:
        """How far whole events hold no word of interest."""
        found = data.find(b"[DONE]")
        first = found if found >= 0 else len(data)
        found = data.find(b'"error"', 0, first)
        first = found if found >= 0 else first
        at = data.find(b'"usage"', 0, first)
        while at >= 0:
            if not data.startswith(b":null", at + 7):
                first = at
                break
            at = data.find(b'"usage"', at + 12, first)
        return len(data) if first == len(data) else data.rfind(b"\n\n", 0, first) + 2 if b"\n\n" in data[:first] else 0

    def _plain(self, data: bytes) -> bytes:
        if self._hide_usage and b'"usage"' in data:
            data = data.replace(b',"usage":null', b"")
            if b'"usage"' in data:  # it stands first in its object, or is spelled with blanks
                return self._by_event(data)
        if not self.finished and _FINISH.search(data):
            self.finished = True
        return data

    def _by_event(self, data: bytes) -> bytes:
        kept: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.done:
            to = data.find(b"\n\n", at) + 2
            if to < 2 or data.find(b"\r", at, to) >= 0:
                match = _EVENT_END.search(data, at)
                to = match.end() if match else end
            seen = self.content_seen
            kept.append(self._event(data[at:to]))
            at = to
            if self.content_seen and not seen and at < end and not self.done:
                # From the first content on, what follows may be plain again.
                plain_to = self._plain_to(data[at:])
                if plain_to:
                    kept.append(self._plain(data[at : at + plain_to]))
                    at += plain_to
        return b"".join(kept)

    def _event(self, event: bytes) -> bytes:
        data = event_data(event)
        if not data:
            return event
        if data == b"[DONE]":
            self.done = True
            return b""
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise StreamBroken("a chunk of the provider's stream is not JSON") from error
        if not isinstance(chunk, dict):
            raise StreamBroken("a chunk of the provider's stream is not an object")
        if chunk.get("error"):
            raise StreamBroken(_error_text(chunk["error"]))
        choices = chunk.get("choices")
        choices = choices if isinstance(choices, list) else []
        self.content_seen = self.content_seen or _has_content(choices)
        finishes = any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)
        self.finished = self.finished or finishes
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            if isinstance(usage.get("prompt_tokens"), int | float):  # one that nobody can read is no bill
                self.usage = usage
            if self._hide_usage and not choices:
                return b""
            if self._annotate is not None and (finishes or not choices):
                brace = event.rindex(b"}")
                return event[:brace] + b',"turnpike":' + self._annotate(usage) + event[brace:]
        elif self._hide_usage and "usage" in chunk:
            return _NULL_USAGE.sub(b"", event, count=1)
        return event


def _chunk_of(events: bytes) -> dict[str, Any]:
    """What a chunk says of its stream, of the last event that says it."""
    for event in reversed(_EVENT_END.split(events)):
        try:
            chunk = orjson.loads(event_data(event + b"\n\n"))
        except orjson.JSONDecodeError:
            continue
        if isinstance(chunk, dict):
            return {name: chunk[name] for name in ("id", "object", "created", "model") if name in chunk}
    return {"object": "chat.completion.chunk"}


def _last_event_end(data: bytes) -> int:
    end = 0
    for match in _EVENT_END.finditer(data):
        end = match.end()
    return end


def _error_text(error: object) -> str:
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return error if isinstance(error, str) else "the provider reported an error in its stream"
