"""One day in the life of a house, the same on SQLite and on PostgreSQL."""

import pytest

from gateway.admin.desks.all_desks import Desks
from tests.gateway.admin import traffic
from tests.gateway.admin.house import NOON, House

MIDNIGHT_S = NOON // 1_000_000 // 86400 * 86400
REPORTS = {
    "/admin/v1/usage?group_by=organization,team,user,key,end_user,model,provider,day,tag:env": 2,
    "/v1/organization/costs?group_by=project_id,user_id,line_item,api_key_id&start_time=%d": 1,
    "/v1/organization/usage/completions?bucket_width=1h&start_time=%d": 12,
}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def either(request: pytest.FixtureRequest) -> House:
    found: House = request.getfixturevalue("house" if request.param == "sqlite" else "house_on_postgresql")
    return found


async def test_everything_is_made_spent_reported_and_proved(either: House) -> None:
    house = either
    await house.made("organizations", id="org_a", name="Acme")
    await house.made("teams", id="team_a", name="A", organization_id="org_a")
    lead = await house.person("team_admin", organization_id="org_a", teams=("team_a",))
    once = {"idempotency-key": "one"}
    key = {"name": "ci", "id": "key_a", "team_id": "team_a", "tags": {"env": "prod"}}
    made = [(await lead.post("/admin/v1/keys", json=key, headers=once)).json() for _ in range(2)]
    assert made[0] == made[1]
    for budget_id, scope in {
        "of_org": {"type": "organization", "id": "org_a"},
        "of_each_key": {"type": "key", "id": "*"},
        "of_tag": {"type": "tag", "id": "env=*"},
    }.items():
        await house.made("budgets", id=budget_id, scope=scope, limit_usd="1", window="month", timezone="Europe/Berlin")
    house.books.reload()
    for number in range(2):
        hold = traffic.hold(f"req_{number}", NOON - 1 - number, key_id="key_a", team_id="team_a", tags=("env=prod",))
        traffic.answered(house.books, hold._replace(organization_id="org_a"))
    house.books.reserve(traffic.hold("req_3", NOON, key_id="key_a")._replace(organization_id="org_a"))
    for budget in (await house.admin.get("/admin/v1/budgets")).json()["data"]:
        assert budget["spent_usd"] == "0.000232000", budget
        assert budget["pending_usd"] == ("0.000000000" if budget["id"] == "of_tag" else "0.000580000"), budget
    history = (await house.admin.get("/admin/v1/budgets/of_org/history")).json()
    assert history["data"][-1]["spent_usd"] == "0.000232000"
    for path, rows in REPORTS.items():
        answer = await house.admin.get(path % MIDNIGHT_S if "%d" in path else path)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["data"]) == rows, answer.text
    (seen,) = (await lead.get("/admin/v1/usage")).json()["data"]
    assert (seen["requests"], seen["pending_usd"]) == (2, "0.000000000")
    transfer = {"amount_usd": "-0.0001", "kind": "refund", "reason": "credited", "team_id": "team_a", "key_id": "key_a"}
    assert (await house.admin.post("/admin/v1/ledger/transfers", json=transfer)).status_code == 201
    assert (await house.admin.get("/admin/v1/ledger/verify")).json() == {
        "ok": True,
        "batches": 2,
        "entries": 3,
        "problems": [],
    }
    assert (await house.admin.get("/admin/v1/ledger/leases")).status_code == 200
    audit = (await house.admin.get("/admin/v1/audit", params={"limit": 100})).json()["data"]
    assert {row["action"] for row in audit} >= {"organization.create", "member.add", "key.create", "ledger.transfer"}
    assert (await house.admin.get("/admin/v1/audit/verify")).json()["ok"] is True
    logs = (await house.admin.get("/v1/organization/audit_logs")).json()["data"]
    assert logs[0]["type"] == "api_key.created"


async def test_the_desks_need_nothing_of_http(either: House) -> None:
    """The pages come to them too."""
    desks = Desks.over(either.rooms)
    assert desks.audit.verify().ok
    assert desks.ledger.verify().ok
    assert desks.ledger.leases().data == []
