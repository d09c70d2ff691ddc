"""LiteLLM's rows as ours, case by case; a whole database is in test_import.py."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.cli.litellm.brought import Converted, converted
from gateway.cli.litellm.notes import Notes
from gateway.cli.litellm.rows import TABLES

NOW = datetime(2026, 11, 25, tzinfo=UTC)
HASH = "ab" * 32


def brought(groups: dict[str, list[str]] | None = None, **tables: list[dict[str, Any]]) -> tuple[Converted, list[str]]:
    notes = Notes()
    whole = {name: tables.get(name, []) for name in TABLES}
    return converted(whole, groups or {}, "UTC", NOW, notes), notes.lines


def team(team_id: str, *members: tuple[str, str], **more: Any) -> dict[str, Any]:
    roles = [{"user_id": user_id, "role": role} for user_id, role in members]
    return {"team_id": team_id, "members_with_roles": roles, **more}


def user(user_id: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "user_email": f"{user_id}@example.com", **more}


@pytest.mark.parametrize(
    ("role", "teams", "ours"),
    [
        ("proxy_admin", [], "owner"),
        ("proxy_admin_viewer", [], "viewer"),
        ("internal_user", [], "member"),
        (None, [], "member"),
        ("customer", [], "member"),
        ("internal_user", [team("a", ("u", "admin"))], "team_admin"),
        ("internal_user", [team("a", ("u", "admin")), team("b", ("u", "user"))], "member"),
        ("internal_user", [team("a", ("u", "user"), admins=["u"])], "team_admin"),
        ("internal_user", [team("a", members=["u"])], "member"),
    ],
)
def test_a_role_is_never_more_than_litellm_grants(role: str | None, teams: list[dict[str, Any]], ours: str) -> None:
    found, lines = brought(UserTable=[user("u", user_role=role)], TeamTable=teams)
    assert found.tree["users"][0]["role"] == ours
    assert len(lines) == (ours == "member" and (role == "customer" or len(teams) == 2))


@pytest.mark.parametrize(("seats", "role"), [(["o1"], "admin"), (["o1", "o2"], "member")])
def test_an_administrator_of_one_organization_is_that(seats: list[str], role: str) -> None:
    found, lines = brought(
        OrganizationTable=[{"organization_id": one, "organization_alias": one} for one in ("o1", "o2")],
        UserTable=[user("u", user_role="org_admin")],
        OrganizationMembership=[{"user_id": "u", "organization_id": one, "user_role": "org_admin"} for one in seats],
    )
    (made,) = found.tree["users"]
    assert (made["role"], made["organization_id"]) == (role, "o1")
    assert lines == [] if role == "admin" else lines[0].startswith("user u: administrates o1, o2: a user is of one")


def test_two_users_with_one_e_mail_keep_apart() -> None:
    same = {"user_email": "U@example.com", "user_role": "internal_user"}
    found, lines = brought(UserTable=[user("a") | same, user("b") | same])
    assert [one["email"] for one in found.tree["users"]] == ["U@example.com", "b@no-email.invalid"]
    assert lines == [
        (
            "user b: U@example.com is another user's already: b@no-email.invalid stands for it until `turnpike users "
            "update` gives a real one"
        )
    ]


def test_an_id_that_is_an_e_mail_is_one_and_a_member_of_nobody_is_told() -> None:
    found, lines = brought(
        UserTable=[{"user_id": "ada@example.com", "user_role": "internal_user"}],
        TeamTable=[team("t", ("ada@example.com", "user"), ("ghost", "user"))],
        TeamMembership=[{"user_id": "ada@example.com", "team_id": "t"}, {"user_id": "ada@example.com", "team_id": "x"}],
    )
    (ada,) = found.tree["users"]
    assert ada["email"] == "ada@example.com"
    assert found.tree["members"] == [{"team_id": "t", "user_id": ada["id"]}]
    assert lines == ["member ghost of team t: LiteLLM has no such user; the membership is left out"]


@pytest.mark.parametrize(
    ("models", "team_id", "users_models", "ours"),
    [
        ([], None, [], []),
        (["all-proxy-models"], None, [], []),
        (["all-team-models"], "t", [], []),
        (["beta", "openai/*"], None, [], ["m1", "m2", "openai/*"]),
        (["no-default-models"], None, [], ["no-default-models"]),
        ([], None, ["m1"], ["m1"]),
        ([], "t", ["m1"], []),
        (["m1", "m3"], None, ["beta"], ["m1"]),
        (["m3"], None, ["m1"], ["no-default-models"]),
        (["group-id"], None, [], ["g1"]),
    ],
)
def test_models_are_those_that_a_key_could_use_there(
    models: list[str], team_id: str | None, users_models: list[str], ours: list[str]
) -> None:
    found, _ = brought(
        {"beta": ["m1", "m2"]},
        TeamTable=[team("t")],
        UserTable=[user("u", models=users_models)],
        AccessGroupTable=[{"access_group_id": "group-id", "access_group_name": "g", "access_model_names": ["g1"]}],
        VerificationToken=[{"token": HASH, "user_id": "u", "team_id": team_id, "models": models}],
    )
    assert found.tree["keys"][0]["models_allowed"] == ours


def test_a_key_of_a_blocked_team_or_of_nobody_known() -> None:
    found, lines = brought(
        TeamTable=[team("t", blocked=True)],
        VerificationToken=[
            {"token": HASH, "team_id": "t", "key_alias": "k"},
            {"token": "sk-old-one", "team_id": "gone", "user_id": "gone", "key_name": "sk-...one"},
        ],
        DeprecatedVerificationToken=[
            {"token": "cd" * 32, "revoke_at": "2099-01-01T00:00:00"},
            {"token": "ef" * 32, "revoke_at": "2020-01-01T00:00:00"},
        ],
    )
    first, second = found.tree["keys"]
    assert first["expires_at"] == "2000-01-01T00:00:00Z"
    assert not second.keys() & {"team_id", "user_id", "expires_at"}
    assert lines == [
        "key k: its team t is blocked: comes over as expired; another expires_at opens it",
        "key sk-...one: team_id gone: LiteLLM has none such; the key comes over without",
        "key sk-...one: user_id gone: LiteLLM has none such; the key comes over without",
        "key cdcdcdcdcdcdcdcd…: from before a rotation, good there until 2099-01-01T00:00:00.000Z: is refused here",
    ]


def test_limits_and_tags_that_cannot_be_ours_are_told() -> None:
    metadata = {"tags": ["two words", "a=1", "a=2", "plain"], "model_rpm_limit": {"m": 5}, "model_tpm_limit": {"m": -1}}
    found, lines = brought(
        VerificationToken=[
            {"token": HASH, "key_alias": "k", "rpm_limit": 2_000_000_000, "tpd_limit": 7, "metadata": metadata}
        ]
    )
    (key,) = found.tree["keys"]
    assert (key["limits"], key["tags"]) == ({"models": {"m": {"requests_per_minute": 5}}}, {"a": "1", "plain": ""})
    assert lines == [
        "key k: rpm_limit 2000000000: a limit is a whole number up to 1000000000; none is set",
        "key k: model_tpm_limit of m -1: a limit is a whole number up to 1000000000; none is set",
        "key k: tpd_limit 7: there are no tokens a day here; give it a budget by the day",
        "key k: tag 'two words': a tag has neither spaces in its name nor commas; it is left out",
        "key k: tag 'a=2': the name has the value '1' already; it is left out",
    ]


def test_budgets_that_cannot_be_ours_or_are_two_for_one_window() -> None:
    windows = [{"budget_duration": "1d", "max_budget": 3}, {"time_period": "24h", "budget_limit": 2}]
    found, lines = brought(
        TeamTable=[team("t", max_budget=-1, model_max_budget={"m": "x"}, budget_limits=windows)],
        VerificationToken=[{"token": HASH, "key_alias": "k", "spend": -2, "team_id": "t", "user_id": "u"}],
        UserTable=[user("u", max_budget=1)],
        ModelAccessGroupBudgetTable=[{"access_group_name": "g", "budget_id": "b"}],
        BudgetTable=[{"budget_id": "b", "max_budget": 1, "allowed_models": ["m"]}],
        ProjectTable=[{"project_id": "p"}],
        EndUserTable=[{"user_id": "e", "blocked": True}],
        ProxyModelTable=[{"model_id": "1", "model_name": "stored"}],
        TeamMembership=[{"user_id": "u", "team_id": "t", "budget_id": "b"}],
    )
    assert [(one["scope"]["type"], one["window"], one["limit_usd"]) for one in found.tree["budgets"]] == [
        ("team", "day", "2.000000000"),
        ("user", "total", "1.000000000"),
        ("member", "total", "1.000000000"),
    ]
    assert lines == [
        "team t: limit_usd $-1: is no amount that a budget can have; it is left out",
        "team t: two budgets for one day: the lower one comes over",
        "budgets of users: bind their keys in teams here as well; LiteLLM counts these against the team alone",
        "member u of team t: allowed_models: members have no list of models here; give their keys one",
        "end user e: is blocked: end users cannot be here; give it a budget of 0",
        "project p: projects have no counterpart here; its keys are its team's",
        "model group g: its budget: a group of models has none here",
        "key k: spend $-2: cannot be less than nothing; begins at zero",
        "model stored: is kept encrypted in LiteLLM's database; add it to turnpike.yaml",
    ]
