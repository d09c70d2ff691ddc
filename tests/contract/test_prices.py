"""A price given while the gateway serves counts from its instant on, in every worker, and is what the ledger has."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import Gateway, Key, chat

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.provider import Provider


def costs(gateway: Gateway, key: Key, model: str, count: int) -> list[Decimal]:
    answers = [gateway.ask(key, chat(model)) for _ in range(count)]
    assert {answer.status_code for answer in answers} == {200}
    return [Decimal(answer.headers["x-turnpike-cost-usd"]) for answer in answers]


def test_a_price_counts_in_every_worker_when_the_call_that_gave_it_answers(
    directory: Path, one: Provider, two: Provider, model: str
) -> None:
    config = {"providers": hosted(one, two), "models": {model: [deployment("one", model)]}}
    with Gateway(directory, config, workers=2) as gateway:
        team = gateway.create_team("blue")
        mine, others = gateway.create_key(team_id=team), gateway.create_key()
        configured = set(costs(gateway, mine, model, 2))
        assert len(configured) == 1
        price = {"provider": "one", "model": model, "input": "0", "output": "0", "request": "0.25"}
        later = gateway.admin("POST", "prices", 201, json={**price, "effective_at": "2199-01-01"}).json()
        assert set(costs(gateway, mine, model, 4)) == configured, "its day has not come"
        gateway.admin("DELETE", f"prices/{later['id']}", 200)
        own = gateway.admin("POST", "prices", 201, json={**price, "team_id": team, "source": "contract 7"}).json()
        assert set(costs(gateway, mine, model, 8)) == {Decimal("0.25")}
        assert set(costs(gateway, others, model, 4)) == configured
        answer = gateway.ask(mine, chat(model))
        assert gateway.usage_of(mine, requests=15)
        told = gateway.request_row(answer.headers["x-request-id"])
        assert told["cost_usd"] == "0.250000000"
        shown = gateway.cli("prices", "show", f"one/{model}", "--team", "blue", "--config", str(gateway.config_file))
        assert own["version"] in shown
        gateway.admin("DELETE", f"prices/{own['id']}", 200)
        assert set(costs(gateway, mine, model, 8)) == configured
