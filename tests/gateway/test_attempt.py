"""A request's way through the whole gateway, in one process and without sockets, at bad moments of either side."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Final

import pytest

from billing.journal import JournalFull
from tests.billing.budget_rows import give_budget
from tests.billing.makers import hold
from tests.gateway.whole_gateway import ANSWER, BODY, House, opened, turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


@pytest.fixture
def cancelled_stream() -> str:
    return "cancel"


@pytest.fixture
def journal_sync() -> str:
    return "os"


@pytest.fixture
def unknown_outcome() -> str:
    return "charge_hold"


@pytest.fixture
async def house(
    tmp_path: Path, cancelled_stream: str, journal_sync: str, unknown_outcome: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    async with opened(
        tmp_path / "state",
        monkeypatch,
        cancelled_stream=cancelled_stream,
        journal_sync=journal_sync,
        unknown_outcome=unknown_outcome,
    ) as made:
        yield made


async def test_a_connection_is_kept_alive_from_one_request_to_the_next(house: House) -> None:
    await house.warm()
    client = house.asks()
    [far] = house.far.transports
    assert b'"model":"m"' in far.take()
    far.feed(ANSWER)
    answer = client.take()
    assert answer.endswith(BODY)
    assert b"x-turnpike-cost-usd: 0.000025000\r\n" in answer
    house.at_rest()


async def test_a_client_that_leaves_while_a_stale_connection_is_replaced_owes_nothing(house: House) -> None:
    await house.warm()
    client = house.asks()
    house.far.transports[0].hang_up()
    await turn()
    assert len(house.far.opening) == 2, "once more, on a fresh one"
    client.hang_up()
    await turn()
    house.at_rest()
    assert house.outcomes() == {"answered": 1, "cancelled": 1}


@pytest.mark.parametrize("cancelled_stream", ["drain"])
async def test_where_answers_are_drained_there_is_nothing_to_drain_before_one_was_asked_for(house: House) -> None:
    await house.warm()
    client = house.asks()
    house.far.transports[0].hang_up()
    await turn()
    client.hang_up()
    await turn()
    house.at_rest()


async def test_a_connection_that_opens_after_its_client_has_left_serves_the_next(house: House) -> None:
    client = house.asks()
    await turn()
    client.hang_up()
    await house.far.opens()
    house.at_rest()
    house.asks()
    [far] = house.far.transports
    assert far.take().startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert len(house.far.opening) == 1


async def test_a_provider_that_accepts_and_hangs_up_at_once_is_502_and_owed_nothing(house: House) -> None:
    house.far.slams_door = True
    client = house.asks()
    await house.far.opens()
    await house.far.opens()
    assert client.take().startswith(b"HTTP/1.1 502 ")
    house.at_rest()
    row = house.app.services.metrics.render()
    assert b'turnpike_cost_usd_total{model="m",provider="one",team="",status="502",cache="miss"} 0.000000000' in row


async def test_a_journal_that_fills_while_connecting_refuses_and_holds_nothing(house: House) -> None:
    client = house.asks()
    await turn()
    others = []
    with contextlib.suppress(JournalFull):
        for number in range(1, 10_000):
            house.app.services.books.reserve_and_dispatch(hold(number))
            others.append(hold(number))
    assert len(others) < 9_000, "it is full"
    await house.far.opens()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"budget_backend_unavailable" in answer
    for other in others:
        house.app.services.books.release(other)
    house.at_rest()
    [far] = house.far.transports
    assert far.take() == b""
    client.take()
    house.asks()
    assert far.take().startswith(b"POST "), "the connection waits for the next"


async def test_a_client_that_leaves_before_its_answer_pays_its_input_as_an_estimate(house: House) -> None:
    await house.warm()
    client = house.asks()
    client.hang_up()
    await turn()
    assert house.far.transports[0].aborted, "the provider is let go at once"
    house.at_rest()
    assert house.outcomes() == {"answered": 1, "cancelled": 1}


@pytest.mark.parametrize("cancelled_stream", ["drain"])
async def test_where_answers_are_drained_the_bill_is_exact_although_the_client_has_left(house: House) -> None:
    await house.warm()
    client = house.asks()
    client.hang_up()
    await turn()
    [far] = house.far.transports
    assert not far.closing
    far.feed(ANSWER)
    await turn()
    house.at_rest()
    assert house.outcomes() == {"answered": 2}


EVENTS: Final = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7}}\n\ndata: [DONE]\n\n',
)
STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("cancelled_stream", ["drain"])
@pytest.mark.parametrize("whole", [True, False])
async def test_a_drained_stream_ends_in_an_exact_bill_or_an_estimate(house: House, whole: bool) -> None:
    await house.warm()
    client = house.asks(stream=True)
    [far] = house.far.transports
    far.feed(STREAM + framed(EVENTS[0]), framed(EVENTS[1]))
    assert b"hello" in client.take()
    client.hang_up()
    await turn()
    assert not far.closing
    if whole:
        far.feed(framed(EVENTS[2]) + framed(EVENTS[3]) + b"0\r\n\r\n")
    else:
        far.hang_up()
    await turn()
    house.at_rest()
    assert house.outcomes() == {"answered": 1, "cancelled": 1}


async def test_a_slow_clients_pause_reaches_the_provider_and_ends_with_the_stream(house: House) -> None:
    await house.warm()
    client = house.asks(stream=True)
    [far] = house.far.transports
    far.feed(STREAM + framed(EVENTS[0]), framed(EVENTS[1]))
    client.fills()
    assert not far.reading
    client.empties()
    assert far.reading
    client.fills()
    far.feed(framed(EVENTS[2]) + framed(EVENTS[3]) + b"0\r\n\r\n")
    await turn()
    assert far.reading, "the connection is the pool's again, and must be read"
    assert client.take().endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    house.at_rest()


async def test_a_request_whose_time_is_over_while_connecting_is_504_and_holds_nothing(house: House) -> None:
    house.app.services.sweep.start()
    client = house.asks("x-turnpike-timeout: 0.05")
    async with asyncio.timeout(10):
        while not client.written:  # noqa: ASYNC110  # what is written has no event of its own
            await asyncio.sleep(0.01)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"provider_timeout" in answer
    house.at_rest()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "bad_answer"),
        (b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}", "bad_answer"),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "server_error"),
        (b"SSH-2.0\r\n\r\n", "bad_answer"),
    ],
)
async def test_what_is_no_answer_is_502_and_closes_the_books(house: House, answer: bytes, outcome: str) -> None:
    await house.warm()
    client = house.asks()
    house.far.transports[-1].feed(answer)
    await turn()
    assert client.take().startswith(b"HTTP/1.1 502 ")
    house.at_rest()
    assert house.outcomes() == {"answered": 1, outcome: 1}


async def test_a_stream_that_breaks_after_its_first_word_ends_in_an_error_event(house: House) -> None:
    await house.warm()
    client = house.asks(stream=True)
    [far] = house.far.transports
    far.feed(STREAM + framed(EVENTS[0]), framed(EVENTS[1]))
    far.hang_up(ConnectionResetError())
    await turn()
    said = client.take()
    assert b"event: error\ndata: " in said
    assert b"[DONE]" not in said
    assert said.endswith(b"\r\n0\r\n\r\n")
    house.at_rest()


@pytest.mark.parametrize("cancelled_stream", ["drain"])
async def test_where_an_answer_to_be_drained_never_comes_the_hold_is_charged_as_an_estimate(house: House) -> None:
    await house.warm()
    client = house.asks()
    client.hang_up()
    house.far.transports[0].feed(b"HTTP/1.1 200 OK\r\n")
    house.far.transports[0].hang_up()
    await turn()
    house.at_rest()
    assert house.outcomes() == {"answered": 1, "cancelled": 1}


class Disk:
    """It waits for `goes_on`, then takes what it is given, or nothing while it is `broken`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.broken = False
        self.waits = 0
        real = os.fdatasync

        def fdatasync(fd: int) -> None:
            self.waits += 1
            assert self.goes_on.wait(10)
            if self.broken:
                raise OSError(5, "Input/output error")
            real(fd)

        monkeypatch.setattr(os, "fdatasync", fdatasync)

    async def is_asked(self, times: int = 1) -> None:
        await until(lambda: self.waits >= times)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # what a thread or a transport did has no event of its own
            await asyncio.sleep(0.001)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(monkeypatch)
    yield made
    made.goes_on.set()


async def warm(house: House) -> None:
    """One request and its answer, over a connection that is kept alive, where the journal is waited for."""
    client = house.asks()
    await house.far.opens()
    [far] = house.far.transports
    await until(lambda: far.written)
    far.take()
    far.feed(ANSWER)
    await turn()
    assert client.take().startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("journal_sync", ["group"])
async def test_no_byte_goes_upstream_before_its_intent_is_on_the_disk(house: House, disk: Disk) -> None:
    await warm(house)
    [far] = house.far.transports
    disk.goes_on.clear()
    waited = disk.waits
    clients = [house.asks(), house.asks()]
    await disk.is_asked(waited + 1)
    await turn()
    assert far.take() == b""
    assert len(house.app.services.books.pending()) == 2
    disk.goes_on.set()
    await until(lambda: far.written)
    assert far.take().startswith(b"POST ")
    far.feed(ANSWER)
    await until(lambda: clients[0].written)
    assert clients[0].take().startswith(b"HTTP/1.1 200 OK")
    await house.far.opens()
    await until(lambda: house.far.transports[-1].written)
    house.far.transports[-1].feed(ANSWER)
    await until(lambda: clients[1].written)
    house.at_rest()


@pytest.mark.parametrize("journal_sync", ["group", "always"])
async def test_an_intent_that_the_disk_does_not_take_refuses_and_holds_nothing(
    house: House, disk: Disk, journal_sync: str
) -> None:
    await warm(house)
    [far] = house.far.transports
    disk.broken = True
    client = house.asks()
    await until(lambda: client.written)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"budget_backend_unavailable" in answer
    assert b"Input/output error" in answer
    assert b"retry-after: 5" in answer
    house.at_rest()
    assert far.take() == b""
    assert any("Input/output" in trouble for trouble in house.app.services.books.troubles())
    disk.broken = False
    client = house.asks()
    await until(lambda: far.written)
    assert far.take().startswith(b"POST "), "the connection waits for the next"
    far.feed(ANSWER)
    await turn()
    assert client.take().startswith(b"HTTP/1.1 200 OK")
    assert house.app.services.books.troubles() == (), journal_sync


@pytest.mark.parametrize("journal_sync", ["group"])
async def test_a_client_that_leaves_while_the_disk_is_waited_for_owes_nothing(house: House, disk: Disk) -> None:
    await warm(house)
    [far] = house.far.transports
    disk.goes_on.clear()
    waited = disk.waits
    client = house.asks()
    await disk.is_asked(waited + 1)
    client.hang_up()
    await turn()
    house.at_rest()
    disk.goes_on.set()
    house.asks()
    await until(lambda: far.written)
    assert far.take().count(b"POST ") == 1
    assert house.outcomes() == {"answered": 1, "cancelled": 1}


@pytest.mark.parametrize("journal_sync", ["group"])
async def test_a_connection_that_closes_while_the_disk_is_waited_for_is_replaced(house: House, disk: Disk) -> None:
    await warm(house)
    [far] = house.far.transports
    disk.goes_on.clear()
    waited = disk.waits
    client = house.asks()
    await disk.is_asked(waited + 1)
    far.hang_up()
    disk.goes_on.set()
    await until(lambda: len(house.far.opening) == 2)
    await house.far.opens()
    fresh = house.far.transports[-1]
    await until(lambda: fresh.written)
    fresh.feed(ANSWER)
    await turn()
    assert client.take().startswith(b"HTTP/1.1 200 OK")
    house.at_rest()


@pytest.mark.parametrize(
    ("unknown_outcome", "budget", "charged"),
    [
        ("charge_hold", False, b"0.002083000"),  # 83 bytes, of which none is more than a token, and 1,000 of output
        ("charge_input", False, b"0.000042000"),
        ("charge_input", True, b"0.002083000"),
    ],
)
async def test_an_attempt_of_which_nothing_was_heard_costs_what_was_agreed(
    house: House, tmp_path: Path, budget: bool, charged: bytes
) -> None:
    await house.warm()
    if budget:
        give_budget(f"sqlite:///{tmp_path}/state/turnpike.db", scope_type="key", scope_id="*")
        house.app.services.books.reload()
    client = house.asks(max_tokens=1000)
    far = house.far.transports[-1]
    await until(lambda: far.written)
    far.feed(b"HTTP/1.1 200 OK\r\n")
    far.hang_up()
    await until(lambda: client.written)
    assert client.take().startswith(b"HTTP/1.1 502 ")
    house.at_rest()
    row = house.app.services.metrics.render()
    assert b'turnpike_cost_usd_total{model="m",provider="one",team="",status="502",cache="miss"} %b' % charged in row
