"""Workers of one gateway count limits together, and one that is killed leaves nothing under way behind."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import Gateway, chat, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.script import FOREVER_S, Pause, Says, broken_stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.provider import Provider

MODEL: Final = "shared"
WORKERS: Final = 2


@pytest.fixture
def several(one: Provider, two: Provider, directory: Path) -> Iterator[Gateway]:
    config = {"providers": hosted(one, two), "models": {MODEL: [deployment("one", MODEL)]}}
    with Gateway(directory, config, workers=WORKERS) as gateway:
        yield gateway


def test_a_limit_is_that_of_all_workers_together(several: Gateway) -> None:
    key = several.create_key(limits={"requests_per_minute": 30})
    with ThreadPoolExecutor(4) as pool:
        statuses = Counter(pool.map(lambda _: several.ask(key, chat(MODEL)).status_code, range(60)))
    assert set(statuses) == {200, 429}
    # One comes back every two seconds.
    assert 30 <= statuses[200] <= 36


def streams_until_refused(gateway: Gateway, body: bytes, secret: str, stack: ExitStack) -> list[RawClient]:
    """As many stalled streams as there are places."""
    opened: list[RawClient] = []
    while True:
        try:
            client = stack.enter_context(RawClient(gateway.port))
            client.send(request_bytes(body, secret))
            status = client.answer(to_head=True).status
        except (ConnectionError, AssertionError):
            continue  # it had got to the worker that was just killed
        if status == 429:
            return opened
        assert status == 200
        opened.append(client)


def test_a_worker_that_is_killed_frees_its_places_and_no_others(several: Gateway, one: Provider) -> None:
    key = several.create_key(limits={"concurrency_max": 6})
    one.always("stalls", broken_stream(Says(pieces=("Hello",)), Pause(FOREVER_S), after=2))
    body = json.dumps(chat("one/stalls", stream=True)).encode()
    with ExitStack() as stack:
        clients = streams_until_refused(several, body, key.secret, stack)
        assert len(clients) == 6
        for client in clients:
            client.read_until(b"Hello")
            assert client.read_some(), "the rest of the event came with it"
        before = several.worker_pids()
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: several.worker_pids().get(0) not in {None, before[0]}, "another has its place")
        assert several.worker_pids()[1] == before[1]
        lost = sum(client.answered() for client in clients)
        assert len(streams_until_refused(several, body, key.secret, stack)) == lost
