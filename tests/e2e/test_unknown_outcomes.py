"""A gateway killed right after it sent: what the provider may bill has its row, at what was agreed for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from billing.books import EntryKind
from tests.billing.budget_rows import give_budget
from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import Gateway, chat, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.e2e.test_worker_kills import Row, rows
from tests.fakes.bill import usd_text
from tests.fakes.script import hang_up, stall

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.provider import Provider

OUTPUT_TOKENS: Final = 1000
# Nano-dollars for a token at 0.60 and 2.40 dollars per million.
INPUT, OUTPUT = 600, 2400


@pytest.mark.slow
@pytest.mark.parametrize(
    ("billing", "budget"),
    [
        ({"journal_sync": "group"}, False),
        ({"journal_sync": "always"}, False),
        ({"journal_sync": "group", "unknown_outcome": "charge_input"}, False),
        ({"unknown_outcome": "charge_input"}, True),
    ],
)
def test_a_gateway_killed_right_after_its_dispatch_has_a_row_for_it(
    directory: Path, one: Provider, two: Provider, model: str, billing: dict[str, str], budget: bool
) -> None:
    config = {"providers": hosted(one, two), "models": {model: [deployment("one", model)]}, "billing": billing}
    one.always(model, stall())
    body = json.dumps(chat(model, max_tokens=OUTPUT_TOKENS, user="u1")).encode()
    gateway = Gateway(directory, config)
    url = f"sqlite:///{gateway.state}/turnpike.db"
    try:
        gateway.start()
        key = gateway.create_key()
        if budget:
            give_budget(url, scope_type="key", scope_id=key.id)
        with RawClient(gateway.port) as client:
            client.send(request_bytes(body, key.secret))
            eventually(lambda: one.asked(model), "the provider has it")
            gateway.kill()
        gateway.start()
        eventually(lambda: rows(url), "it is recovered")
        charged = len(body) * INPUT + OUTPUT_TOKENS * OUTPUT
        if "unknown_outcome" in billing and not budget:
            charged = -(-len(body) // 2) * INPUT
        assert rows(url) == [Row("u1", EntryKind.UNKNOWN, charged)]
        [usage] = gateway.usage("provider")
        assert usage["cost_usd"] == usage["estimated_usd"] == usd_text(charged)
        assert usage["pending_usd"] == usd_text(0)
    finally:
        gateway.stop()


@pytest.mark.slow
def test_waiting_for_the_disk_keeps_every_promise(directory: Path, one: Provider, two: Provider, model: str) -> None:
    """The whole road with `group`, and an attempt that breaks under `charge_input`: its page and its entry agree."""
    billing = {"journal_sync": "group", "unknown_outcome": "charge_input"}
    config = {"providers": hosted(one, two), "models": {model: [deployment("one", model)]}, "billing": billing}
    with Gateway(directory, config) as gateway:
        assert ": good" in gateway.cli("config", "check")
        key = gateway.create_key()
        for streams in (True, False) * 10:
            assert gateway.ask(key, chat(model, stream=streams)).status_code == 200
        [usage] = gateway.usage_of(key, requests=20)
        assert usage["cost_usd"] == usd_text(one.bill_nano_usd(model))
        one.always(model, hang_up())
        body = json.dumps(chat(model, max_tokens=OUTPUT_TOKENS)).encode()
        answer = gateway.ask(key, body)
        assert answer.status_code == 502
        row = gateway.request_row(answer.headers["x-request-id"])
        assert row["cost_usd"] == usd_text(-(-len(body) // 2) * INPUT)
        assert gateway.client.get("/readyz").status_code == 200
