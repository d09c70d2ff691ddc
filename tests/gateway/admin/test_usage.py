"""Usage over HTTP: what was settled a moment ago is in it, and every column of the contract."""

import csv
import io

import pytest

from tests.gateway.admin.house import NOON, House
from tests.gateway.admin.test_sign_in import sign_in
from tests.gateway.admin.traffic import answered, fell_back, hold

DAY_US = 24 * 3600 * 1_000_000


async def teams(house: House) -> None:
    for team_id, name in (("team_a", "Search"), ("team_b", "Support")):
        await house.admin.post("/admin/v1/teams", json={"name": name, "id": team_id})


async def test_what_was_settled_is_there_at_once(house: House) -> None:
    await teams(house)
    answered(house.books, hold("req_1", NOON, team_id="team_a"))
    (row,) = (await house.admin.get("/admin/v1/usage?group_by=team,model")).json()["data"]
    assert row == {
        "team_id": "team_a",
        "team_name": "Search",
        "model": "gpt-5-mini",
        "requests": 1,
        "input_tokens": 100,
        "cached_input_tokens": 40,
        "output_tokens": 50,
        "reasoning_tokens": 10,
        "cost_usd": "0.000116000",
        "estimated_usd": "0.000000000",
        "pending_usd": "0.000000000",
        "saved_usd": "0.000000000",
    }


async def test_without_columns_there_is_one_row_even_of_nothing(house: House) -> None:
    (row,) = (await house.admin.get("/admin/v1/usage")).json()["data"]
    assert row["requests"] == 0
    assert row["cost_usd"] == "0.000000000"


async def test_a_request_of_two_attempts_is_one_request_and_both_costs(house: House) -> None:
    first = hold("req_1", NOON, 1, provider="lab", model="llama-70b")
    fell_back(house.books, first, hold("req_1", NOON, 2))
    (row,) = (await house.admin.get("/admin/v1/usage")).json()["data"]
    assert row["requests"] == 1
    assert row["cost_usd"] == "0.000696000"
    assert row["estimated_usd"] == "0.000580000"


async def test_what_is_in_flight_is_pending(house: House) -> None:
    await teams(house)
    flying = hold("req_1", NOON, team_id="team_b")
    house.books.reserve(flying)
    (row,) = (await house.admin.get("/admin/v1/usage?group_by=team")).json()["data"]
    assert (row["team_name"], row["pending_usd"], row["cost_usd"]) == ("Support", "0.000580000", "0.000000000")
    assert (await house.admin.get("/admin/v1/health")).json()["pending_usd"] == "0.000580000"
    house.books.release(flying)
    assert (await house.admin.get("/admin/v1/usage?group_by=team")).json()["data"] == []


async def test_days_are_those_of_the_time_zone(house: House) -> None:
    answered(house.books, hold("req_1", NOON + DAY_US // 2 - 1_800_000_000))  # 23:30 UTC, past midnight in Berlin
    (utc,) = (await house.admin.get("/admin/v1/usage?group_by=day")).json()["data"]
    (berlin,) = (await house.admin.get("/admin/v1/usage?group_by=day&timezone=Europe/Berlin")).json()["data"]
    assert (utc["day"], berlin["day"]) == ("2025-11-25", "2025-11-26")


async def test_from_is_inclusive_and_to_exclusive(house: House) -> None:
    answered(house.books, hold("req_1", NOON))

    async def requests(query: str) -> int:
        (row,) = (await house.admin.get(f"/admin/v1/usage?{query}")).json()["data"]
        count: int = row["requests"]
        return count

    assert await requests("from=2025-11-25") == 1
    assert await requests("from=2025-11-25T12:00:00Z") == 1
    assert await requests("from=2025-11-25T12:15:00Z") == 0
    assert await requests("to=2025-11-25T12:00:00Z") == 0
    assert await requests("to=2025-11-25T12:15:00Z") == 1
    assert await requests("to=2025-11-25") == 0
    assert await requests("from=2025-11-25&to=2025-11-26") == 1


async def test_one_team_can_be_asked_for(house: House) -> None:
    await teams(house)
    answered(house.books, hold("req_1", NOON, team_id="team_a"))
    answered(house.books, hold("req_2", NOON, team_id="team_b"))
    house.books.reserve(hold("req_3", NOON, team_id="team_b"))
    (row,) = (await house.admin.get("/admin/v1/usage?team=team_a")).json()["data"]
    assert (row["requests"], row["pending_usd"]) == (1, "0.000000000")


async def test_a_tag_is_a_column(house: House) -> None:
    answered(house.books, hold("req_1", NOON, tags=("feature=search",)))
    answered(house.books, hold("req_2", NOON))
    found = (await house.admin.get("/admin/v1/usage?group_by=tag:feature")).json()["data"]
    assert [(row["tag:feature"], row["requests"]) for row in found] == [("search", 1), (None, 1)]


async def test_a_report_is_whole_unless_asked_for_in_pages(house: House) -> None:
    for number in range(5):
        answered(house.books, hold(f"req_{number}", NOON, model=f"model-{number}"))
    whole = (await house.admin.get("/admin/v1/usage?group_by=model")).json()
    assert (len(whole["data"]), whole["has_more"], whole["next"]) == (5, False, None)
    seen: list[str] = []
    after = "0"
    while after is not None:
        page = (await house.admin.get(f"/admin/v1/usage?group_by=model&limit=2&after={after}")).json()
        seen += [row["model"] for row in page["data"]]
        after = page["next"]
    assert seen == [f"model-{number}" for number in range(5)]


async def test_a_csv_has_the_same_columns_and_runs_nothing(house: House) -> None:
    await house.admin.post("/admin/v1/teams", json={"name": "=cmd|' /C calc'!A0", "id": "team_a"})
    answered(house.books, hold("req_1", NOON, team_id="team_a"))
    answer = await house.admin.get("/admin/v1/usage?group_by=team,key,provider,user&format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert row["team_name"] == "'=cmd|' /C calc'!A0"
    assert (row["key_id"], row["provider"], row["user_id"]) == ("key_a", "openai", "")
    assert (row["requests"], row["cost_usd"]) == ("1", "0.000116000")


async def test_the_pages_show_what_teams_and_keys_spent_this_month(house: House) -> None:
    await teams(house)
    await house.admin.post("/admin/v1/keys", json={"name": "ci", "id": "key_a", "team_id": "team_a"})
    answered(house.books, hold("req_0", NOON - DAY_US, team_id="team_a"))
    answered(house.books, hold("req_1", NOON, team_id="team_a"))
    await sign_in(house)
    assert ">$0.0001<" in (await house.browser.get("/admin")).text  # today's
    for path in ("/admin", "/admin/teams", "/admin/keys"):
        assert 'value="0.000232000"' in (await house.browser.get(path)).text


async def test_a_database_that_does_not_answer_is_503_and_worth_asking_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.store.close()
    house.file.write_bytes(b"no database" * 1000)
    answer = await house.admin.get("/admin/v1/usage")
    assert answer.status_code == 503
    assert answer.json()["code"] == "books_unavailable"
    assert answer.headers["retry-after"] == "2"
    assert "the books did not answer" in caplog.text
