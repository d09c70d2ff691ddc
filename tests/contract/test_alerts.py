"""A budget that is nearly spent is told to a webhook, by one worker for all, whatever was killed in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.billing.budget_rows import give_budget
from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import Gateway, chat, eventually
from tests.gateway.test_alerts import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.provider import Provider

pytestmark = pytest.mark.slow


def test_each_threshold_comes_once_from_two_workers_and_what_was_missed_after_a_kill(
    directory: Path, one: Provider, two: Provider, model: str
) -> None:
    row = {**deployment("one", model), "price": {"input": 0, "output": 0, "request": 0.1}}
    with receiving() as receiver:
        webhook = {"url": receiver.url, "secret": "a-secret-of-sixteen-or-more"}
        config = {
            "providers": hosted(one, two),
            "models": {model: [row]},
            "alerts": {"thresholds": [0.5, 1.0], "webhooks": [webhook]},
        }
        gateway = Gateway(directory, config, workers=2)
        try:
            gateway.start()
            team = gateway.create_team("blue")
            key = gateway.create_key(team_id=team)
            give_budget(f"sqlite:///{gateway.state}/turnpike.db", scope_id=team, soft_limit_nano_usd=200_000_000)
            for _ in range(5):
                assert gateway.ask(key, chat(model)).status_code == 200
            eventually(lambda: receiver.ids() == [None, "0.5"], "the soft limit and half of it were told")
            assert '"event":"budget_threshold"' in gateway.logs()
            receiver.answers = [503] * 1000
            for _ in range(5):
                assert gateway.ask(key, chat(model)).status_code == 200
            eventually(lambda: receiver.ids()[2:3] == ["1"], "the receiver refuses the last")
        finally:
            gateway.kill()
        receiver.answers.clear()
        receiver.got.clear()
        with Gateway(directory, config) as again:
            eventually(lambda: receiver.ids() == ["1"], "and gets it after the restart")
            assert again.alive()
    spent = json.loads(receiver.got[0][1])["data"]
    assert (spent["limit_usd"], spent["spent_usd"]) == ("1.000000000", "1.000000000")


def test_a_limit_lowered_and_a_correction_are_told_also_when_no_gateway_ran(
    directory: Path, one: Provider, two: Provider, model: str
) -> None:
    row = {**deployment("one", model), "price": {"input": 0, "output": 0, "request": 0.1}}
    with receiving() as receiver:
        webhook = {"url": receiver.url, "secret": "a-secret-of-sixteen-or-more"}
        config = {
            "providers": hosted(one, two),
            "models": {model: [row]},
            "alerts": {"thresholds": [0.5, 1.0], "webhooks": [webhook]},
        }
        with Gateway(directory, config) as gateway:
            team = gateway.create_team("blue")
            answer = gateway.ask(gateway.create_key(team_id=team), chat(model))
            gateway.request_row(answer.headers["x-request-id"])
            scope = {"type": "team", "id": team}
            made = gateway.admin("POST", "budgets", 201, json={"id": "b", "scope": scope, "limit_usd": "1.00"})
            changes = {"limit_usd": "1.00", "soft_limit_usd": "0.10"}
            gateway.admin("PATCH", "budgets/b", 200, json=changes, headers={"if-match": made.headers["etag"]})
            eventually(lambda: receiver.ids() == [None], "the soft limit")
            assert '"event":"budget_soft_limit"' in gateway.logs()
            transfer = {"kind": "adjustment", "amount_usd": "0.45", "reason": "their bill", "team_id": team}
            gateway.admin("POST", "ledger/transfers", 201, json=transfer)
            eventually(lambda: receiver.ids() == [None, "0.5"], "half of it, by a correction")
        # By a command, while no gateway runs.
        gateway.cli("budgets", "update", "b", "--limit", "0.55")
        with gateway:
            eventually(lambda: receiver.ids() == [None, "0.5", "1"], "what a command crossed is told by the next start")
