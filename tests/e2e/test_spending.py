"""A budget under many clients at once, seen from both sides of the gateway: spent to the last cent and never beyond,
refused only when it must be.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.billing.ledger_rows import query
from tests.e2e.gateway import chat, eventually
from tests.e2e.meter import METERED, NANO, Meter, Named, Taken, of_random_length, served
from tests.e2e.test_workers import database as database  # noqa: PLC0414  # a fixture
from tests.e2e.test_workers import running
from tests.e2e.throng import Client
from tests.fakes.bill import Tokens, tariff, usd_text
from tests.fakes.script import Says, reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.e2e.gateway import Gateway, Key
    from tests.e2e.throng import Seen
    from tests.fixtures.figures import Tell

CENT: Final = NANO // 100
# Ten dollars a million tokens out, in nano-dollars a token; input is free.
OUTPUT: Final = 10_000
# What the least useful hold is made of: a short answer.
LEAST: Final = 256 * OUTPUT
USED_MIN: Final = 0.987


def keyed(gateway: Gateway, limit_nano_usd: int) -> Key:
    """A key of a team that may spend so much."""
    key = gateway.create_key(team_id=gateway.create_team("spenders"))
    limit_to(gateway, key, limit_nano_usd)
    return key


def limit_to(gateway: Gateway, key: Key, limit_nano_usd: int) -> None:
    scope = {"type": "team", "id": key.team_id}
    budget = {"id": "of-all", "scope": scope, "limit_usd": usd_text(limit_nano_usd), "window": "total"}
    gateway.admin("POST", "budgets", 201, json=budget)


async def together(
    gateway: Gateway, key: Key, clients: int, each: Callable[[Client], Awaitable[list[Seen]]]
) -> list[list[Seen]]:
    """All are connected before the first asks."""
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(Client(gateway, key)) for _ in range(clients)]
        return await asyncio.gather(*map(each, crowd))


async def until_final(client: Client, body: Mapping[str, object]) -> list[Seen]:
    """As a client should: what is only busy is asked again when the answer says so."""
    story = [await client.ask(body)]
    while is_busy(story[-1]):
        await asyncio.sleep(story[-1].retry_after_s)
        story.append(await client.ask(body))
    return story


def is_busy(seen: Seen) -> bool:
    return seen.status == 429 and seen.code == "budget_busy"


def is_final(seen: Seen) -> bool:
    return seen.status == 429 and seen.code == "insufficient_quota" and seen.headers["x-should-retry"] == "false"


def account(gateway: Gateway, database: str) -> tuple[int, int]:
    """Posted and pending, as the database has them."""
    url = f"sqlite:///{gateway.state}/turnpike.db" if database == "sqlite" else database
    ((posted, pending),) = query(url, "SELECT posted_nano_usd, pending_nano_usd FROM budget_accounts")
    return posted, pending


def all_settled(gateway: Gateway, database: str) -> int:
    """What is posted in the end; nothing is pending then, neither holds nor slices."""
    eventually(lambda: account(gateway, database)[1] == 0, "nothing is pending, every slice is back")
    return account(gateway, database)[0]


@pytest.mark.parametrize(
    ("workers", "asked"),
    [
        (1, 50),
        (4, 50),
        pytest.param(1, 500, marks=pytest.mark.long),
        pytest.param(4, 500, marks=pytest.mark.long),
    ],
)
def test_a_budget_serves_exactly_the_requests_that_it_is_made_for(
    directory: Path, database: str, workers: int, asked: int, figure: Tell
) -> None:
    """A cent each, five times as many at once as there are cents."""
    limit = asked // 5 * CENT
    with Meter(tariff("0", "100")) as meter, running(directory, meter.configuration(), database, workers) as gateway:
        meter.always(METERED, reply(Says(tokens=Tokens(input=10, output=100)), gap_s=0.05))
        key = keyed(gateway, limit)
        body = chat(METERED, max_tokens=100)
        began = time.monotonic()
        stories = asyncio.run(together(gateway, key, asked, lambda client: until_final(client, body)))
        took_s = time.monotonic() - began
        had = [story[-1] for story in stories if story[-1].status == 200]
        refused = [story[-1] for story in stories if story[-1].status != 200]
        assert len(had) == limit // CENT
        assert all(map(is_final, refused)), {(seen.status, seen.body) for seen in refused if not is_final(seen)}
        for seen in refused:
            assert meter.charged_nano_usd(seen.ended_at_s) > limit - CENT, "refused for good while a cent was left"
        assert meter.bill_nano_usd() == limit
        assert all_settled(gateway, database) == limit
    busy = sum(len(story) - 1 for story in stories)
    overshoot = usd_text(meter.bill_nano_usd() - limit)
    figure(
        "a budget of exact cents, five times as many requests at once",
        f"{asked} requests, {workers} workers, {database.partition(':')[0]}",
        f"served {len(had)}, refused for good {len(refused)}, told to come back {busy} times; overshoot ${overshoot},"
        f" pending $0.000000000; {took_s:.1f} s",
    )


class Watch:
    """Every answer judged by what both sides of the gateway have seen by then."""

    def __init__(self, meter: Meter, limit_nano_usd: int, before_nano_usd: int, seen: list[Seen]) -> None:
        self.all_served = [served(each, OUTPUT) for each in seen if each.status == 200]
        self.busy = [each for each in seen if is_busy(each)]
        self.final = sorted(filter(is_final, seen), key=lambda each: each.ended_at_s)
        strange = [each for each in seen if each.status != 200 and not is_busy(each) and not is_final(each)]
        assert strange == []
        self._meter, self._limit, self._before = meter, limit_nano_usd, before_nano_usd

    def no_hold_was_broken(self) -> None:
        assert [one for one in self.all_served if one.cost_nano_usd > one.hold_nano_usd] == []

    def each_refusal_was_right(self) -> None:
        taken = Taken(self._before, self.all_served)
        for each in (*self.busy, *self.final):
            stood = taken.most_between(each.sent_at_s, each.ended_at_s)
            assert stood + LEAST > self._limit, f"the least fits beside {stood}: {each.message}"
            named = Named.by(each)
            assert (named.limit_nano_usd, named.needs_nano_usd) == (self._limit, LEAST), each.message
            spent = self._limit - named.left_nano_usd
            charged = self._meter.charged_nano_usd(each.ended_at_s)
            assert spent <= charged, f"more is called spent than the provider charged, {charged}: {each.message}"
            assert (named.left_nano_usd < LEAST) == is_final(each), each.message


@pytest.mark.parametrize("lasts_s", [pytest.param(6, marks=pytest.mark.slow), pytest.param(60, marks=pytest.mark.long)])
def test_of_what_is_left_none_is_refused_while_the_least_fits(
    directory: Path, database: str, lasts_s: int, figure: Tell
) -> None:
    """Sixty per cent are used, and then two hundred at once want a hundred thousand tokens each."""
    draw = random.Random(20261125)
    # Enough that it is spent shortly before the time is over, and so that not all have the least at once near the end.
    limit = lasts_s * NANO // 6
    used = limit * 6 // 10
    with Meter(tariff("0", "10")) as meter, running(directory, meter.configuration(), database, 3) as gateway:
        key = keyed(gateway, limit)
        spend_exactly(gateway, meter, key, used)
        meter.always(METERED, of_random_length(draw, 100, stream_s_max=1.8))
        body = chat(METERED, max_tokens=100_000, stream=True, stream_options={"include_usage": True})
        over_at_s = time.monotonic() + lasts_s

        async def until_over(client: Client) -> list[Seen]:
            story: list[Seen] = []
            while time.monotonic() < over_at_s:
                story.append(await client.ask(body))
                if story[-1].status != 200:
                    await asyncio.sleep(story[-1].retry_after_s if is_busy(story[-1]) else 0.2)
            return story

        stories = asyncio.run(together(gateway, key, 200, until_over))
        posted = all_settled(gateway, database)
    watch = Watch(meter, limit, used, [seen for story in stories for seen in story])
    assert len(watch.all_served) > 200
    watch.no_hold_was_broken()
    watch.each_refusal_was_right()
    assert posted == meter.bill_nano_usd() <= limit
    lowered = sum("x-turnpike-max-tokens" in one.seen.headers for one in watch.all_served)
    figure(
        "60 % of a budget used, then 200 at once with max_tokens 100,000",
        f"{lasts_s} s, 3 workers, {database.partition(':')[0]}",
        f"served {len(watch.all_served)} ({lowered} with a lowered limit), budget_busy {len(watch.busy)},"
        f" insufficient_quota {len(watch.final)}, wrongly refused 0; {posted / limit:.2%} used, overshoot $0.000000000",
    )


def spend_exactly(gateway: Gateway, meter: Meter, key: Key, amount_nano_usd: int) -> None:
    """In parts that are small enough to be granted whole."""
    parts = 20
    tokens = amount_nano_usd // OUTPUT // parts
    meter.always(METERED, reply(Says(tokens=Tokens(input=10, output=tokens))))
    for _ in range(parts):
        answer = gateway.ask(key, chat(METERED, max_tokens=tokens))
        assert answer.status_code == 200, answer.text
    assert meter.bill_nano_usd() == amount_nano_usd


@pytest.mark.parametrize(("streams", "limit"), [(13, NANO // 2), pytest.param(128, 5 * NANO, marks=pytest.mark.long)])
def test_nearly_all_of_a_budget_is_used_before_anybody_is_told_that_it_is_spent(
    directory: Path, database: str, streams: int, limit: int, figure: Tell
) -> None:
    draw = random.Random(20261125)
    with Meter(tariff("0", "10")) as meter, running(directory, meter.configuration(), database, 3) as gateway:
        meter.always(METERED, of_random_length(draw, 1000, stream_s_max=0.6))
        key = keyed(gateway, limit)
        body = chat(METERED, max_tokens=1000, stream=True, stream_options={"include_usage": True})

        async def until_spent(client: Client) -> list[Seen]:
            story: list[Seen] = []
            while not story or not is_final(story[-1]):
                story += await until_final(client, body)
            return story

        stories = asyncio.run(together(gateway, key, streams, until_spent))
        posted = all_settled(gateway, database)
    watch = Watch(meter, limit, 0, [seen for story in stories for seen in story])
    watch.no_hold_was_broken()
    watch.each_refusal_was_right()
    assert len(watch.final) == streams
    first = watch.final[0]
    used = (limit - Named.by(first).left_nano_usd) / limit
    assert used >= USED_MIN, first.message
    assert posted == meter.bill_nano_usd() <= limit
    early = [each for each in watch.busy if each.ended_at_s < first.ended_at_s]
    figure(
        "a budget spent by concurrent streams of random lengths",
        f"{streams} streams, ${usd_text(limit)}, 3 workers, {database.partition(':')[0]}",
        f"{used:.3%} used before the first insufficient_quota, {posted / limit:.3%} in the end; {len(watch.all_served)}"
        f" served, {len(early)} budget_busy before the first and {len(watch.busy) - len(early)} after; overshoot"
        " $0.000000000",
    )


def test_slices_that_other_workers_do_not_use_stand_in_nobodys_way(directory: Path, database: str) -> None:
    """Each takes some for itself with its first request; what one needs then, the others give back while it waits."""
    with Meter(tariff("0", "1000")) as meter, running(directory, meter.configuration(), database, 3) as gateway:
        key = keyed(gateway, 320_000_000)

        async def small_ones_then_a_large_one() -> Seen:
            await together(gateway, key, 24, lambda client: until_final(client, chat(METERED, max_tokens=1)))
            async with Client(gateway, key) as client:
                return await client.ask(chat(METERED, max_tokens=256))

        meter.always(METERED, reply(Says(tokens=Tokens(input=10, output=1))))
        answer = asyncio.run(small_ones_then_a_large_one())
        assert answer.status == 200, answer.body
        assert "x-turnpike-max-tokens" not in answer.headers
