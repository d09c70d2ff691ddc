"""What is older than is kept goes from the request log of a gateway that serves; the ledger and its sums stay."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import Gateway, chat, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.provider import Provider

DAY_US = 86_400_000_000


def test_old_rows_go_from_the_request_log_alone(directory: Path, one: Provider, two: Provider, model: str) -> None:
    config: dict[str, object] = {
        "providers": hosted(one, two),
        "models": {model: [deployment("one", model)]},
        "retention": {"requests_days": 1},
    }
    gateway = Gateway(directory, config)
    with gateway:
        key = gateway.create_key()
        old, young = (gateway.ask(key, chat(model)).headers["x-request-id"] for _ in range(2))
        for request_id in (old, young):
            gateway.request_row(request_id)
        before = gateway.usage_of(key, requests=2)
    with closing(sqlite3.connect(gateway.state / "turnpike.db")) as books, books:
        books.execute("UPDATE requests SET at_us = at_us - ? WHERE request_id = ?", (2 * DAY_US, old))
    with gateway:
        bearer = {"authorization": f"Bearer {gateway.admin_key}"}

        def status(request_id: str) -> int:
            return gateway.client.get(f"/admin/v1/requests/{request_id}", headers=bearer).status_code

        eventually(lambda: status(old) == 404, "the old row is dropped")
        assert status(young) == 200
        assert gateway.usage_of(key, requests=2) == before
        assert gateway.admin("GET", "ledger/verify", 200).json()["ok"] is True
