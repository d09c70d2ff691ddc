"""`demo/echo`: what answers when no provider is configured, plainly labelled as simulated, so that a first request
works.
"""

import re
from typing import Any, Final

import orjson

from gateway.answer import Answer
from gateway.chat_request import ChatAsk
from gateway.wire.http1 import ResponseHead

MODEL: Final = "echo"
LABEL: Final = "(simulated by Turnpike: no provider is configured)"
_WORDS: Final = re.compile(r"\s*\S+\s*?")


def last_words(fields: dict[str, Any]) -> str:
    """The text of the last user message."""
    for message in reversed(fields["messages"]):
        content = message.get("content")
        if message.get("role") != "user":
            continue
        if isinstance(content, str):
            return content
        if isinstance(content, list):
            return " ".join(
                part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
    return ""


def answer(ask: ChatAsk, request_id: str, at_us: int, sink: Answer) -> None:
    """Gives the whole answer to the sink at once, as a provider would."""
    text = f"{LABEL} You said: {last_words(ask.fields)}"
    prompt_tokens = sum(len(str(message.get("content") or "").split()) for message in ask.fields["messages"])
    words = _WORDS.findall(text) or [text]
    limit = ask.output_tokens_max
    finish = "stop"
    if limit is not None and limit < len(words):
        words, finish = words[:limit], "length"
    usage = {
        "prompt_tokens": prompt_tokens, "completion_tokens": len(words) * ask.choices,
        "total_tokens": prompt_tokens + len(words) * ask.choices,
    }  # fmt: skip
    base = {"id": f"chatcmpl-{request_id}", "created": at_us // 1_000_000, "model": "demo/echo"}
    if not ask.stream:
        message = {"role": "assistant", "content": "".join(words), "refusal": None}
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
            for index in range(ask.choices)
        ]
        body = orjson.dumps({**base, "object": "chat.completion", "choices": choices, "usage": usage})
        _give(sink, b"application/json", body)
        return
    base["object"] = "chat.completion.chunk"
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words]
    deltas.append(({}, finish))
    chunks: list[dict[str, Any]] = [
        {**base, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
        for index in range(ask.choices)
    ]
    chunks.append({**base, "choices": [], "usage": usage})
    events = b"".join(b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks)
    _give(sink, b"text/event-stream", events + b"data: [DONE]\n\n")


def _give(sink: Answer, content_type: bytes, body: bytes) -> None:
    sink.head_received(ResponseHead(200, {b"content-type": content_type}, None, chunked=False, keep_alive=True))
    sink.body(body)
    sink.end()
