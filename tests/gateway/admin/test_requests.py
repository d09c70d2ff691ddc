"""A request's story as the books tell it: each attempt, why it was made, what it cost, and its entries."""

from tests.gateway.admin.house import NOON, House
from tests.gateway.admin.test_sign_in import sign_in
from tests.gateway.admin.traffic import answered, fell_back, hold


async def test_a_request_tells_its_attempts_reasons_tokens_and_money(house: House) -> None:
    first = hold("req_1", NOON, 1, provider="lab", model="llama-70b")
    fell_back(house.books, first, hold("req_1", NOON, 2))
    answer = await house.admin.get("/admin/v1/requests/req_1")
    assert answer.status_code == 200
    found = answer.json()
    assert found["id"] == "req_1"
    assert found["created_at"] == "2025-11-25T12:00:00.000000Z"
    assert (found["model"], found["provider"], found["route"]) == ("gpt-5-mini", "openai", "fallback")
    assert found["why"] == "fallback: chat[1] timed out"
    assert found["cost_usd"] == "0.000696000"
    lost, good = found["attempts"]
    assert (lost["provider"], lost["status"], lost["outcome"]) == ("lab", None, "timed_out")
    assert lost["error"] == "no byte for 2 s"
    assert lost["duration_ms"] == 2000
    assert [(entry["kind"], entry["amount_usd"]) for entry in lost["entries"]] == [("unknown", "0.000580000")]
    assert (good["provider"], good["status"], good["why"]) == ("openai", 200, "weight 3 of 4")
    assert good["input_tokens"] == 100
    assert good["cached_input_tokens"] == 40
    assert good["cost_usd"] == "0.000116000"
    assert [(entry["kind"], entry["amount_usd"]) for entry in good["entries"]] == [("actual", "0.000116000")]


async def test_an_unknown_request_is_404_and_says_what_an_id_is(house: House) -> None:
    answer = await house.admin.get("/admin/v1/requests/req_no")
    assert answer.status_code == 404
    assert "x-request-id" in answer.json()["detail"]


async def test_the_last_requests_come_newest_first_in_pages(house: House) -> None:
    for number in range(5):
        answered(house.books, hold(f"req_{number}", NOON + number))
    seen: list[str] = []
    after = ""
    while True:
        params = {"limit": "2", "after": after} if after else {"limit": "2"}
        page = (await house.admin.get("/admin/v1/requests", params=params)).json()
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = page["next"]
    assert seen == ["req_4", "req_3", "req_2", "req_1", "req_0"]


async def test_the_page_shows_the_last_requests_and_one_in_full(house: House) -> None:
    first = hold("req_1", NOON, 1, provider="lab", model="llama-70b")
    fell_back(house.books, first, hold("req_1", NOON, 2))
    await sign_in(house)
    text = (await house.browser.get("/admin")).text
    assert ">fallback</span> chat[1] timed out" in text
    assert 'href="/admin/requests/req_1"' in text
    text = (await house.browser.get("/admin/requests/req_1")).text
    assert "no byte for 2 s" in text
    assert "$0.000696000" in text
    assert ">unknown<" in text
