"""The small client that asks a replica whether it answers, against servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_backend.flags import LocalModel
from local_backend.readiness import (
    Address,
    Load,
    NoAnswerError,
    RefusedError,
    ask,
    first_question,
    read_load,
    unanswered,
    unhealthy,
)

MODEL = LocalModel("tiny", "m")


@asynccontextmanager
async def saying(answer: bytes | None) -> AsyncIterator[Address]:
    """A server that reads a request and says just this, or nothing at all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])


def reply(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


async def test_a_finished_answer_counts() -> None:
    async with saying(reply(b'{"choices": [{"finish_reason": "length"}]}')) as address:
        assert await unanswered(address, MODEL, 5) is None


async def test_a_chunked_answer_is_read_whole() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked = head + b'6\r\n{"choi\r\n3\r\nces\r\n3;x=y\r\n":1\r\n1\r\n}\r\n0\r\n\r\n'
    async with saying(chunked) as address:
        assert (await ask(address, "/x", None, 5)).body == b'{"choices":1}'


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(b'{"choices": [{"finish_reason": null}]}'), "without a finished answer"),
        (reply(b"not json"), "without a finished answer"),
        (reply(b'{"choices": []}'), "without a finished answer"),
        (reply(b"cannot schedule new futures after shutdown", "500 Oh"), "answered 500: cannot schedule"),
        (b"", "/v1/completions"),
        (b"garbage\r\n\r\n", "/v1/completions"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "without a length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 0 + b"".join(b"h%d: x\r\n" % n for n in range(200)), "headers"),
        (None, "did not answer within 0.2 s"),
    ],
)
async def test_anything_less_than_a_finished_answer_does_not(answer: bytes | None, expected: str) -> None:
    async with saying(answer) as address:
        assert expected in str(await unanswered(address, MODEL, 0.2))


async def test_nobody_listening_is_told_from_nobody_answering() -> None:
    async with saying(None) as address:
        pass
    with pytest.raises(RefusedError):
        await unhealthy(address, 1)
    async with saying(None) as silent:
        with pytest.raises(NoAnswerError) as caught:
            await unhealthy(silent, 0.1)
    assert not isinstance(caught.value, RefusedError)


async def test_a_dead_engine_shows_in_health() -> None:
    async with saying(reply(b"", "503 Dead")) as address:
        assert await unhealthy(address, 5) == "/health answered 503"


def test_an_embedding_model_is_asked_for_an_embedding() -> None:
    assert first_question(LocalModel("m", "m", args={"runner": "pooling"}))[0] == "/v1/embeddings"
    target, body = first_question(MODEL)
    assert (target, body["max_tokens"], body["model"]) == ("/v1/completions", 1, "tiny")


def test_load_is_summed_over_engines_by_vllms_own_names() -> None:
    metrics = """\
# HELP vllm:num_requests_running Number of requests
vllm:num_requests_running{engine="0",model_name="tiny"} 2.0
vllm:num_requests_running{engine="1",model_name="tiny"} 1.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 4.0
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 145.0
vllm:generation_tokens_total{engine="0",model_name="tiny"} 1.81e+02
"""
    assert read_load(metrics) == Load(requests=7, tokens=326)
    assert read_load("") == Load(0, 0)


@given(st.text())
def test_no_text_breaks_the_reading_of_metrics(text: str) -> None:
    load = read_load(text)
    assert load == Load(0, 0) or "vllm:" in text
