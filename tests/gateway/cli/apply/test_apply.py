"""`turnpike apply` as it is typed, over real books."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.cli.conftest import Home, Said

OWN = "sk-of-the-build-server-0123456789abc"
FILE = f"""\
organizations:
  - {{id: org_acme, name: Acme}}
teams:
  - name: Research
    organization_id: Acme
    models_allowed: ["openai/*"]
    limits: {{requests_per_minute: 600, models: {{gpt-4o: {{tokens_per_minute: 10000}}}}}}
    tags: {{env: prod}}
users:
  - {{name: Ada, email: Ada@example.com, role: team_admin, organization_id: org_acme}}
members:
  - {{team_id: Research, user_id: Ada@example.com}}
keys:
  - {{id: ci, name: CI, team_id: Research, key: env:CI_KEY, expires_at: 2027-01-01}}
  - {{id: old, name: Old, user_id: Ada, key_sha256: {"ab" * 32}}}
  - {{id: fresh, name: Fresh}}
budgets:
  - {{scope: {{type: team, id: Research}}, limit_usd: 100, window: month, timezone: Europe/Berlin}}
  - {{scope: {{type: member, id: Ada, team_id: Research}}, limit_usd: "10.50", soft_limit_usd: 5}}
  - {{scope: {{type: tag, id: env=prod}}, soft_limit_usd: 3, window: day}}
prices:
  - {{provider: openai, model: gpt-4o, input: 2.50, output: 10, tiers: [{{above_input_tokens: 128000, input: 5}}]}}
limits:
  - {{model: gpt-4o, requests_per_minute: 1000}}
"""


@pytest.fixture
def apply(home: Home) -> Callable[..., Said]:
    def run(text: str, *words: str, name: str = "wanted.yaml", **environ: str) -> Said:
        (home.folder / name).write_text(text)
        return home.run("apply", name, *words, **{"CI_KEY": OWN} | environ)

    return run


def listed(home: Home, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(home.run(*words, "list", "--json").out)["data"]
    return rows


def test_a_file_is_made_whole_and_a_second_time_changes_nothing(home: Home, apply: Callable[..., Said]) -> None:
    said = apply(FILE)
    assert (said.err, said.status) == ("12 created\n", 0)
    assert OWN not in said.out
    (fresh,) = (line for line in said.out.splitlines() if line.startswith("key Fresh (fresh): tp-"))
    assert len(fresh) > 60
    (team,) = listed(home, "teams")
    assert (team["organization_id"], team["tags"], team["models_allowed"]) == (
        "org_acme",
        {"env": "prod"},
        ["openai/*"],
    )
    (member,) = listed(home, "members")
    assert (member["team_id"], member["user_id"]) == (team["id"], "ada-example.com")
    keys = {key["id"]: key for key in listed(home, "keys")}
    assert (keys["ci"]["team_id"], keys["ci"]["expires_at"]) == (team["id"], "2027-01-01T00:00:00.000000Z")
    budgets = {budget["scope"]["type"]: budget for budget in listed(home, "budgets")}
    assert (budgets["team"]["limit_usd"], budgets["team"]["timezone"]) == ("100.000000000", "Europe/Berlin")
    assert budgets["member"]["scope"] == {"type": "member", "id": "ada-example.com", "team_id": team["id"]}
    assert listed(home, "limits")[0]["requests_per_minute"] == 1000
    for words in ((), ("--prune",), ("--dry-run", "--prune")):
        again = apply(FILE, *words)
        assert (again.out, again.err, again.status) == ("", "nothing to do: everything is as the file says\n", 0)


def test_json_is_as_good_as_yaml_and_is_answered_in_json(home: Home, apply: Callable[..., Said]) -> None:
    said = apply(json.dumps({"teams": [{"id": "t", "name": "T"}]}), "--json", name="wanted.json")
    told = json.loads(said.out)
    assert [(row["action"], row["kind"], row["id"]) for row in told["data"]] == [("create", "team", "t")]
    assert [team["id"] for team in listed(home, "teams")] == ["t"]


def test_a_dry_run_says_what_would_be_and_makes_nothing(home: Home, apply: Callable[..., Said]) -> None:
    said = apply("teams:\n  - {id: t, name: T, organization_id: null, tags: {a: b}}\n", "--dry-run")
    assert (said.out, said.err) == ('+ team T (t)\n    tags: {"a": "b"}\n', "1 to create\n")
    assert listed(home, "teams") == []


def test_what_changed_in_the_file_is_changed_and_what_left_it_goes_when_pruned(
    home: Home, apply: Callable[..., Said]
) -> None:
    apply(FILE)
    text = FILE.replace("limit_usd: 100,", "limit_usd: 250,").replace("  - {id: fresh, name: Fresh}\n", "")
    text = text.replace("  - {team_id: Research, user_id: Ada@example.com}\n", "  []\n").replace(
        "input: 2.50", "input: 3"
    )
    said = apply(text)
    assert said.err == "2 changed\n"
    assert "limit_usd: 100.000000000 -> 250" in said.out
    assert len(listed(home, "members")) == 1
    said = apply(text, "--prune")
    assert said.err == "2 removed\n", said
    assert listed(home, "members") == []
    assert {key["id"] for key in listed(home, "keys") if key["revoked_at"]} == {"fresh"}
    assert apply(text, "--prune").out == ""


def test_kinds_without_a_section_are_left_alone(home: Home, apply: Callable[..., Said]) -> None:
    apply(FILE)
    assert apply("limits: []\n", "--prune").err == "1 removed\n"
    assert len(listed(home, "keys")) == 3


def test_everything_wrong_is_told_with_its_line_before_anything_is_made(home: Home, apply: Callable[..., Said]) -> None:
    said = apply(
        "teams:\n"
        "  - {id: t, name: T}\n"
        "  - id: u\n"
        "    name: U\n"
        "    model_allowed: [a]\n"
        "budgets:\n"
        "  - scope: {type: team, id: t}\n"
        "    limit_usd: 1.0000000001\n"
        "users:\n"
        "  - {name: X, role: boss}\n"
    )
    assert said.status == 1
    lines = said.err.splitlines()
    assert lines[0].startswith("wanted.yaml:5: teams[1].model_allowed is not known here; did you mean")
    assert lines[1].startswith("wanted.yaml:8: budgets[0].limit_usd '1.0000000001' is not an amount")
    assert any(line.startswith("wanted.yaml:10: users[0].email is missing") for line in lines)
    assert any(line.startswith("wanted.yaml:10: users[0].role ") for line in lines)
    assert listed(home, "teams") == []


def test_a_reference_that_leads_nowhere_is_told_and_no_secret_is(home: Home, apply: Callable[..., Said]) -> None:
    said = apply("keys:\n  - {id: k, name: K, key: env:NO_SUCH}\n")
    assert said.status == 1
    assert said.err.startswith("wanted.yaml:2: keys[0].key is not to be had: the environment variable NO_SUCH")
    weak = apply("keys: [{id: k, name: K, key: env:CI_KEY}]", CI_KEY="weak-secret")
    assert "wanted.yaml:1: keys[0].key must hold at least 128 bits" in weak.err
    assert "weak-secret" not in weak.err


def test_a_secret_may_stand_in_a_file_beside(home: Home, apply: Callable[..., Said]) -> None:
    (home.folder / "ci.key").write_text(OWN + "\n")
    assert apply("keys: [{id: k, name: K, key: file:ci.key}]").status == 0
    digest = hashlib.sha256(OWN.encode()).hexdigest()
    taken = home.run("keys", "create", "again", "--key-sha256", digest)
    assert taken.status == 1


def test_a_refusal_midway_says_where_and_a_second_run_goes_on(home: Home, apply: Callable[..., Said]) -> None:
    digest = hashlib.sha256(OWN.encode()).hexdigest()
    home.run("keys", "create", "first", "--key-sha256", digest)
    text = "teams:\n  - {id: t, name: T}\nkeys:\n  - {id: k, name: K, key: env:CI_KEY}\nlimits:\n  - {model: m, requests_per_minute: 1}\n"  # noqa: E501
    said = apply(text)
    assert said.status == 1
    assert said.err.startswith("turnpike: wanted.yaml:4: create key K: ")
    assert said.err.endswith("; 1 of 3 changes were made before it, run it again for the rest\n")
    assert apply(text, CI_KEY=OWN + "x").err == "2 created\n"


def test_a_file_that_is_not_there_is_said(home: Home) -> None:
    assert "none.yaml cannot be read: No such file" in home.run("apply", "none.yaml").err


def test_many_changes_show_how_far_they_are(home: Home, apply: Callable[..., Said]) -> None:
    rows = "".join(f"  - {{model: m{number}, requests_per_minute: 1}}\n" for number in range(50))
    lines = apply(f"limits:\n{rows}").err.splitlines()
    assert (lines[0], lines[-2:]) == ("  0% limits: m0", ["100% done", "50 created"])
    assert len(listed(home, "limits")) == 50
