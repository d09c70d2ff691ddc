"""`/readyz` names what keeps the books from being kept, and takes it back when it has passed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.e2e.gateway import Gateway, chat, eventually

if TYPE_CHECKING:
    from pathlib import Path


def missing(gateway: Gateway) -> str:
    return gateway.client.get("/readyz").text


def test_a_database_that_takes_no_rows_is_named_and_requests_go_on(directory: Path) -> None:
    with Gateway(directory) as gateway:
        key = gateway.create_key()
        with closing(sqlite3.connect(gateway.state / "turnpike.db", isolation_level=None)) as database:
            database.execute("BEGIN EXCLUSIVE")
            assert gateway.ask(key, chat("demo/echo")).status_code == 200
            eventually(lambda: "the database takes no rows" in missing(gateway), "it is named")
            assert gateway.client.get("/readyz").status_code == 503
            assert gateway.ask(key, chat("demo/echo")).status_code == 200
            database.execute("ROLLBACK")
        eventually(lambda: gateway.client.get("/readyz").status_code == 200, "the database takes rows again")
        [row] = gateway.usage_of(key, requests=2)
        assert row["requests"] == 2
