"""Who cuts the end off the audit log is found out: a gateway and a command both sign where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.billing.budget_rows import execute
from tests.billing.ledger_rows import query
from tests.e2e.gateway import Gateway, eventually

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("by", ["gateway", "command"])
def test_a_cut_tail_of_the_audit_log_is_found_by_the_ledgers_proof(directory: Path, by: str) -> None:
    gateway = Gateway(directory, {})
    url = f"sqlite:///{gateway.state}/turnpike.db"
    with gateway:
        gateway.create_team("blue")
        gateway.create_team("red")
        head = gateway.state / "ledger" / "audit.json"
        signed = b'"last_id":%d,' % last_row(url)
        eventually(lambda: head.exists() and signed in head.read_bytes(), "what it made is signed")
        assert gateway.admin("GET", "audit/verify", 200).json() == {"ok": True, "row_ids": [], "missing": []}
    if by == "command":
        gateway.cli("teams", "create", "green")
    assert "is whole" in gateway.cli("ledger", "verify")
    last = last_row(url)
    execute(url, "DROP TRIGGER audit_no_delete")
    execute(url, f"DELETE FROM audit WHERE id = {last}")
    told = gateway.cli("ledger", "verify", status=1)
    assert f"the audit log was signed up to row {last} and ends at {last - 1}" in told


def last_row(url: str) -> int:
    [(last,)] = query(url, "SELECT max(id) FROM audit")
    return int(last)
