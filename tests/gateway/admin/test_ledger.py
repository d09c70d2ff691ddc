"""The ledger over HTTP: proved, corrected by new entries, compared with a bill; lost leases closed."""

import json
from typing import Any

import pytest

from tests.gateway.admin import traffic
from tests.gateway.admin.house import NOON, House


async def test_a_whole_ledger_is_proved(house: House) -> None:
    traffic.answered(house.books, traffic.hold("req_1", NOON))
    verdict = (await house.admin.get("/admin/v1/ledger/verify")).json()
    assert verdict == {"ok": True, "batches": 1, "entries": 1, "problems": []}


async def test_a_flipped_amount_is_found_with_its_batch_and_rows(house: House) -> None:
    traffic.answered(house.books, traffic.hold("req_1", NOON))
    house.books.flush()
    with house.store.engine.begin() as tx:
        tx.exec_driver_sql("DROP TRIGGER IF EXISTS entries_are_not_updated")
        for (name,) in tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            tx.exec_driver_sql(f"DROP TRIGGER {name}")
        tx.exec_driver_sql("UPDATE entries SET amount_nano_usd = amount_nano_usd + 1")
    verdict = (await house.admin.get("/admin/v1/ledger/verify")).json()
    assert verdict["ok"] is False
    problem = next(one for one in verdict["problems"] if one["entry_ids"])
    assert problem["batch_id"] == problem["entry_ids"][0]
    assert problem["detail"]


async def test_a_transfer_is_posted_once_and_counts(house: House) -> None:
    await house.made("teams", id="team_a", name="A")
    await house.made("budgets", id="budget_a", scope={"type": "team", "id": "team_a"}, limit_usd="10")
    asked = {
        "amount_usd": "2.50",
        "kind": "opening",
        "reason": "spent before we moved in",
        "team_id": "team_a",
        "tags": {"env": "prod"},
    }
    headers = {"idempotency-key": "once"}
    answers = [await house.admin.post("/admin/v1/ledger/transfers", json=asked, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["id"].startswith("transfer_")
    assert (await house.admin.get("/admin/v1/budgets/budget_a")).json()["spent_usd"] == "2.500000000"
    (row,) = (await house.admin.get("/admin/v1/usage", params={"group_by": "team,tag:env"})).json()["data"]
    assert (row["team_id"], row["tag:env"], row["cost_usd"]) == ("team_a", "prod", "2.500000000")
    (told,) = (await house.admin.get("/admin/v1/ledger/transfers")).json()["data"]
    assert (told["of"], told["reason"]) == (answers[0].json()["id"], "spent before we moved in")
    assert (told["amount_usd"], told["entry_ids"]) == ("2.500000000", [answers[0].json()["entry_id"]])
    assert told["actor"]["type"] == "admin_key"
    assert (await house.admin.get("/admin/v1/ledger/verify")).json()["ok"] is True


async def test_an_attempt_is_corrected_by_another_entry(house: House) -> None:
    traffic.answered(house.books, traffic.hold("req_1", NOON))
    asked = {"request_id": "req_1", "amount_usd": "-0.000016", "kind": "refund", "reason": "credited"}
    answer = await house.admin.post("/admin/v1/ledger/transfers", json=asked)
    assert answer.status_code == 201, answer.text
    (attempt,) = (await house.admin.get("/admin/v1/requests/req_1")).json()["attempts"]
    assert [(one["kind"], one["amount_usd"]) for one in attempt["entries"]] == [
        ("actual", "0.000116000"),
        ("refund", "-0.000016000"),
    ]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"reason": ""}, 422),
        ({"amount_usd": 1.5}, 422),
        ({"kind": "actual"}, 422),
        ({"kind": "refund"}, 422),
        ({"at": "yesterday"}, 422),
        ({"attempt": 1}, 422),
        ({"request_id": "req_1", "team_id": "team_a"}, 422),
        ({"request_id": "req_no"}, 404),
    ],
)
async def test_what_cannot_be_posted_is_refused(house: House, fields: dict[str, Any], status: int) -> None:
    asked = {"amount_usd": "1", "kind": "adjustment", "reason": "because", **fields}
    answer = await house.admin.post("/admin/v1/ledger/transfers", json=asked)
    assert answer.status_code == status, answer.text
    assert (await house.admin.get("/admin/v1/ledger/verify")).json()["entries"] == 0


def export(usd: float) -> bytes:
    day = NOON // 1_000_000 // 86400 * 86400
    result = {
        "object": "organization.costs.result",
        "amount": {"value": usd, "currency": "usd"},
        "line_item": "gpt-5-mini",
    }
    bucket = {"object": "bucket", "start_time": day, "end_time": day + 86400, "results": [result]}
    return json.dumps({"object": "page", "data": [bucket], "has_more": False, "next_page": None}).encode()


async def test_a_bill_that_agrees_leaves_nothing_unexplained(house: House) -> None:
    traffic.answered(house.books, traffic.hold("req_1", NOON))
    answer = await house.admin.post("/admin/v1/ledger/reconcile", content=export(0.000116))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert float(found["unexplained_usd"]) == 0
    assert float(found["ledger_usd"]) == float(found["provider_usd"]) == 0.000116
    assert found["data"][0]["from"] == "2025-11-25T00:00:00.000000Z"


async def test_a_bill_that_differs_is_explained(house: House) -> None:
    traffic.answered(house.books, traffic.hold("req_1", NOON))
    csv = b"date,model,cost_usd\n2025-11-25,gpt-5-mini,0.000116\n2025-11-25,gpt-5,1.00\n"
    found = (await house.admin.post("/admin/v1/ledger/reconcile", content=csv)).json()
    assert "not_in_ledger" in found["by_reason"]
    differing = [row for row in found["data"] if row["parts"]]
    assert [(row["model"], row["parts"][0]["why"]) for row in differing] == [("gpt-5", "not_in_ledger")]


@pytest.mark.parametrize(
    ("content", "query"),
    [(b"", ""), (b"{}}", ""), (b"nothing,here\n", ""), (b"date,cost\n2025-11-25,1\n", "?rates=EUR"), (b"x", "?zone=1")],
)
async def test_an_export_that_nobody_can_read_is_422(house: House, content: bytes, query: str) -> None:
    answer = await house.admin.post(f"/admin/v1/ledger/reconcile{query}", content=content)
    assert answer.status_code == 422, answer.text


async def lease(house: House) -> int:
    await house.made("budgets", id="each", scope={"type": "key", "id": "*"}, limit_usd="1")
    with house.store.engine.begin() as tx:
        tx.exec_driver_sql(
            "INSERT INTO budget_accounts (id, budget_id, subject, window_start_us, limit_nano_usd, posted_nano_usd,"
            " pending_nano_usd, contended_until_us) VALUES (7, 'each', 'key_a', 0, 1000000000, 0, 5000000, 0)"
        )
        tx.exec_driver_sql(
            "INSERT INTO leases (id, account_id, journal, boot_id, amount_nano_usd, open_nano_usd, holds, serial,"
            f" taken_at_us) VALUES (3, 7, 'journal-gone', 'gone', 5000000, 4000000, 2, 1, {NOON})"
        )
    return 3


async def test_a_lost_lease_pends_until_it_is_closed_as_unknown(house: House) -> None:
    lease_id = await lease(house)
    (shown,) = (await house.admin.get("/admin/v1/ledger/leases")).json()["data"]
    assert (shown["id"], shown["budget_id"], shown["amount_usd"]) == ("3", "each", "0.005000000")
    budget = (await house.admin.get("/admin/v1/budgets/each")).json()
    assert budget["pending_usd"] == "0.004000000"
    closed = await house.admin.post(f"/admin/v1/ledger/leases/{lease_id}/close", json={"reason": "the disk died"})
    assert closed.json() == {"id": "3", "amount_usd": "0.005000000", "posted_as": "unknown"}
    assert (await house.admin.get("/admin/v1/ledger/leases")).json()["data"] == []
    assert (await house.admin.get("/admin/v1/budgets/each")).json()["pending_usd"] == "0.000000000"
    again = await house.admin.post(f"/admin/v1/ledger/leases/{lease_id}/close", json={"reason": "again"})
    assert again.status_code == 404


async def test_a_lease_that_somebody_can_still_tell_of_is_not_closed(house: House) -> None:
    await lease(house)
    house.books.reserve(traffic.hold("req_1", NOON))
    name = next((house.file.parent / "journal").glob("**/name")).read_text().strip()
    with house.store.engine.begin() as tx:
        tx.exec_driver_sql(f"UPDATE leases SET journal = '{name}'")
    answer = await house.admin.post("/admin/v1/ledger/leases/3/close", json={"reason": "impatient"})
    assert answer.status_code == 409
    assert "stop the gateway first" in answer.text
