"""OpenAI's organization API, asked by OpenAI's own client, which checks each answer against its published shape."""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.admin.organization import usage_completions_response as completions_response
from openai.types.admin.organization import usage_costs_response as costs_response

from gateway.admin.openai_asked import BUCKETS, COST_BUCKETS
from tests.gateway.admin import traffic
from tests.gateway.admin.house import ADMIN_KEY, BASE, NOON, House

NOON_S = NOON // 1_000_000
DAY_S = 86400
MIDNIGHT_S = NOON_S - NOON_S % DAY_S


@pytest.fixture
async def client(house: House) -> AsyncIterator[AsyncOpenAI]:
    async with sdk(house, ADMIN_KEY) as found:
        yield found


def sdk(house: House, key: str) -> AsyncOpenAI:
    transport = httpx2.ASGITransport(house.app)
    return AsyncOpenAI(
        admin_api_key=key,
        base_url=f"{BASE}/v1",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=transport),
        _strict_response_validation=True,
    )


Bucket = costs_response.Data | completions_response.Data


def costs_in(bucket: Bucket) -> list[costs_response.DataResultOrganizationCostsResult]:
    return [one for one in bucket.results if isinstance(one, costs_response.DataResultOrganizationCostsResult)]


def tokens_in(bucket: Bucket) -> list[completions_response.DataResultOrganizationUsageCompletionsResult]:
    kind = completions_response.DataResultOrganizationUsageCompletionsResult
    return [one for one in bucket.results if isinstance(one, kind)]


def usd_of(result: costs_response.DataResultOrganizationCostsResult) -> float | None:
    assert result.amount is not None
    assert result.amount.currency == "usd"
    return result.amount.value


async def used(house: House) -> None:
    """Two requests today of two teams, one the day before."""
    for letter in "ab":
        await house.made("teams", id=f"team_{letter}", name=letter)
    places = [("team_a", "key_a", 0), ("team_b", "key_b", 3600), ("team_a", "key_a", DAY_S)]
    for number, (team_id, key_id, ago_s) in enumerate(places):
        hold = traffic.hold(f"req_{number}", NOON - ago_s * 1_000_000 - 1, team_id=team_id, key_id=key_id)
        traffic.answered(house.books, hold)


async def test_costs_by_day_and_project(house: House, client: AsyncOpenAI) -> None:
    await used(house)
    page = await client.admin.organization.usage.costs(
        start_time=MIDNIGHT_S - DAY_S, group_by=["project_id", "line_item"], limit=7
    )
    assert (page.has_more, page.next_page) == (False, None)
    assert [(bucket.start_time, bucket.end_time) for bucket in page.data] == [
        (MIDNIGHT_S - DAY_S, MIDNIGHT_S),
        (MIDNIGHT_S, NOON_S),
    ]
    yesterday, today = map(costs_in, page.data)
    assert [(one.project_id, one.line_item) for one in today] == [("team_a", "gpt-5-mini"), ("team_b", "gpt-5-mini")]
    assert [usd_of(one) for one in yesterday] == [0.000116]


async def test_costs_without_groups_are_one_sum_a_day(house: House, client: AsyncOpenAI) -> None:
    await used(house)
    page = await client.admin.organization.usage.costs(start_time=MIDNIGHT_S)
    (result,) = costs_in(page.data[0])
    assert usd_of(result) == 0.000232
    assert (result.project_id, result.line_item, result.api_key_id) == (None, None, None)


async def test_completions_carry_their_tokens(house: House, client: AsyncOpenAI) -> None:
    await used(house)
    page = await client.admin.organization.usage.completions(
        start_time=MIDNIGHT_S, group_by=["model", "api_key_id", "batch"], project_ids=["team_a"]
    )
    (result,) = tokens_in(page.data[0])
    assert (result.input_tokens, result.input_cached_tokens, result.output_tokens) == (100, 40, 50)
    assert (result.num_model_requests, result.model, result.api_key_id, result.batch) == (
        1,
        "gpt-5-mini",
        "key_a",
        False,
    )
    none = await client.admin.organization.usage.completions(start_time=MIDNIGHT_S, batch=True)
    assert [bucket.results for bucket in none.data] == [[]]


@pytest.mark.parametrize(
    ("width", "start_s", "expected"),
    [("1h", NOON_S - 2 * 3600, [1, 1]), ("1m", NOON_S - 120, [0, 1]), ("1h", NOON_S - 3 * 3600, [0, 1, 1])],
)
async def test_buckets_are_as_wide_as_asked(
    house: House, client: AsyncOpenAI, width: Any, start_s: int, expected: list[int]
) -> None:
    await used(house)
    page = await client.admin.organization.usage.completions(start_time=start_s, bucket_width=width)
    counts = [sum(result.num_model_requests for result in tokens_in(bucket)) for bucket in page.data]
    assert counts == expected


async def test_pages_follow_one_another_without_a_gap(house: House, client: AsyncOpenAI) -> None:
    await used(house)
    start_s = MIDNIGHT_S - 9 * DAY_S
    found = await client.admin.organization.usage.costs(start_time=start_s, limit=4)
    seen = found.data
    while found.next_page is not None:
        assert found.has_more
        found = await client.admin.organization.usage.costs(start_time=start_s, limit=4, page=found.next_page)
        seen += found.data
    assert not found.has_more
    assert len(seen) == 10
    assert all(one.end_time == other.start_time for one, other in pairwise(seen))
    assert sum(len(bucket.results) for bucket in seen) == 2


async def test_a_first_bucket_is_cut_where_it_was_asked_to_begin(house: House, client: AsyncOpenAI) -> None:
    await used(house)
    page = await client.admin.organization.usage.costs(start_time=NOON_S - 1800, end_time=NOON_S)
    assert [(bucket.start_time, bucket.end_time) for bucket in page.data] == [(NOON_S - 1800, NOON_S)]
    (result,) = costs_in(page.data[0])
    assert usd_of(result) == 0.000116


async def test_projects_are_teams(house: House, client: AsyncOpenAI) -> None:
    for number in range(3):
        await house.made("teams", id=f"team_{number}", name=f"Team {number}")
    found = [project async for project in await client.admin.organization.projects.list(limit=2)]
    assert [(one.id, one.name, one.status) for one in found] == [
        (f"team_{number}", f"Team {number}", "active") for number in range(3)
    ]
    one = await client.admin.organization.projects.retrieve("team_1")
    assert (one.id, one.created_at) == ("team_1", NOON_S)
    with pytest.raises(openai.NotFoundError):
        await client.admin.organization.projects.retrieve("team_no")


async def test_a_projects_keys_tell_their_owners_and_no_secret(house: House, client: AsyncOpenAI) -> None:
    await house.made("teams", id="team_a", name="A")
    await house.made("users", id="user_a", name="Ada", email="ada@example.org")
    made = await house.made("keys", id="key_a", name="of Ada", team_id="team_a", user_id="user_a")
    await house.made("keys", id="key_b", name="of nobody", team_id="team_a", expires_at="2025-11-25T11:00:00Z")
    await house.made("keys", id="key_c", name="gone", team_id="team_a")
    await house.admin.delete("/admin/v1/keys/key_c")
    keys = [key async for key in await client.admin.organization.projects.api_keys.list("team_a", limit=1)]
    assert [key.id for key in keys] == ["key_a", "key_b"]
    assert keys[0].owner.user is not None
    assert keys[0].owner.user.email == "ada@example.org"
    assert keys[0].redacted_value.startswith(made["prefix"])
    assert made["key"] not in keys[0].to_json()
    assert keys[1].owner.type == "service_account"
    active = await client.admin.organization.projects.api_keys.list("team_a", owner_project_access="active")
    assert [key.id for key in active.data] == ["key_a"]
    one = await client.admin.organization.projects.api_keys.retrieve("key_a", project_id="team_a")
    assert one.name == "of Ada"
    with pytest.raises(openai.NotFoundError):
        await client.admin.organization.projects.api_keys.retrieve("key_c", project_id="team_a")


async def test_admin_keys_are_the_gateways_own_and_those_of_who_leads(house: House, client: AsyncOpenAI) -> None:
    await house.person("admin")
    await house.person("viewer")
    found = [key async for key in await client.admin.organization.admin_api_keys.list(limit=1)]
    assert [(key.id, key.owner.role) for key in found] == [("admin_key", "owner"), ("key_of_user_admin", "admin")]
    newest = await client.admin.organization.admin_api_keys.list(order="desc")
    assert newest.data[0].id == "key_of_user_admin"


async def test_the_audit_log_in_openais_words(house: House, client: AsyncOpenAI) -> None:
    admin = await house.person("admin")
    await admin.post("/admin/v1/teams", json={"name": "A", "id": "team_a"})
    await admin.patch("/admin/v1/teams/team_a", json={"name": "B"})
    await house.made("budgets", scope={"type": "team", "id": "team_a"}, limit_usd="1")
    logs = [log async for log in await client.admin.organization.audit_logs.list(limit=2)]
    assert [log.type for log in logs] == [
        "project.updated",
        "project.created",
        "api_key.created",
        "user.added",
    ]
    assert logs[0].project_updated is not None
    assert logs[0].project_updated.changes_requested is not None
    assert logs[0].project_updated.changes_requested.title == "B"
    assert logs[0].actor is not None
    assert logs[0].actor.api_key is not None
    assert logs[0].actor.api_key.user is not None
    assert logs[0].actor.api_key.user.email == "user_admin@example.org"
    few = await client.admin.organization.audit_logs.list(
        event_types=["project.created", "user.added"],
        actor_ids=["user_admin"],
        effective_at={"gte": NOON_S, "lt": NOON_S + 1},
    )
    assert [log.type for log in few.data] == ["project.created"]
    none = await client.admin.organization.audit_logs.list(effective_at={"gt": NOON_S})
    assert none.data == []


async def test_a_team_admin_is_answered_for_its_teams(house: House) -> None:
    await used(house)
    await house.person("team_admin", teams=("team_a",))
    rotated = (await house.admin.post("/admin/v1/keys/key_of_user_team_admin/rotate")).json()
    async with sdk(house, rotated["key"]) as lead:
        page = await lead.admin.organization.usage.costs(start_time=MIDNIGHT_S, group_by=["project_id"])
        assert [result.project_id for result in costs_in(page.data[0])] == ["team_a"]
        assert [one.id for one in (await lead.admin.organization.projects.list()).data] == ["team_a"]
        with pytest.raises(openai.PermissionDeniedError):
            await lead.admin.organization.audit_logs.list()


@pytest.mark.parametrize("key", ["tp-nobody-knows", "an-admin-key"])
async def test_a_wrong_key_is_told_as_openai_tells_it(house: House, key: str) -> None:
    async with sdk(house, key) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.admin.organization.projects.list()
    assert refused.value.code == "invalid_api_key"
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("costs", "start_time"),
        ("costs?start_time=soon", "start_time"),
        ("costs?start_time=1&bucket_width=1h", "bucket_width"),
        ("costs?start_time=1&group_by=model", "group_by"),
        ("costs?start_time=1&limit=181", "limit"),
        ("costs?start_time=1&page=2", "page"),
        ("costs?start_time=1&colour=red", "colour"),
        ("usage/completions?start_time=1&limit=32", "limit"),
        ("usage/completions?start_time=1&batch=maybe", "batch"),
        ("projects?limit=101", "limit"),
        ("audit_logs?before=5", "before"),
        ("audit_logs?effective_at[gt]=x", "effective_at"),
    ],
)
async def test_what_cannot_be_read_is_400_and_named(house: House, path: str, param: str) -> None:
    answer = await house.admin.get(f"/v1/organization/{path}")
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_lists_are_read_however_a_client_writes_them(house: House) -> None:
    await used(house)
    for query in ("group_by=project_id,api_key_id", "group_by[]=project_id&group_by[]=api_key_id"):
        answer = await house.admin.get(f"/v1/organization/costs?start_time={MIDNIGHT_S}&{query}")
        results = answer.json()["data"][0]["results"]
        assert [(one["project_id"], one["api_key_id"]) for one in results] == [("team_a", "key_a"), ("team_b", "key_b")]


async def test_another_path_is_a_404_in_openais_shape(house: House) -> None:
    answer = await house.admin.get("/v1/organization/spend_limit")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]


def test_pages_are_as_long_as_openais() -> None:
    assert BUCKETS == {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
    assert COST_BUCKETS == {"1d": (7, 180)}
