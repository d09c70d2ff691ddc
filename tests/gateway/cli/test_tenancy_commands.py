"""Organizations, users, members, budgets and limits as they are typed, over real books; rules of keys and teams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.cli.fake_gateway import words_of

if TYPE_CHECKING:
    from tests.gateway.cli.conftest import Home


def told(home: Home, *words: str) -> dict[str, Any]:
    said = home.run(*words, "--json")
    assert said.status == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


@pytest.fixture
def house(home: Home) -> Home:
    """An organization with a team, a user in it and a key."""
    home.run("organizations", "create", "Acme", "--id", "acme")
    home.run("teams", "create", "blue", "--id", "team_blue", "--organization", "Acme")
    home.run("users", "create", "ada@example.com", "--id", "ada", "--name", "Ada", "--organization", "Acme")
    home.run("keys", "create", "ci", "--id", "key_ci", "--team", "blue")
    return home


def test_an_organization_is_made_shown_changed_and_deleted(home: Home) -> None:
    made = told(home, "organizations", "create", "Acme", "--id", "acme")
    assert (made["id"], made["name"]) == ("acme", "Acme")
    assert ["name", "Acme"] in words_of(home.run("organizations", "show", "Acme").out)
    assert told(home, "organizations", "update", "Acme", "--name", "Acme GmbH")["name"] == "Acme GmbH"
    assert words_of(home.run("organizations", "list").out)[1][:2] == ["acme", "Acme GmbH"]
    assert home.run("organizations", "delete", "acme").out == "deleted acme\n"
    assert told(home, "organizations", "list")["data"] == []


def test_a_user_is_named_by_id_e_mail_or_name(house: Home) -> None:
    assert told(house, "users", "show", "ada@example.com")["role"] == "member"
    assert (
        told(house, "users", "update", "Ada", "--role", "team_admin", "--organization", "none")["role"] == "team_admin"
    )
    shown = told(house, "users", "show", "ada")
    assert (shown["organization_id"], shown["email"]) == (None, "ada@example.com")
    assert told(house, "users", "create", "bob@example.com")["name"] == "bob@example.com"
    assert house.run("users", "delete", "bob@example.com").status == 0
    assert [user["id"] for user in told(house, "users", "list")["data"]] == ["ada"]


def test_members_come_and_go(house: Home) -> None:
    assert told(house, "members", "create", "blue", "ada@example.com")["user_id"] == "ada"
    assert words_of(house.run("members", "list", "--team", "blue").out)[1][:2] == ["team_blue", "ada"]
    assert house.run("members", "delete", "blue", "Ada").out == "deleted ada from team_blue\n"
    assert told(house, "members", "list")["data"] == []


@pytest.mark.parametrize(
    ("words", "scope"),
    [
        (("--team", "blue"), {"type": "team", "id": "team_blue"}),
        (("--team", "*"), {"type": "team", "id": "*"}),
        (("--organization", "Acme"), {"type": "organization", "id": "acme"}),
        (("--user", "ada@example.com"), {"type": "user", "id": "ada"}),
        (("--member", "Ada", "--team", "blue"), {"type": "member", "id": "ada", "team_id": "team_blue"}),
        (("--key", "ci"), {"type": "key", "id": "key_ci"}),
        (("--tag", "env=prod"), {"type": "tag", "id": "env=prod"}),
        (("--model", "gpt-4o", "--team", "blue"), {"type": "model", "id": "gpt-4o", "team_id": "team_blue"}),
        (("--end-user", "customer-1"), {"type": "end_user", "id": "customer-1"}),
        (("--provider", "openai"), {"type": "provider", "id": "openai"}),
    ],
)
def test_a_budget_is_anybodys(house: Home, words: tuple[str, ...], scope: dict[str, str]) -> None:
    made = told(house, "budgets", "create", *words, "--limit", "100", "--window", "month", "--timezone", "Asia/Tokyo")
    assert made["scope"] == {"team_id": None} | scope
    assert (made["limit_usd"], made["window"], made["timezone"]) == ("100.000000000", "month", "Asia/Tokyo")


def test_a_budget_is_shown_with_what_is_left_changed_and_deleted(house: Home) -> None:
    house.run("budgets", "create", "--team", "blue", "--limit", "1.50", "--soft-limit", "1", "--id", "b")
    listed = words_of(house.run("budgets", "list").out)
    assert listed[0][:3] == ["id", "scope", "limit_usd"]
    assert listed[1][:4] == ["b", "team team_blue", "1.500000000", "1.000000000"]
    shown = house.run("budgets", "show", "b").out
    assert ["remaining_usd", "1.500000000"] in words_of(shown)
    assert told(house, "budgets", "update", "b", "--limit", "2", "--soft-limit", "none")["soft_limit_usd"] is None
    changed = told(house, "budgets", "update", "b", "--over-budget", "downgrade")
    assert (changed["limit_usd"], changed["over_budget"]) == ("2.000000000", "downgrade")
    assert told(house, "budgets", "update", "b", "--over-budget", "default")["over_budget"] is None
    assert house.run("budgets", "delete", "b").out == "deleted b\n"
    assert told(house, "budgets", "list")["data"] == []


def test_a_budget_of_each_is_shown_with_each(house: Home) -> None:
    house.run("teams", "create", "red", "--id", "team_red")
    house.run("budgets", "create", "--team", "*", "--limit", "5", "--id", "each")
    shown = house.run("budgets", "show", "each").out
    assert ["scope", "team *"] in words_of(shown)
    assert words_of(shown)[-1][:2] == ["subject", "limit_usd"]
    assert told(house, "budgets", "show", "each")["scope"]["id"] == "*"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("budgets", "create", "--limit", "1"), "whose budget is it? give --team, --organization"),
        (("budgets", "create", "--key", "ci", "--team", "blue", "--limit", "1"), "a budget is for --key or for --team"),
        (("budgets", "create", "--team", "blue"), "send `limit_usd`, `soft_limit_usd` or both"),
        (("budgets", "create", "--team", "blue", "--limit", "1.0000000001"), "is not an amount in USD"),
        (("budgets", "update", "b"), "nothing to change: give --limit"),
        (("users", "update", "ada"), "nothing to change: give --name, --email, --role or --organization"),
        (("organizations", "update", "acme"), "nothing to change: give --name"),
        (("users", "create", "no-address"), "email"),
        (("limits", "create", "m", "rpm=many"), "'rpm=many' is no limit: write rpm=600"),
        (("limits", "create", "m", "qps=1"), "'qps=1' is no limit"),
        (("keys", "update", "ci", "--tags", "prod"), "'prod' is no tag: write --tags feature=search"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(house: Home, words: tuple[str, ...], says: str) -> None:
    said = house.run(*words)
    assert (said.status, said.out) == (1, "")
    assert says in said.err
    assert len(said.err.splitlines()) == 1


def test_a_models_limits_are_made_changed_and_deleted(home: Home) -> None:
    made = told(home, "limits", "create", "openai/*", "rpm=600, tpm=100000, concurrency=20")
    assert (made["requests_per_minute"], made["tokens_per_minute"], made["concurrency_max"]) == (600, 100_000, 20)
    assert told(home, "limits", "update", "openai/*", "rpm=none")["requests_per_minute"] is None
    assert told(home, "limits", "show", "openai/*")["tokens_per_minute"] == 100_000
    assert words_of(home.run("limits", "list").out)[1][0] == "openai/*"
    assert home.run("limits", "delete", "openai/*").status == 0
    assert told(home, "limits", "list")["data"] == []


@pytest.mark.parametrize("room", ["keys", "teams"])
def test_a_keys_and_a_teams_rules_are_typed_alike(house: Home, room: str) -> None:
    made = told(
        house, room, "create", "new", "--models", "openai/*,chat", "--limits", "rpm=60,concurrency=2",
        "--limits", "ft:gpt-4o:tpm=1000", "--tags", "env=prod,feature=", "--tags-required", "customer",
        "--tags-allowed", "customer=a|b*",
    )  # fmt: skip
    assert made["models_allowed"] == ["openai/*", "chat"]
    assert (made["limits"]["requests_per_minute"], made["limits"]["concurrency_max"]) == (60, 2)
    assert made["limits"]["models"]["ft:gpt-4o"]["tokens_per_minute"] == 1000
    assert (made["tags"], made["tags_required"]) == ({"env": "prod", "feature": ""}, ["customer"])
    assert made["tags_allowed"] == {"customer": ["a", "b*"]}
    cleared = told(
        house, room, "update", "new", "--models", "all", "--limits", "none", "--tags", "none",
        "--tags-required", "none", "--tags-allowed", "none",
    )  # fmt: skip
    for name in ("models_allowed", "limits", "tags", "tags_required", "tags_allowed"):
        assert not cleared[name]


def test_usage_is_reported_by_any_column_and_for_one_of_them_alone(house: Home) -> None:
    listed = words_of(house.run("usage", "--by", "organization,team,end_user", "--key", "ci", "--user", "ada").out)
    assert listed[0][:5] == ["organization_id", "organization_name", "team_id", "team_name", "end_user"]
    told(house, "usage", "--organization", "Acme", "--team", "blue", "--model", "m", "--provider", "p")
    assert "there is no key 'nobody'" in house.run("usage", "--key", "nobody").err
