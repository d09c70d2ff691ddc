"""Whatever happened on the road, the usage report's total is the sum of the providers' bills, to the nano-dollar."""

from __future__ import annotations

import csv
import io
import json
import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tests.e2e.fixtures import ONE, TWO, deployment, hosted
from tests.e2e.gateway import Gateway, Key, chat, eventually
from tests.fakes.bill import Tokens, usd_text
from tests.fakes.provider import Provider
from tests.fakes.script import Behaviour, Says, Wire, hang_up, refusal, reply

if TYPE_CHECKING:
    from pathlib import Path

REQUESTS: Final = 160
WIRES: Final = (Wire(), Wire(framing="chunked"), Wire(encoding="gzip"), Wire(framing="close"))


def behaviours(chance: random.Random) -> Behaviour:
    """Answers of every size and shape, and now and then a refusal, which nobody is billed for."""
    if chance.random() < 0.1:
        return chance.choice((refusal(500), refusal(503), refusal(400), refusal(429)))
    whole, out = chance.randrange(1, 100_000), chance.randrange(1, 5_000)
    tokens = Tokens(whole, out, cached=chance.randrange(whole), reasoning=chance.randrange(out))
    return reply(Says(tokens=tokens), chance.choice(WIRES))


def total(rows: list[dict[str, object]], column: str = "cost_usd") -> str:
    return usd_text(int(sum((Decimal(str(row[column])) for row in rows), Decimal()).scaleb(9)))


def test_the_usage_report_equals_the_bills(directory: Path) -> None:
    chance = random.Random(20)
    with Provider("one", ONE) as one, Provider("two", TWO) as two:
        models = {
            "chat": [deployment("one", "big", weight=2), deployment("two", "big")],
            "spare": [deployment("two", "small")],
        }
        config = {"providers": hosted(one, two), "models": models, "routing": {"fallbacks": {"chat": ["spare"]}}}
        for provider in (one, two):
            for model in ("big", "small"):
                provider.queue(model, *(behaviours(chance) for _ in range(REQUESTS)))
        with Gateway(directory, config) as gateway:
            keys = [gateway.create_key(team_id=gateway.create_team(name)) for name in ("red", "blue")]
            served = ask_in_parallel(gateway, keys)
            assert served.count(200) > REQUESTS * 0.8
            bill = usd_text(one.bill_nano_usd() + two.bill_nano_usd())
            eventually(lambda: total(gateway.usage("model")) == bill, f"the report's total is {bill}")
            assert_every_report_says(gateway, bill)
            assert all(row["estimated_usd"] == row["pending_usd"] == "0.000000000" for row in gateway.usage("team"))
            by_provider = {row["provider"]: row["cost_usd"] for row in gateway.usage("provider")}
            assert by_provider["one"] == usd_text(one.bill_nano_usd())
            assert by_provider["two"] == usd_text(two.bill_nano_usd())


def test_what_nobody_can_know_stands_apart(gateway: Gateway, key: Key, one: Provider, pair: str) -> None:
    """A provider that takes a request and hangs up may send a bill: its hold is charged, and counted as estimated."""
    one.always(pair, hang_up())
    answer = gateway.ask(key, chat(pair, max_tokens=100))
    assert answer.status_code == 200
    eventually(lambda: len(gateway.usage_of(key, "provider")) == 2, "both attempts are posted")
    [by_one, by_two] = sorted(gateway.usage_of(key, "provider"), key=lambda row: str(row["provider"]))
    assert one.bill_nano_usd(pair) == 0
    assert by_one["cost_usd"] == by_one["estimated_usd"] != "0.000000000"
    assert by_two["estimated_usd"] == "0.000000000"
    assert answer.headers["x-turnpike-cost-usd"] == total([by_one, by_two])


def ask_in_parallel(gateway: Gateway, keys: list[Key]) -> list[int]:
    def ask(n: int) -> int:
        # Every fourth asks what was asked before, at temperature 0: an answer from the cache costs nothing.
        body = chat("chat", f"question {n}", stream=n % 2 == 0)
        return gateway.ask(
            keys[n % 2],
            {**body, **({"temperature": 0, "messages": chat("x", "again")["messages"]} if n % 4 == 3 else {})},
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, range(REQUESTS)))


def assert_every_report_says(gateway: Gateway, bill: str) -> None:
    """As JSON and as CSV, from the command line and from the admin API, by whatever columns: one total."""
    for by in ("team", "model", "day", "team,model,day", "key", "user", "provider"):
        assert total(gateway.usage(by)) == bill, by
    by = "team,model,day"
    assert total(json_rows(gateway.cli("usage", "--by", by, "--format", "json"))) == bill
    assert total(csv_rows(gateway.cli("usage", "--by", by, "--format", "csv"))) == bill
    answer = gateway.admin("GET", "usage", 200, params={"group_by": by, "format": "csv"})
    assert total(csv_rows(answer.text)) == bill
    table = gateway.cli("usage", "--by", "model", "--format", "table")
    assert all(str(row["cost_usd"]) in table for row in gateway.usage("model"))


def json_rows(text: str) -> list[dict[str, object]]:
    document = json.loads(text)
    rows: list[dict[str, object]] = document["data"] if isinstance(document, dict) else document
    return rows


def csv_rows(text: str) -> list[dict[str, object]]:
    return [dict(row) for row in csv.DictReader(io.StringIO(text))]
