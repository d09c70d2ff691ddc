"""Streams that their clients leave: read to the provider's exact bill, or stopped and charged as delivered."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from billing.books import EntryKind
from tests.billing.ledger_rows import chain_is_whole
from tests.e2e.fixtures import KEY_ONE
from tests.e2e.gateway import chat, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.e2e.test_worker_kills import rows
from tests.e2e.test_workers import database as database  # noqa: PLC0414  # a fixture
from tests.e2e.test_workers import running
from tests.fakes.bill import Tokens, cost_nano_usd, tariff, usd_text
from tests.fakes.provider import Provider
from tests.fakes.script import STREAMED, Behaviour, Charged, Pause, Received, Says, Send, Step, events, response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.gateway import Gateway, Key
    from tests.fixtures.figures import Tell

MODEL: Final = "long"
# Sums that end on half a nano-dollar: a bill that is right by luck is not right often.
PRICES: Final = tariff("0.6005", "2.4045", "0.1505", "3.3335")
WORDS: Final = 100
INPUT_TOKENS: Final = 11
LAST_WORD: Final = b'"content":"w%d "' % (WORDS - 1)
PERCENTS: Final = (0, 1, 50, 99)
THREADS: Final = 8
TENTH, WHOLE = 20, 200


@dataclass(frozen=True, slots=True)
class Left:
    """What a client had when it hung up, and the hold that its answer's head told, where it had come by then."""

    user: str
    words: int
    hold_usd: str | None


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider("mine", PRICES) as made:
        yield made


def long_stream(tokens: Tokens) -> Behaviour:
    """A word every few milliseconds, after a while; the bill is written when it begins, as if all of it were made."""
    says = Says(pieces=tuple(f"w{n} " for n in range(WORDS)), tokens=tokens)

    def behaviour(request: Received) -> tuple[Step, ...]:
        body = events(says, request.model, include_usage=request.wants_usage)
        steps = response(body, STREAMED, "text/event-stream", gap_s=0.003)
        last = next(n for n, step in enumerate(steps) if isinstance(step, Send) and LAST_WORD in step.data)
        # Long enough for whoever leaves before the last word to be gone by then.
        return (Charged(tokens), Pause(0.1), *steps[:last], Pause(1), *steps[last:])

    return behaviour


def leave(gateway: Gateway, key: Key, provider: Provider, user: str, percent: int) -> Left:
    """Reads that share of a stream and hangs up; at 0 % as soon as the provider has been asked."""
    body = json.dumps(chat(MODEL, stream=True, max_tokens=5000, user=user)).encode()
    with RawClient(gateway.port) as client:
        client.send(request_bytes(body, key.secret))
        if not percent:
            eventually(lambda: any(user.encode() in one.body for one in list(provider.requests)), "it was asked")
            return Left(user, 0, None)
        said = client.read_until(b'"content":"w%d "' % (WORDS * percent // 100 - 1))
    head, _, stream = said.partition(b"\r\n\r\n")
    [told] = [line for line in head.decode().split("\r\n") if line.startswith("x-turnpike-cost-usd: ")]
    return Left(user, stream.count(b'"content":"w'), told.partition(": ")[2])


def all_leave(gateway: Gateway, provider: Provider, streams: int) -> list[Left]:
    key = gateway.create_key()
    with ThreadPoolExecutor(THREADS) as pool:
        return list(
            pool.map(lambda n: leave(gateway, key, provider, f"u{n:05d}", PERCENTS[n % len(PERCENTS)]), range(streams))
        )


def configured(provider: Provider, cancelled_stream: str) -> dict[str, object]:
    return {
        "providers": {"mine": {"dialect": "openai", "base_url": provider.base_url, "api_key": KEY_ONE}},
        "models": {MODEL: [{"provider": "mine", "model": MODEL, "price": PRICES.as_configured()}]},
        "billing": {"cancelled_stream": cancelled_stream},
    }


def nano(usd: str) -> int:
    return int(usd.replace(".", ""))


@pytest.mark.slow
@pytest.mark.parametrize("streams", [TENTH, pytest.param(WHOLE, marks=pytest.mark.long)])
def test_a_drained_stream_costs_what_its_provider_bills_to_the_nano_dollar(
    directory: Path, provider: Provider, database: str, streams: int, figure: Tell
) -> None:
    chance = random.Random(5)
    for _ in range(streams):
        whole, out = chance.randrange(1, 90_000), chance.randrange(1, 5_000)
        tokens = Tokens(whole, out, cached=chance.randrange(whole), reasoning=chance.randrange(out))
        provider.queue(MODEL, long_stream(tokens))
    with running(directory, configured(provider, "drain"), database, workers=1) as gateway:
        url = f"sqlite:///{gateway.state}/turnpike.db" if database == "sqlite" else database
        left = all_leave(gateway, provider, streams)
        eventually(lambda: len(rows(url)) == streams, "every stream is read to its end and posted", within_s=60)
        [usage] = gateway.usage("provider")
    found = rows(url)
    assert {row.user for row in found} == {one.user for one in left}
    assert {row.kind for row in found} == {EntryKind.ACTUAL}
    assert sorted(row.amount_nano_usd for row in found) == sorted(line.cost_nano_usd for line in provider.bill)
    assert usage["cost_usd"] == usd_text(provider.bill_nano_usd())
    assert usage["estimated_usd"] == usage["pending_usd"] == usd_text(0)
    assert provider.left == [], "the provider saw nobody leave"
    assert chain_is_whole(url)
    off = sum(row.amount_nano_usd for row in found) - provider.bill_nano_usd()
    figure(
        "streams cancelled at 0, 1, 50, 99 %, drained",
        f"{streams} on {_kind(database)}",
        f"{off} nano-USD off the bill",
    )


@pytest.mark.slow
@pytest.mark.parametrize("streams", [TENTH, pytest.param(WHOLE, marks=pytest.mark.long)])
def test_a_stopped_stream_costs_at_least_what_was_delivered_and_at_most_its_hold(
    directory: Path, provider: Provider, database: str, streams: int, figure: Tell
) -> None:
    provider.always(MODEL, long_stream(Tokens(INPUT_TOKENS, WORDS)))
    with running(directory, configured(provider, "cancel"), database, workers=1) as gateway:
        url = f"sqlite:///{gateway.state}/turnpike.db" if database == "sqlite" else database
        left = all_leave(gateway, provider, streams)
        eventually(lambda: len(rows(url)) == streams, "every stream is posted", within_s=60)
        eventually(lambda: len(provider.left) == streams, "the provider saw every one of them end")
        [usage] = gateway.usage("provider")
    charged = {row.user: row for row in rows(url)}
    # All requests are of one length, and so are their holds.
    [hold_usd] = {one.hold_usd for one in left if one.hold_usd is not None}
    for one in left:
        row = charged[one.user]
        delivered = cost_nano_usd(Tokens(INPUT_TOKENS, one.words), PRICES)
        assert row.kind is EntryKind.ESTIMATED
        assert delivered <= row.amount_nano_usd <= nano(hold_usd), one
    total = sum(row.amount_nano_usd for row in charged.values())
    assert usage["cost_usd"] == usage["estimated_usd"] == usd_text(total)
    assert usage["pending_usd"] == usd_text(0)
    least = sum(cost_nano_usd(Tokens(INPUT_TOKENS, one.words), PRICES) for one in left)
    figure(
        "streams cancelled at 0, 1, 50, 99 %, stopped",
        f"{streams} on {_kind(database)}",
        f"charged {usd_text(total)} USD; delivered {usd_text(least)}, held {usd_text(nano(hold_usd) * streams)}",
    )


def _kind(database: str) -> str:
    return "SQLite" if database == "sqlite" else "PostgreSQL"
