"""What a request costs in Python alone: both protocol objects of the real gateway, between transports that only count.

.venv/bin/python bench/micro/hot_path.py        # the build that `make setup` made, compiled where that was possible
.venv-dev/bin/python bench/micro/hot_path.py    # the source tree, interpreted
.venv-dev/bin/python bench/micro/hot_path.py --profile

No system call but the journal's page faults is in it: the least of many repeats, microseconds a request.
"""

import argparse
import asyncio
import cProfile
import logging
import pstats
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import uvloop

from billing.audit import Actor
from billing.budgets import Budget
from billing.keys import Key, digest
from billing.migrating import migrate
from billing.store import Store
from gateway import app
from gateway.built import compiled
from gateway.config.load import load
from gateway.wire.server import ServerConnection
from gateway.wire.upstream import UpstreamConnection

SECRET = b"tp-bench"
REQUESTS = 300
CONFIG = """\
server: {{drain_delay_s: 0}}
state: {{directory: {directory}}}
providers:
  mock: {{base_url: "http://127.0.0.1:9/v1", api_key: sk-upstream}}
models:
  chat: [{{provider: mock, model: gpt-4o-mini, price: {{input: 0.15, output: 0.60}}}}]
"""
ASKED = orjson.dumps(
    {"model": "chat", "messages": [{"role": "user", "content": "Where is Paris? " * 60}], "max_tokens": 64}
)
ANSWERED = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "gpt-4o-mini",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "On the Seine."}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 184, "completion_tokens": 24, "total_tokens": 208},
    }
)
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (SECRET, len(ASKED), ASKED)
)
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWERED),
    ANSWERED,
)


class Transport:
    """Counts what is written, and keeps the last."""

    def __init__(self) -> None:
        self.writes = 0
        self.last = b""

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.last = data

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: object = None) -> object:  # noqa: ARG002
        return default

    def close(self) -> None:
        raise SystemExit(f"bench: the gateway closed a connection after {self.last[:600]!r}")

    abort = close


async def measure(directory: Path, rounds: int, *, profile: bool, budget: bool) -> None:
    config = directory / "turnpike.yaml"
    config.write_text(CONFIG.format(directory=directory))
    settings = load(config, {}, {})
    migrate(settings.state.database_url)
    with closing(Store(settings.state.database_url)) as store:
        # In the database: a key that only the ring had would be forgotten when the ring is read anew.
        store.create_key(Key("key_1", "bench", "tp-b", digest(SECRET), None, None, (), 0), Actor("command"), 0)
        if budget:
            store.budgets.create(Budget("each", "key", "*", limit_nano_usd=10**15), Actor("command"), 0)
    gateway = app.build(settings, {}, "admin-key-of-the-benchmark")
    gateway.open()
    loop = asyncio.get_running_loop()
    client, provider = Transport(), Transport()
    server = ServerConnection(gateway.door, gateway.services.sweep, loop)
    server.connection_made(client)  # type: ignore[arg-type]
    pool: Any = gateway.services.roads.providers["mock"].connections
    upstream = UpstreamConnection(pool, loop)
    upstream.connection_made(provider)  # type: ignore[arg-type]
    pool.give_back(upstream)

    def requests(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            server.data_received(REQUEST)
            upstream.data_received(RESPONSE)
        return (time.perf_counter() - began) / count

    server.data_received(REQUEST)
    for _ in range(500):  # the first request under a budget asks the database
        if provider.writes:
            break
        await asyncio.sleep(0.01)
    upstream.data_received(RESPONSE)
    requests(2000)
    least_s = min(requests(REQUESTS) for _ in range(rounds))
    sent = 2001 + rounds * REQUESTS
    if (client.writes, provider.writes) != (sent, sent) or not client.last.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"bench: {sent} requests, {provider.writes} went upstream, last answer {client.last[:200]!r}")
    print(f"{least_s * 1e6:.2f} µs a request, {'compiled' if compiled() else 'interpreted'}")
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(requests, REQUESTS)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
    await gateway.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--budget", action="store_true", help="a budget binds every request")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory(prefix="turnpike-bench-") as directory:
        uvloop.run(measure(Path(directory), options.rounds, profile=options.profile, budget=options.budget))


if __name__ == "__main__":
    main()
