"""The planner of `turnpike apply`, without anything to apply to."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.apply.plan import Verb, plan
from gateway.cli.apply.show import diff, summary
from gateway.cli.apply.wanted import desired
from gateway.config.document import Document, parse
from gateway.config.problems import ConfigError
from tests.gateway.cli.apply.kept import kept_after

NOW = datetime(2026, 11, 25, tzinfo=UTC)
NOW_TEXT = "2026-11-25T00:00:00Z"
FILE = """\
organizations:
  - {id: org_acme, name: Acme}
teams:
  - {name: Research & Co, organization_id: Acme, limits: {requests_per_minute: 600}}
users:
  - {name: Ada, email: ada@example.com, role: team_admin}
members:
  - {team_id: Research & Co, user_id: ada@example.com}
keys:
  - {id: ci, name: CI, team_id: Research & Co, key: sk-of-the-build-server-0123456789}
budgets:
  - {scope: {type: team, id: Research & Co}, limit_usd: 100, window: month, timezone: Europe/Berlin}
  - {scope: {type: member, id: Ada, team_id: Research & Co}, limit_usd: "10.50"}
prices:
  - {provider: openai, model: gpt-4o, input: 2.50, output: 10}
limits:
  - {model: gpt-4o, requests_per_minute: 1000}
"""


def wanted(text: str) -> Any:
    return desired(parse(text, "file.yaml"))


def problems(text: str, present: dict[str, Any] | None = None, *, prune: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        plan(wanted(text), present or {}, NOW, prune=prune)
    return [str(problem) for problem in refused.value.problems]


def test_what_is_not_there_is_made_in_an_order_that_works_and_names_become_ids() -> None:
    changes = plan(wanted(FILE), {}, NOW, prune=False)
    assert [(change.verb, change.kind) for change in changes] == [
        (Verb.CREATE, kind)
        for kind in (
            "organizations", "teams", "users", "members", "keys", "budgets", "budgets", "prices", "limits",
        )
    ]  # fmt: skip
    team, member, budget = changes[1].fields, changes[3].fields, changes[6].fields
    assert (team["id"], team["organization_id"]) == ("research-co", "org_acme")
    assert (member["team_id"], member["user_id"]) == ("research-co", "ada-example.com")
    assert budget["scope"] == {"type": "member", "id": "ada-example.com", "team_id": "research-co"}
    assert changes[7].fields["input"] == "2.50"


def test_a_second_time_there_is_nothing_to_do() -> None:
    present: dict[str, Any] = {}
    kept_after(plan(wanted(FILE), present, NOW, prune=False), present, NOW_TEXT)
    assert plan(wanted(FILE), present, NOW, prune=False) == ()
    assert plan(wanted(FILE), present, NOW, prune=True) == ()
    assert summary((), dry_run=False) == "nothing to do: everything is as the file says"


def test_the_fields_that_the_file_names_are_changed_and_no_others() -> None:
    present = {"teams": [{"id": "t", "name": "T", "organization_id": "o", "limits": {"requests_per_minute": 1}}]}
    (change,) = plan(wanted("teams: [{id: t, name: New, limits: {tokens_per_minute: 5}}]"), present, NOW, prune=False)
    assert (change.verb, change.id, change.fields) == (
        Verb.UPDATE, "t", {"name": "New", "limits": {"tokens_per_minute": 5}},
    )  # fmt: skip
    assert diff([change]) == (
        '~ team T (t)\n    name: T -> New\n    limits: {"requests_per_minute": 1} -> {"tokens_per_minute": 5}'
    )


@pytest.mark.parametrize(
    ("field", "written", "answered"),
    [
        ("budgets", "limit_usd: 100", {"limit_usd": "100.000000000"}),
        ("budgets", 'soft_limit_usd: "5.0"', {"soft_limit_usd": "5.000000000"}),
        ("budgets", "over_budget: null", {}),
        ("keys", "expires_at: 2027-01-01T01:00:00+01:00", {"expires_at": "2027-01-01T00:00:00Z"}),
        ("keys", "expires_at: 2027-01-01", {"expires_at": "2027-01-01T00:00:00Z"}),
        ("keys", "limits: {requests_per_minute: null}", {"limits": {}}),
        ("users", "email: Ada@Example.com", {"email": "ada@example.com"}),
    ],
)
def test_another_spelling_of_the_same_is_no_change(field: str, written: str, answered: dict[str, Any]) -> None:
    row: dict[str, Any] = {"id": "x", "name": "X"}
    if field == "budgets":
        row |= {"scope": {"type": "tag", "id": "a=b", "team_id": None}, "window": "total", "timezone": "UTC"}
    text = f"{field}: [{{id: x, {written}}}]"
    assert plan(wanted(text), {field: [row | answered]}, NOW, prune=False) == ()


def test_the_words_of_a_secret_are_never_shown() -> None:
    shown = diff(plan(wanted("keys: [{name: K, key: sk-secret-words-0123456789}]"), {}, NOW, prune=False))
    assert "sk-secret" not in shown
    assert "    key: (a secret)" in shown.splitlines()


def test_a_key_that_exists_is_not_made_again_for_its_secret() -> None:
    present = {"keys": [{"id": "ci", "name": "CI", "revoked_at": None}]}
    text = "keys: [{id: ci, name: CI, key: sk-of-the-build-server-0123456789}]"
    assert plan(wanted(text), present, NOW, prune=False) == ()


def test_prune_removes_what_is_not_named_of_the_kinds_that_are_and_last_made_first() -> None:
    present: dict[str, Any] = {
        "organizations": [{"id": "o", "name": "O"}],
        "teams": [{"id": "a", "name": "A"}, {"id": "b", "name": "B"}],
        "keys": [{"id": "k", "name": "K", "revoked_at": None}, {"id": "r", "name": "R", "revoked_at": NOW_TEXT}],
    }
    text = "teams: [{id: a, name: A}]\nkeys: []"
    changes = plan(wanted(text), present, NOW, prune=True)
    assert [(change.verb, change.kind, change.id) for change in changes] == [
        (Verb.DELETE, "keys", "k"),
        (Verb.DELETE, "teams", "b"),
    ]
    assert plan(wanted(text), present, NOW, prune=False) == ()


def test_a_price_without_a_time_is_the_one_in_force() -> None:
    def row(number: int, price: str, since: str) -> dict[str, Any]:
        named = {"id": f"p{number}", "provider": "lab", "model": "m", "team_id": None, "output": "1"}
        return named | {"input": price, "effective_at": since}

    present = {"prices": [row(1, "3", "2027-01-01T00:00:00Z"), row(2, "2", "2026-11-01T00:00:00Z"), row(3, "1", "2026-01-01T00:00:00Z")]}  # fmt: skip # noqa: E501
    text = "prices: [{provider: lab, model: m, input: 2.0, output: 1}]"
    assert plan(wanted(text), present, NOW, prune=True) == ()
    (change,) = plan(wanted(text.replace("2.0", "4")), present, NOW, prune=True)
    assert (change.verb, change.fields["input"], change.before) == (Verb.UPDATE, 4, {"input": "2"})
    dated = "prices: [{provider: lab, model: m, input: 3, output: 1, effective_at: 2027-01-01}]"
    assert plan(wanted(dated), present, NOW, prune=False) == ()


def test_what_contradicts_itself_is_told_with_its_lines() -> None:
    text = (
        "teams:\n  - {name: A}\n  - {name: A}\nkeys:\n  - name: k\n    team_id: nobody\n"
        "members:\n  - {team_id: A, user_id: u}\n"
    )
    told = problems(text)
    assert told[0] == "file.yaml:3: teams[1] is the same as teams[0]; keep one of them, or give both ids"
    assert told[1] == "file.yaml:6: keys[0].team_id names no team: there is none 'nobody', here or in the file"
    assert told[2].startswith("file.yaml:8: members[0].user_id names no user")


def test_a_name_that_several_bear_is_no_name() -> None:
    present = {"teams": [{"id": "a", "name": "T"}, {"id": "b", "name": "T"}]}
    assert problems("keys: [{name: k, team_id: T}]", present) == [
        "file.yaml:1: keys[0].team_id could be several teams; write the id: a, b"
    ]
    assert "could be several teams; say which by its id: a, b" in problems("teams: [{name: T}]", present)[0]


def test_an_organization_and_a_keys_user_may_be_kept_elsewhere() -> None:
    text = "teams: [{id: t, name: T, organization_id: crm_7}]\nkeys: [{id: k, name: K, user_id: u@x.example}]"
    team, key = plan(wanted(text), {}, NOW, prune=False)
    assert (team.fields["organization_id"], key.fields["user_id"]) == ("crm_7", "u@x.example")


def test_two_entries_for_one_thing_are_refused() -> None:
    assert problems("limits: [{model: m, requests_per_minute: 1}, {model: m, tokens_per_minute: 1}]") == [
        "file.yaml:1: limits[1] is the same as limits[0]; keep one of them"
    ]
    assert (
        "budgets[1] is the same as budgets[0]"
        in problems(
            "budgets: [{scope: {type: tag, id: a=b}, limit_usd: 1}, {scope: {type: tag, id: a=b}, limit_usd: 2}]"
        )[0]
    )


def test_the_id_of_a_revoked_key_is_not_taken_again() -> None:
    present = {"keys": [{"id": "k", "name": "K", "revoked_at": NOW_TEXT}]}
    assert problems("keys: [{id: k, name: K}]", present) == [
        "file.yaml:1: keys[0].id is that of a revoked key; give it another id"
    ]
    (change,) = plan(wanted("keys: [{name: K}]"), present, NOW, prune=True)
    assert (change.verb, change.fields["id"]) == (Verb.CREATE, "k-2")


def test_what_says_which_one_it_is_cannot_be_changed() -> None:
    row = {"id": "b", "scope": {"type": "tag", "id": "a=b"}, "window": "day", "timezone": "UTC", "limit_usd": "1"}
    text = "budgets: [{id: b, scope: {type: tag, id: a=b}, window: month, limit_usd: 1}]"
    assert problems(text, {"budgets": [row]}) == [
        "file.yaml:1: budgets[0].window is day and stays so; make another budget with another id"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("team: []", 'file.yaml:1: team is no section; did you mean "teams"?'),
        ("teams: {a: b}", "file.yaml:1: teams must be a list, each entry beginning with a dash"),
        ("teams:\n  - a\n", "file.yaml:2: teams[0] must be keys and values, such as `- {name: research}`"),
    ],
)
def test_a_file_of_another_shape_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        wanted(text)
    assert [str(problem) for problem in refused.value.problems] == [told]


NAMES = st.sampled_from(["a", "b", "c & c", "d"])
TEAMS = st.lists(st.builds(lambda name, models: {"name": name, "models_allowed": models}, NAMES, st.lists(NAMES, max_size=2)), unique_by=lambda row: row["name"], max_size=4)  # fmt: skip # noqa: E501
USERS = st.lists(st.builds(lambda name: {"name": name, "email": f"{name[0]}@x.example"}, NAMES), unique_by=lambda row: row["name"], max_size=4)  # fmt: skip # noqa: E501
LIMITS = st.lists(st.builds(lambda name, n: {"model": name, "requests_per_minute": n}, NAMES, st.integers(1, 9)), unique_by=lambda row: row["model"], max_size=4)  # fmt: skip # noqa: E501


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """Files that do not contradict themselves: names that are referred to are those of things in the same file."""
    tree: dict[str, Any] = {"teams": draw(TEAMS), "users": draw(USERS), "limits": draw(LIMITS)}
    teams, users = [row["name"] for row in tree["teams"]], [row["email"] for row in tree["users"]]
    if teams and users:
        pairs = st.tuples(st.sampled_from(teams), st.sampled_from(users))
        tree["members"] = [
            {"team_id": team, "user_id": user} for team, user in draw(st.lists(pairs, unique=True, max_size=4))
        ]
    else:
        tree["members"] = []
    owners = st.one_of(st.none(), st.sampled_from(teams)) if teams else st.none()
    keys = st.builds(lambda name, team: {"name": name, "team_id": team}, NAMES, owners)
    tree["keys"] = draw(st.lists(keys, unique_by=lambda row: row["name"], max_size=4))
    scopes = st.sampled_from([{"type": "tag", "id": "a=b"}, *({"type": "team", "id": name} for name in teams)])
    budgets = st.builds(
        lambda scope, window, limit: {"scope": scope, "window": window, "limit_usd": limit},
        scopes,
        st.sampled_from(["day", "month"]),
        st.integers(0, 9),
    )
    tree["budgets"] = draw(st.lists(budgets, unique_by=lambda row: (row["scope"]["id"], row["window"]), max_size=4))
    return tree


@given(st.lists(trees(), min_size=1, max_size=4), st.booleans())
def test_whatever_was_there_before_a_file_applied_twice_changes_nothing_the_second_time(
    files: list[dict[str, Any]], prune: bool
) -> None:
    present: dict[str, Any] = {}
    for tree in files:
        things = desired(Document(copy.deepcopy(tree)))
        kept_after(plan(things, present, NOW, prune=prune), present, NOW_TEXT)
        assert plan(things, present, NOW, prune=prune) == ()
        if prune:
            alive = {kind: [row for row in rows if not row.get("revoked_at")] for kind, rows in present.items()}
            assert {kind: len(alive.get(kind, [])) for kind in tree} == {kind: len(tree[kind]) for kind in tree}
