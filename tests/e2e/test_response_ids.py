"""Ids are minted here: a provider that gives all of its answers one id gets a row for each of them all the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from tests.billing.ledger_rows import entries
from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import chat, eventually
from tests.e2e.test_workers import database as database  # noqa: PLC0414  # a fixture
from tests.e2e.test_workers import running
from tests.fakes.bill import usd_text
from tests.fakes.script import Says, reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.gateway import Gateway, Key
    from tests.fakes.provider import Provider
    from tests.fixtures.figures import Tell

THREADS: Final = 8


@pytest.mark.slow
@pytest.mark.parametrize("answers", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_each_of_many_answers_with_one_id_has_a_row(
    directory: Path, one: Provider, two: Provider, model: str, database: str, answers: int, figure: Tell
) -> None:
    one.always(model, reply(Says(id="chatcmpl-the-same")))
    config = {"providers": hosted(one, two), "models": {model: [deployment("one", model)]}}
    with running(directory, config, database, workers=1) as gateway:
        url = f"sqlite:///{gateway.state}/turnpike.db" if database == "sqlite" else database
        key = gateway.create_key()
        with ThreadPoolExecutor(THREADS) as pool:
            ours = set(pool.map(lambda n: _ask(gateway, key, model, n), range(answers)))
        eventually(lambda: len(entries(url)) >= answers, "all are posted")
        [usage] = gateway.usage_of(key, requests=answers)
    found = entries(url)
    assert len(ours) == len(found) == answers
    assert {entry.request_id for entry in found} == ours
    assert usage["requests"] == answers
    assert usage["cost_usd"] == usd_text(one.bill_nano_usd(model))
    kind = "SQLite" if database == "sqlite" else "PostgreSQL"
    figure("answers with one provider response id", f"{answers} on {kind}", f"{len(found)} rows")


def _ask(gateway: Gateway, key: Key, model: str, number: int) -> str:
    """Its request id, once the answer with the provider's own has come."""
    answer = gateway.ask(key, chat(model, stream=number % 2 == 0))
    assert answer.status_code == 200
    assert "chatcmpl-the-same" in answer.text
    return str(answer.headers["x-request-id"])
