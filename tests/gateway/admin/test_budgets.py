"""Budgets over HTTP: CONTRACT's shape, what is spent and held of each, and what they have told."""

from typing import Any

import pytest

from billing.alerts import thresholds_of
from billing.budget_events import Alerts
from tests.gateway.admin import traffic
from tests.gateway.admin.house import NOON, House

DAY_US = 24 * 3600 * 1_000_000


async def made(house: House, **fields: Any) -> dict[str, Any]:
    await house.made("teams", id="team_a", name="A")
    return await house.made("budgets", **{"scope": {"type": "team", "id": "team_a"}, "limit_usd": "100.00"} | fields)


async def test_a_budget_is_made_and_read_back_in_full(house: House) -> None:
    budget = await made(
        house,
        id="budget_a",
        window="month",
        timezone="Europe/Berlin",
        soft_limit_usd="80",
        over_budget="downgrade",
    )
    assert budget == {
        "id": "budget_a",
        "scope": {"type": "team", "id": "team_a", "team_id": None},
        "limit_usd": "100.000000000",
        "soft_limit_usd": "80.000000000",
        "window": "month",
        "timezone": "Europe/Berlin",
        "over_budget": "downgrade",
        "spent_usd": "0.000000000",
        "pending_usd": "0.000000000",
        "remaining_usd": "100.000000000",
        "resets_at": "2025-11-30T23:00:00.000000Z",
        "accounts": [],
        "accounts_total": 0,
        "created_at": "2025-11-25T12:00:00.000000Z",
        "version": 1,
    }
    read = await house.admin.get("/admin/v1/budgets/budget_a")
    assert read.json() == budget
    assert read.headers["etag"] == '"v1"'
    assert (await house.admin.get("/admin/v1/budgets")).json()["data"] == [budget]


async def test_what_is_not_said_is_the_usual(house: House) -> None:
    budget = await made(house)
    assert budget["id"].startswith("budget_")
    assert (budget["window"], budget["timezone"], budget["over_budget"], budget["resets_at"]) == (
        "total",
        "UTC",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"limit_usd": None}, "limit_usd"),
        ({"limit_usd": 0.5}, "as text"),
        ({"limit_usd": "-1"}, "zero or more"),
        ({"limit_usd": "1.0000000001"}, "nine decimals"),
        ({"soft_limit_usd": "200"}, "soft limit"),
        ({"window": "year"}, "window"),
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"over_budget": "ignore"}, "over_budget"),
        ({"scope": {"type": "planet", "id": "x"}}, "scope.type"),
        ({"scope": {"type": "tag", "id": "feature"}}, "NAME=VALUE"),
        ({"scope": {"type": "team", "id": "team_a", "team_id": "team_a"}}, "team_id"),
        ({"scope": {"type": "member", "id": "user_a"}}, "member"),
        ({"limits_usd": "1"}, "`limit_usd`"),
    ],
)
async def test_what_cannot_be_is_refused_and_said(house: House, fields: dict[str, Any], named: str) -> None:
    await house.made("teams", id="team_a", name="A")
    asked = {"scope": {"type": "team", "id": "team_a"}, "limit_usd": "100.00", **fields}
    answer = await house.admin.post("/admin/v1/budgets", json=asked)
    assert answer.status_code == 422, answer.text
    assert named in answer.text
    assert (await house.admin.get("/admin/v1/budgets")).json()["data"] == []


@pytest.mark.parametrize("scope", [{"type": "team", "id": "team_no"}, {"type": "key", "id": "key_no"}])
async def test_a_budget_of_what_is_not_there_is_404(house: House, scope: dict[str, str]) -> None:
    answer = await house.admin.post("/admin/v1/budgets", json={"scope": scope, "limit_usd": "1"})
    assert answer.status_code == 404


async def test_a_member_is_a_user_within_a_team_either_way(house: House) -> None:
    await house.made("teams", id="team_a", name="A")
    expected = {"type": "member", "id": "user_1", "team_id": "team_a"}
    for scope in ({"type": "member", "id": "team_a/user_1"}, expected):
        assert (await house.made("budgets", scope=scope, limit_usd="1"))["scope"] == expected


async def test_a_change_is_for_those_who_saw_the_present_state(house: House) -> None:
    budget = await made(house, id="budget_a")
    path, seen = "/admin/v1/budgets/budget_a", {"if-match": f'"v{budget["version"]}"'}
    changed = await house.admin.patch(path, json={"limit_usd": "50"}, headers=seen)
    assert changed.json()["limit_usd"] == "50.000000000"
    assert changed.headers["etag"] == '"v2"'
    assert (await house.admin.patch(path, json={"limit_usd": "60"}, headers=seen)).status_code == 412
    assert (await house.admin.delete(path, headers=seen)).status_code == 412
    assert (await house.admin.patch(path, json={"limit_usd": None})).status_code == 422
    soft = await house.admin.patch(path, json={"limit_usd": None, "soft_limit_usd": "40"})
    assert (soft.json()["limit_usd"], soft.json()["remaining_usd"]) == (None, None)
    assert (await house.admin.delete(path)).status_code == 204
    assert (await house.admin.get(path)).status_code == 404


async def test_a_creation_sent_twice_under_one_key_happens_once(house: House) -> None:
    asked = {"scope": {"type": "model", "id": "m"}, "limit_usd": "1"}
    headers = {"idempotency-key": "once"}
    answers = [(await house.admin.post("/admin/v1/budgets", json=asked, headers=headers)).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert len((await house.admin.get("/admin/v1/budgets")).json()["data"]) == 1


async def test_every_change_tells_the_workers_and_the_audit_log(house: House) -> None:
    await made(house, id="budget_a")
    await house.admin.patch("/admin/v1/budgets/budget_a", json={"limit_usd": "50"})
    await house.admin.delete("/admin/v1/budgets/budget_a")
    assert [rooms for rooms in house.told if rooms == {"budgets"}] == [{"budgets"}] * 3
    rows = (await house.admin.get("/admin/v1/audit", params={"object_id": "budget_a"})).json()["data"]
    assert [row["action"] for row in rows] == ["budget.delete", "budget.update", "budget.create"]
    assert rows[1]["before"]["limit_usd"] == "100.000000000"
    assert rows[1]["after"]["limit_usd"] == "50.000000000"
    assert rows[1]["actor"] == {"type": "admin_key", "id": None}


async def test_budgets_are_listed_by_scope_and_in_pages(house: House) -> None:
    await house.made("teams", id="team_a", name="A")
    for number in range(3):
        await house.made("budgets", id=f"m{number}", scope={"type": "model", "id": f"m{number}"}, limit_usd="1")
    await house.made("budgets", id="t", scope={"type": "team", "id": "team_a"}, limit_usd="1")
    found = (await house.admin.get("/admin/v1/budgets", params={"scope_type": "model", "limit": 2})).json()
    assert ([one["id"] for one in found["data"]], found["has_more"]) == (["m0", "m1"], True)
    rest = (await house.admin.get("/admin/v1/budgets", params={"scope_type": "model", "after": found["next"]})).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (["m2"], False)
    one = (await house.admin.get("/admin/v1/budgets", params={"scope_type": "team", "scope_id": "team_a"})).json()
    assert [budget["id"] for budget in one["data"]] == ["t"]


async def test_what_was_spent_before_the_budget_counts_and_what_flies_pends(house: House) -> None:
    traffic.answered(house.books, traffic.hold("req_1", NOON, team_id="team_a"))
    house.books.flush()
    await made(house, id="budget_a", window="day")
    house.books.reserve(traffic.hold("req_2", NOON, team_id="team_a"))
    house.books.reserve(traffic.hold("req_3", NOON, team_id="team_b"))
    budget = (await house.admin.get("/admin/v1/budgets/budget_a")).json()
    assert budget["spent_usd"] == "0.000116000"
    assert budget["pending_usd"] == "0.000580000"
    assert budget["remaining_usd"] == "99.999304000"
    house.clock.now_at_us += DAY_US
    tomorrow = (await house.admin.get("/admin/v1/budgets/budget_a")).json()
    assert (tomorrow["spent_usd"], tomorrow["pending_usd"]) == ("0.000000000", "0.000000000")


async def test_of_each_separately_the_dearest_come_first(house: House) -> None:
    await house.made("budgets", id="each", scope={"type": "key", "id": "*"}, limit_usd="1", window="day")
    house.books.reload()
    for number, key_id in enumerate(["key_a", "key_b", "key_b"]):
        traffic.answered(house.books, traffic.hold(f"req_{number}", NOON, key_id=key_id))
    house.books.flush()
    budget = (await house.admin.get("/admin/v1/budgets/each")).json()
    assert budget["spent_usd"] == "0.000348000"
    assert budget["remaining_usd"] is None
    assert [(one["subject"], one["spent_usd"]) for one in budget["accounts"]] == [
        ("key_b", "0.000232000"),
        ("key_a", "0.000116000"),
    ]
    assert budget["accounts"][0]["remaining_usd"] == "0.999768000"
    assert budget["accounts"][0]["resets_at"] == "2025-11-26T00:00:00.000000Z"
    few = (await house.admin.get("/admin/v1/budgets/each", params={"accounts": 1})).json()
    assert (len(few["accounts"]), few["accounts_total"]) == (1, 2)


async def test_what_a_budget_has_told_is_listed_newest_first(house: House) -> None:
    await made(house, id="budget_a", limit_usd="0.000348", soft_limit_usd="0.0001", window="day")
    house.books.tell(Alerts(thresholds_of([])), lambda events: None)
    house.books.reload()
    for number in range(3):
        house.clock.now_at_us += 1_000_000
        traffic.answered(house.books, traffic.hold(f"req_{number}", house.clock.now_at_us, team_id="team_a"))
        house.books.flush()
    events = (await house.admin.get("/admin/v1/budgets/budget_a/events")).json()["data"]
    assert [(one["type"], one["threshold"], one["subject"]) for one in events] == [
        ("budget_soft_limit", "soft", "team_a")
    ]
    assert events[0]["document"]["data"]["budget_id"] == "budget_a"
    assert (await house.admin.get("/admin/v1/budgets/events")).json()["data"] == events
    behind = await house.admin.get("/admin/v1/budgets/events", params={"after": events[0]["id"]})
    assert behind.json()["data"] == []


async def test_the_history_grows_to_what_is_spent(house: House) -> None:
    await made(house, id="budget_a", window="day")
    for number in range(2):
        traffic.answered(house.books, traffic.hold(f"req_{number}", NOON - 3600 * 1_000_000 * number, team_id="team_a"))
    history = (await house.admin.get("/admin/v1/budgets/budget_a/history")).json()
    spent = [point["spent_usd"] for point in history["data"]]
    assert spent == sorted(spent)
    assert (spent[0], spent[-1]) == ("0.000000000", "0.000232000")
    assert history["window_starts_at"] == "2025-11-25T00:00:00.000000Z"
    assert history["subject"] == "team_a"


async def test_the_history_of_each_separately_names_a_subject(house: House) -> None:
    await house.made("budgets", id="each", scope={"type": "key", "id": "*"}, limit_usd="1")
    assert (await house.admin.get("/admin/v1/budgets/each/history")).status_code == 422
    asked = {"subject": "key_a", "from": "2025-11-25", "to": "2025-11-26"}
    assert (await house.admin.get("/admin/v1/budgets/each/history", params=asked)).status_code == 200
