"""What is sent wrong is refused in the sender's own words, with what would be right."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.admin.house import House

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"name": "a", "modles_allowed": []}, "modles_allowed", "did you mean `models_allowed`?"),
        ({"name": "a", "zzz": 1}, "zzz", "known are: "),
        ({}, "name", "`name` is missing"),
        ({"name": 7}, "name", "string"),
        ({"name": ""}, "name", "at least 1 character"),
        ({"name": "a", "models_allowed": "gpt-4o"}, "models_allowed", "tuple"),
        ({"name": "a", "expires_at": "tomorrow"}, "expires_at", "datetime"),
        ({"name": "a", "expires_at": "2026-12-01T00:00:00"}, "expires_at", "timezone"),
        ({"name": "a", "key_sha256": "abc"}, "key_sha256", "pattern"),
        ({"name": "a", "key": "short"}, "key", "at least 128 bits"),
        ({"name": "a", "key": "a" * 64}, "key", "at least 128 bits"),
        ({"name": "a", "key": "x1y2z3" * 6, "key_sha256": "0" * 64}, "key", "not both"),
        ({"name": "a", "id": "no spaces please"}, "id", "pattern"),
        ({"name": "a", "limits": {"requests_per_minute": -1}}, "limits.requests_per_minute", "greater than or equal"),
    ],
)
async def test_a_field_is_named_and_told_what_is_right(
    house: House, body: dict[str, Any], field: str, says: str
) -> None:
    answer = await house.admin.post("/admin/v1/keys", json=body)
    assert answer.status_code == 422
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["field"] == field
    assert says in problem["detail"]
    assert (await house.admin.get("/admin/v1/keys")).json()["data"] == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/admin/v1/usage?groupby=team", "did you mean `group_by`?"),
        ("/admin/v1/usage?group_by=teams", "did you mean `team`?"),
        ("/admin/v1/usage?group_by=tag:", "known"),
        ("/admin/v1/usage?from=yesterday", "2026-11-25"),
        ("/admin/v1/usage?timezone=Mars/Olympus", "IANA"),
        ("/admin/v1/usage?timezone=../../etc/passwd", "IANA"),
        ("/admin/v1/usage?format=xml", "'json' or 'csv'"),
        ("/admin/v1/teams?limit=0", "limit"),
        ("/admin/v1/teams?limit=1001", "limit"),
        ("/admin/v1/teams?offset=3", "known are"),
    ],
)
async def test_a_parameter_is_named_and_told_what_is_right(house: House, path: str, says: str) -> None:
    answer = await house.admin.get(path)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("content", [b"{", b"", b"[]", b'"name"', b"null", b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_object_is_refused(house: House, content: bytes) -> None:
    answer = await house.admin.post("/admin/v1/teams", content=content, headers=JSON)
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


async def test_a_body_without_its_type_is_told_which(house: House) -> None:
    answer = await house.admin.post("/admin/v1/teams", content=b'{"name": "a"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 400
    assert "content-type: application/json" in answer.json()["detail"]


NAMES = st.sampled_from(["name", "id", "key", "key_sha256", "team_id", "models_allowed", "expires_at", "limits", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(NAMES, VALUES, max_size=5))
async def test_whatever_is_sent_is_answered_with_a_key_or_a_refusal(house: House, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode(errors="surrogatepass")
    answer = await house.admin.post("/admin/v1/keys", content=content, headers=JSON)
    assert answer.status_code in {201, 400, 404, 409, 422}
    assert answer.json()["id" if answer.status_code == 201 else "detail"]


async def test_every_problem_has_the_members_of_rfc_9457(house: House) -> None:
    problem = (await house.admin.get("/admin/v1/teams/team_no")).json()
    assert problem["type"] == "urn:turnpike:problem:not_found"
    assert problem["title"] == "Not found"
    assert problem["status"] == 404
    assert problem["detail"]
