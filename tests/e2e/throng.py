"""Many clients at once in one thread, each on a connection of its own: what each saw of each request, and when."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from tests.e2e.raw_client import request_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.e2e.gateway import Gateway, Key

ANSWER_S_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One request and its answer. What the gateway did about it, it did between `sent_at_s` and `ended_at_s`."""

    sent_at_s: float
    ended_at_s: float
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of a refusal."""
        return str(json.loads(self.body)["error"]["code"])

    @property
    def message(self) -> str:
        return str(json.loads(self.body)["error"]["message"])

    @property
    def retry_after_s(self) -> float:
        return float(self.headers["retry-after"])


class Client:
    """One connection, kept open from request to request. Use as an asynchronous context manager."""

    def __init__(self, gateway: Gateway, key: Key) -> None:
        self._port, self._secret = gateway.port, key.secret
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, body: Mapping[str, object]) -> Seen:
        """POST /v1/chat/completions, read to its end."""
        data = request_bytes(json.dumps(body).encode(), self._secret)
        sent_at_s = time.monotonic()
        self._writer.write(data)
        async with asyncio.timeout(ANSWER_S_MAX):
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            whole = await self._body(headers)
        return Seen(sent_at_s, time.monotonic(), int(first.split()[1]), headers, whole)

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self._reader.readexactly(int(headers["content-length"]))
        parts = []
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            parts.append((await self._reader.readexactly(size + 2))[:-2])
            if size == 0:
                return b"".join(parts)
