"""Servers on loopback that behave as told, and pools of connections to them; all of it is gone at the end of a test."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from gateway.wire.upstream import Origin, Pool, plain_connect

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from gateway.wire.upstream import Connect

    Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def until(probe: Callable[[], object], within_s: float = 10.0) -> None:
    """Turns the loop until the probe is true."""
    async with asyncio.timeout(within_s):
        while not probe():  # noqa: ASYNC110  # what is looked at has no event of its own
            await asyncio.sleep(0.002)


class Listening:
    """What one test listens with and connects with."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._pools: list[Pool] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def at(self, behave: Behaviour, tls: ssl.SSLContext | None = None) -> int:
        """Listens; the port. A client that leaves ends the behaviour."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await behave(reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def pool(
        self, url: str, connect: Connect | None = None, *, tls: ssl.SSLContext | None = None, connect_s: float = 5
    ) -> Pool:
        loop = asyncio.get_running_loop()
        origin = Origin.of(url)
        made = Pool(origin, connect or plain_connect(origin, loop, tls), loop, connect_s=connect_s)
        self._pools.append(made)
        return made

    def owns(self, writer: asyncio.StreamWriter) -> None:
        """To be closed with the rest."""
        self._writers.append(writer)

    async def close(self) -> None:
        for pool in self._pools:
            pool.close()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):  # how it ended is the test's affair
                await writer.wait_closed()
