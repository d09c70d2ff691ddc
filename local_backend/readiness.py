"""Asks a replica over HTTP whether it truly answers. A small client of its own, with a bound on time and on size.

vLLM's /health says 200 for a frozen engine and while it shuts down, so only a completed request counts as an answer.
"""

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from local_backend.flags import LocalModel

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
HEADER_LINES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """What /metrics says: requests inside, and a sum that grows whenever the engine does anything."""

    requests: int
    tokens: int


class NoAnswerError(Exception):
    """Cut off, too slow or not HTTP; the text says which."""


class RefusedError(NoAnswerError):
    """Nobody listens there."""


async def ask(address: Address, target: str, body: Mapping[str, object] | None, timeout_s: float) -> Answer:
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(address, target, body)
    except TimeoutError:
        raise NoAnswerError(f"{target} did not answer within {timeout_s:g} s") from None
    except ConnectionRefusedError as error:
        raise RefusedError(f"{target}: connection refused") from error
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise NoAnswerError(f"{target}: {error}") from error


async def _exchange(address: Address, target: str, body: Mapping[str, object] | None) -> Answer:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(_request(address, target, body))
        status = int((await _line(reader)).partition(b" ")[2][:3])
        headers: dict[bytes, bytes] = {}
        while line := await _line(reader):
            if len(headers) >= HEADER_LINES_MAX:
                raise ValueError("more headers than any vLLM sends")
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        return Answer(status, await _body(reader, headers))
    finally:
        writer.close()


def _request(address: Address, target: str, body: Mapping[str, object] | None) -> bytes:
    head = f"Host: {address}\r\nConnection: close\r\n"
    if body is None:
        return f"GET {target} HTTP/1.1\r\n{head}\r\n".encode()
    content = json.dumps(body).encode()
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + content


async def _line(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readuntil(b"\n")).rstrip(b"\r\n")


async def _body(reader: asyncio.StreamReader, headers: Mapping[bytes, bytes]) -> bytes:
    if b"content-length" in headers:
        return await reader.readexactly(_allowed(int(headers[b"content-length"])))
    if headers.get(b"transfer-encoding") != b"chunked":
        raise ValueError("an answer without a length")
    body = b""
    while size := int((await _line(reader)).partition(b";")[0], 16):
        _allowed(len(body) + size)
        body += await reader.readexactly(size)
        await _line(reader)
    return body


def _allowed(size: int) -> int:
    if not 0 <= size <= ANSWER_BYTES_MAX:
        raise ValueError(f"an answer of {size} bytes")
    return size


def first_question(model: LocalModel) -> tuple[str, dict[str, object]]:
    """The smallest request that the engine has to work for. Plain completions: a base model has no chat template."""
    if model.embeds:
        return "/v1/embeddings", {"model": model.name, "input": "Hi"}
    return "/v1/completions", {"model": model.name, "prompt": "Hi", "max_tokens": 1, "temperature": 0}


async def unhealthy(address: Address, timeout_s: float) -> str | None:
    """Why the API server is not up, or None. Raises `NoAnswerError` where it can only be waited for."""
    answer = await ask(address, "/health", None, timeout_s)
    return None if answer.status == 200 else f"/health answered {answer.status}"


async def unanswered(address: Address, model: LocalModel, timeout_s: float) -> str | None:
    """Why a real request was not completed, or None when it was."""
    target, body = first_question(model)
    try:
        answer = await ask(address, target, body, timeout_s)
    except NoAnswerError as error:
        return str(error)
    if answer.status != 200:
        return f"{target} answered {answer.status}: {answer.body[:300].decode(errors='replace')}"
    try:
        found = json.loads(answer.body)
        complete = bool(found["data"] if model.embeds else found["choices"][0]["finish_reason"])
    except (ValueError, KeyError, IndexError, TypeError):
        complete = False
    return None if complete else f"{target} answered 200 without a finished answer"


async def load(address: Address, timeout_s: float) -> Load:
    answer = await ask(address, "/metrics", None, timeout_s)
    return read_load(answer.body.decode(errors="replace"))


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


REQUESTS: Final = ("vllm:num_requests_running", "vllm:num_requests_waiting")
TOKENS: Final = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")


def read_load(metrics: str) -> Load:
    totals: dict[str, float] = {}
    for line in metrics.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in REQUESTS or name in TOKENS:
            totals[name] = totals.get(name, 0.0) + _number(line.rpartition(" ")[2])
    return Load(
        requests=int(sum(totals.get(name, 0.0) for name in REQUESTS)),
        tokens=int(sum(totals.get(name, 0.0) for name in TOKENS)),
    )
