"""A LiteLLM proxy moves into a running gateway: its keys open the door, its budgets go on where they stood."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.e2e.fixtures import ONE, deployment, hosted
from tests.e2e.gateway import Gateway, Key, chat, error_of
from tests.fakes.provider import Provider
from tests.gateway.cli.litellm import proxy_database as theirs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = "moving_in"
CONFIG = """\
model_list:
  - model_name: chat
    litellm_params: {model: hosted_vllm/chat, api_base: 'http://127.0.0.1:9/v1', api_key: os.environ/LAB_KEY}
    model_info: {access_groups: [beta]}
"""


@pytest.fixture
def litellm_url(postgres_url: str) -> Iterator[str]:
    yield theirs.fill(postgres_url, SCHEMA)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


def bearer(secret: str) -> Key:
    return Key(f"key_{theirs.token(secret)[:16]}", secret)


def test_keys_of_a_litellm_proxy_open_the_gateway_as_soon_as_they_are_imported(
    directory: Path, litellm_url: str
) -> None:
    with Provider("one", ONE) as one, Provider("two", ONE) as two:
        config = {"providers": hosted(one, two), "models": {"chat": [deployment("one", "chat")]}}
        with Gateway(directory, config) as gateway:
            (directory / "config.yaml").write_text(CONFIG)
            command = ("import", "litellm", str(directory / "config.yaml"), "--database", litellm_url)
            error_of(gateway.ask(bearer(theirs.PERSONAL), chat("chat")), 401, "invalid_api_key")
            gateway.cli(*command)

            answer = gateway.ask(bearer(theirs.PERSONAL), chat("chat", max_tokens=50))
            assert answer.status_code == 200, answer.text
            # Of the 9.00 of its week 8.25 were spent before: the rest buys no more than so many tokens.
            lowered = gateway.ask(bearer(theirs.PERSONAL), chat("chat", max_tokens=500_000))
            assert lowered.status_code == 200, lowered.text
            assert 0 < int(lowered.headers["x-turnpike-max-tokens"]) <= Decimal("0.75") / Decimal("2.40") * 10**6
            # Its team has spent more than its day's 10.00 already.
            error_of(gateway.ask(bearer(theirs.CI), chat("chat", max_tokens=50)), 429, "insufficient_quota")
            for secret in (theirs.BLOCKED, theirs.EXPIRED, theirs.SESSION):
                error_of(gateway.ask(bearer(secret), chat("chat")), 401, "invalid_api_key")

            gateway.cli(*command)
            rows = {row["key_id"]: row["cost_usd"] for row in gateway.usage("key")}
            assert rows[bearer(theirs.CI).id] == "7.500000000"
        assert gateway.cli("ledger", "verify").endswith("the ledger is whole\n")
