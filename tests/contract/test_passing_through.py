"""What is not known is not touched: bytes arrive and come back as they are, but for the few fields that are ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.e2e.gateway import Gateway, Key, chat, sse_data
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.bill import Tokens, cost_nano_usd, usd_text
from tests.fakes.script import DONE, Says, Wire, completion, document, events, reply

if TYPE_CHECKING:
    from tests.fakes.provider import Provider

RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])

ODD = (
    b'{"messages" :[ {"role":"user","content":"caf\xc3\xa9 \\u00e9 \\ud83d\\ude80 \xf0\x9f\x9a\x80 \\/ \\n"} ],\n'
    b'  "unknown_number": 1.0e+2 , "big": 123456789012345678901234567890,"tiny":1e-400, "zero": -0.0,'
    b'"twice":{"a":1,"a":2},"nested":{ "x" : [ 1,2 , {"y":null} ] },"\\u006eame":true, "model":"MODEL",'
    b'"seed":7,"logit_bias":{"50256":-100},"metadata":{"k":"v"}, "provider_specific": {"route":"eu"}}'
)
IMAGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"where":"здесь"}'}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}}}
LOGPROBS = {"content": [{"token": "Hé", "logprob": -0.1, "bytes": [72, 195, 169], "top_logprobs": []}], "refusal": None}
EVERYTHING = Says(
    pieces=("grüße ", "🚀🚀 ", "数据 ", 'quote " and \\ and \u2028'),
    tool_calls=(CALL,),
    finish="tool_calls",
    logprobs=LOGPROBS,
    message_extra={"reasoning_content": "思 think", "annotations": [], "refusal": None},
    extra={"service_tier": "default", "x_unknown": {"deep": [1, 2.5, None]}, "citations": ["https://example.org"]},
)
WIRES = {
    "content-length": Wire(),
    "chunked": Wire(framing="chunked"),
    "until close": Wire(framing="close"),
    "chunk extensions": Wire(framing="chunked", chunk_extension=b';name="va;lue"'),
    "segments of 1 byte": Wire(framing="chunked", piece_bytes=1),
    "segments of 7 bytes": Wire(piece_bytes=7),
    "gzip": Wire(encoding="gzip"),
    "gzip, chunked, in pieces": Wire(framing="chunked", encoding="gzip", piece_bytes=5),
    "deflate": Wire(encoding="deflate"),
}


def test_every_value_that_is_not_ours_reaches_the_provider_byte_for_byte(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    assert gateway.ask(key, ODD.replace(b"MODEL", model.encode())).status_code == 200
    [request] = one.asked(model)
    sent, arrived = RAW.decode(ODD), RAW.decode(request.body)
    assert arrived.keys() == sent.keys()
    assert {name: bytes(value) for name, value in arrived.items() if name != "model"} == {
        name: bytes(value) for name, value in sent.items() if name != "model"
    }


def test_the_model_is_the_only_value_rewritten(gateway: Gateway, key: Key, one: Provider) -> None:
    gateway.ask(key, chat("one/pinned-b", temperature=0.3, max_tokens=5))
    assert one.asked("pinned-b")[0].document() == chat("pinned-b", temperature=0.3, max_tokens=5)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
        {"response_format": SCHEMA},
        {"logprobs": True, "top_logprobs": 2},
        {"reasoning_effort": "low", "modalities": ["text"], "prediction": {"type": "content", "content": "x"}},
        {"stop": ["\n", "END"], "frequency_penalty": 0.1, "logit_bias": {"1": 2}},
    ],
    ids=["tools", "structured output", "logprobs", "reasoning", "sampling"],
)
def test_what_the_api_knows_reaches_the_provider(
    gateway: Gateway, key: Key, one: Provider, model: str, more: dict[str, object]
) -> None:
    assert gateway.ask(key, chat(model, **more)).status_code == 200
    assert one.asked(model)[0].document() == chat(model, **more)


def test_images_and_tool_results_reach_the_provider(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a wall"},
    ]
    assert gateway.ask(key, {"model": model, "messages": messages}).status_code == 200
    assert one.asked(model)[0].document()["messages"] == messages


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES.keys())
def test_an_answer_comes_back_byte_for_byte(gateway: Gateway, key: Key, one: Provider, model: str, wire: Wire) -> None:
    one.queue(model, reply(EVERYTHING, wire))
    answer = gateway.ask(key, chat(model))
    assert answer.content == completion(EVERYTHING, model)
    assert answer.headers["x-turnpike-cost-usd"] == usd_text(one.bill_nano_usd(model))


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES.keys())
def test_a_stream_comes_back_byte_for_byte_without_what_only_we_asked_for(
    gateway: Gateway, key: Key, one: Provider, model: str, wire: Wire
) -> None:
    one.queue(model, reply(EVERYTHING, wire))
    answer = gateway.ask(key, chat(model, stream=True))
    assert answer.content == b"".join(events(EVERYTHING, model, include_usage=False))
    assert one.asked(model)[0].wants_usage, "usage must be asked for, else the stream cannot be charged"


def test_a_client_that_asks_for_usage_gets_the_chunk_with_the_exact_cost(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    says = Says(tokens=Tokens(input=1001, output=77, cached=500, reasoning=20))
    one.queue(model, reply(says))
    answer = gateway.ask(key, chat(model, stream=True, stream_options={"include_usage": True}))
    *chunks, usage, done = sse_data(answer.content)
    assert done == b"[DONE]"
    told = events(says, model, include_usage=True)
    assert b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks) == b"".join(told[:-2])
    last = json.loads(usage)
    extra = last.pop("turnpike")
    assert last == json.loads(told[-2].removeprefix(b"data: "))
    assert extra["cost_usd"] == usd_text(cost_nano_usd(says.tokens, one.prices)) == usd_text(one.bill_nano_usd(model))


@pytest.mark.parametrize("options", [{"include_usage": False}, {"include_obfuscation": False}, {}], ids=str)
def test_other_stream_options_are_kept_beside_ours(
    gateway: Gateway, key: Key, one: Provider, model: str, options: dict[str, object]
) -> None:
    answer = gateway.ask(key, chat(model, stream=True, stream_options=options))
    assert b'"usage"' not in answer.content
    assert one.asked(model)[0].document()["stream_options"] == {**options, "include_usage": True}


def test_a_stream_without_usage_is_passed_on_and_estimated(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    told = events(Says(), model, include_usage=False)
    one.queue(model, document(b"".join(told), "text/event-stream", Wire(framing="chunked")))
    answer = gateway.ask(key, chat(model, stream=True))
    assert answer.content == b"".join(told)
    [row] = gateway.usage_of(key)
    assert float(str(row["cost_usd"])) > 0
    assert row["estimated_usd"] == row["cost_usd"]


def test_events_in_other_spellings_are_understood(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    """CRLF line ends, comments, no space after the colon, a usage chunk with a choice in it."""
    frame = b'{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[%s]%s}'
    chunk = frame % (b'{"index":0,"delta":{"content":"hi"}}', b"")
    usage = b',"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}'
    last = frame % (b'{"index":0,"delta":{},"finish_reason":"stop"}', usage)
    body = b": comment\r\n\r\ndata:" + chunk + b"\r\n\r\ndata: " + last + b"\r\n\r\ndata: [DONE]\r\n\r\n"
    one.queue(model, document(body, "text/event-stream; charset=utf-8", Wire(framing="chunked", piece_bytes=3)))
    answer = gateway.ask(key, chat(model, stream=True))
    assert answer.content.count(b"[DONE]") == 1
    assert b"hi" in answer.content
    [row] = gateway.usage_of(key)
    assert (row["input_tokens"], row["output_tokens"]) == (9, 4)
    assert float(str(row["estimated_usd"])) == 0


def test_a_stream_arrives_event_by_event(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    one.queue(model, reply(Says(), gap_s=0.15))
    body = json.dumps(chat(model, stream=True)).encode()
    with RawClient(gateway.port) as client:
        client.send(request_bytes(body, key.secret))
        client.read_until(b"Hello")
        sent = one.bytes_sent
        client.read_until(b"world")
        assert one.bytes_sent > sent, "the first word must come before the last one was written"
        client.read_until(DONE)


def test_a_body_in_chunks_arrives_whole_with_a_length(gateway: Gateway, key: Key, one: Provider, model: str) -> None:
    body = json.dumps(chat(model, "ü" * 5000), ensure_ascii=False).encode()
    chunked = b"".join(
        b"%X\r\n%s\r\n" % (len(part), part) for part in (body[at : at + 999] for at in range(0, len(body), 999))
    )
    head = request_bytes(b"", key.secret).replace(b"content-length: 0", b"transfer-encoding: chunked")
    with RawClient(gateway.port) as client:
        client.send(head + chunked + b"0\r\n\r\n")
        assert client.answer().status == 200
    [request] = one.asked(model)
    assert request.document() == json.loads(body)
    assert "transfer-encoding" not in request.header_names


@pytest.mark.parametrize("size", [200_000, 3_000_000])
def test_large_bodies_pass_both_ways(gateway: Gateway, key: Key, one: Provider, model: str, size: int) -> None:
    says = Says(pieces=("y" * size,))
    one.queue(model, reply(says))
    assert gateway.ask(key, chat(model, "x" * size)).content == completion(says, model)
    assert len(one.asked(model)[0].body) > size
