"""`turnpike import litellm` as it is typed, over a real LiteLLM database and over dumps of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.gateway.cli.litellm import proxy_database as theirs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.cli.conftest import Home, Said

CONFIG = """\
model_list:
  - model_name: chat
    litellm_params: {model: hosted_vllm/qwen, api_base: 'http://127.0.0.1:9/v1', api_key: os.environ/LAB_KEY}
    model_info: {access_groups: [beta], input_cost_per_token: 1e-06, output_cost_per_token: 2e-06}
litellm_settings: {timezone: Europe/Berlin}
"""
LAB_KEY = "sk-lab-0123456789"
RESEARCH, CI = "7c1b-research", f"key_{theirs.token(theirs.CI)[:16]}"
ADA, BLOCKED = f"key_{theirs.token(theirs.PERSONAL)[:16]}", f"key_{theirs.token(theirs.BLOCKED)[:16]}"


@pytest.fixture(scope="session")
def litellm_url(postgres_url: str) -> Iterator[str]:
    schema = "a_proxy"
    yield theirs.fill(postgres_url, schema)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def proxy(home: Home) -> Home:
    (home.folder / "config.yaml").write_text(CONFIG)
    return home


def brought(proxy: Home, *words: str, **environ: str) -> Said:
    return proxy.run("import", "litellm", "config.yaml", *words, **environ)


def listed(home: Home, kind: str) -> dict[str, dict[str, Any]]:
    rows = json.loads(home.run(kind, "list", "--json", LAB_KEY=LAB_KEY).out)["data"]
    return {row["id"] if "id" in row else f"{row['team_id']}/{row['user_id']}": row for row in rows}


def not_converted(said: Said) -> list[str]:
    return [line.removeprefix("not converted: ") for line in said.out.splitlines() if line.startswith("not converted")]


def test_everything_comes_over_and_a_second_time_nothing(proxy: Home, litellm_url: str) -> None:
    said = brought(proxy, "--database", litellm_url)
    # What the openings bring over a budget's threshold is told before.
    *crossed, summary = said.err.splitlines(keepends=True)
    assert {json.loads(line)["event"] for line in crossed} <= {"budget_threshold", "budget_soft_limit"}
    assert (said.status, summary) == (
        0,
        (
            "brought: 1 of 1 organizations, 2 of 2 teams, 3 of 3 users, 2 of 2 members, 4 of 4 keys, 11 of 11 budgets; "
            "0 changed; 8 opening balances of $52.100000000 together\n"
        ),
    )
    again = brought(proxy, "--database", litellm_url)
    assert again.err == (
        "brought: 0 of 1 organizations, 0 of 2 teams, 0 of 3 users, 0 of 2 members, 0 of 4 keys, 0 of 11 budgets; "
        "0 changed; 0 opening balances of $0.000000000 together\n"
    )
    assert "turnpike.yaml says this already" in again.out
    assert not_converted(again) == not_converted(said)


def test_what_was_not_converted_is_told_a_line_each(proxy: Home, litellm_url: str) -> None:
    assert not_converted(brought(proxy, "--database", litellm_url)) == [
        "team 7c1b-research: metadata cost_center: is nowhere kept here",
        (
            "user bob: has no e-mail in LiteLLM: bob@no-email.invalid stands for it until `turnpike users update` "
            "gives a real one"
        ),
        "user bob: role internal_user_viewer: has no counterpart; a member, who may make keys of their own",
        (
            "user default_user_id: has no e-mail in LiteLLM: default_user_id@no-email.invalid stands for it until "
            "`turnpike users update` gives a real one"
        ),
        "key blocked: is blocked: comes over as expired; another expires_at opens it",
        "key expired: has expired on 2024-01-01T00:00:00.000Z: comes over as that",
        "key ada: aliases (gpt): a key's own model aliases have no counterpart here; name the models in turnpike.yaml",
        "key broken: its token is no SHA-256 in hex; make its owner a new one",
        "sessions: 1 of LiteLLM's own pages stay behind",
        (
            "team odd team: budget of $3 each 45d: no window here ends when that does (hour, day, week, month, total); "
            "make one by hand with `turnpike budgets create`"
        ),
        "member bob of team 7c1b-research: rpm_limit: members have no rate limits here; give their keys limits",
        "tag plain: its budget is that of plain=*: a value behind it is counted apart, as far",
        "tag two words: its budget: a tag has neither spaces in its name nor commas here",
        "end users and tags: $1.350000000 spent before stands in totals once more: LiteLLM does not say by whom",
        "amounts: 1 of LiteLLM's were finer than a nano-dollar: read by their decimal text and rounded half to even",
    ]


def test_who_there_is_and_what_each_may(proxy: Home, litellm_url: str) -> None:
    brought(proxy, "--database", litellm_url)
    assert listed(proxy, "organizations")["acme"]["name"] == "Acme"
    teams = listed(proxy, "teams")
    research = teams[RESEARCH]
    assert (research["name"], research["organization_id"]) == ("Research", "acme")
    assert (research["limits"]["requests_per_minute"], research["limits"]["tokens_per_minute"]) == (600, 100_000)
    assert research["limits"]["models"]["chat"]["requests_per_minute"] == 60
    # Its organization has a list, so the team that had none has that; `beta` is a group of one model.
    assert (research["models_allowed"], research["tags"]) == (["chat"], {"env": "prod"})
    (odd,) = (team for team in teams.values() if team["id"] != RESEARCH)
    assert (odd["name"], odd["id"].startswith("odd-team-")) == ("odd team", True)
    users = listed(proxy, "users")
    assert {user["id"]: (user["email"], user["role"], user["organization_id"]) for user in users.values()} == {
        "ada": ("ada@example.com", "team_admin", None),
        "bob": ("bob@no-email.invalid", "member", "acme"),
        "default_user_id": ("default_user_id@no-email.invalid", "owner", None),
    }
    assert set(listed(proxy, "members")) == {f"{RESEARCH}/ada", f"{RESEARCH}/bob"}
    keys = listed(proxy, "keys")
    assert {key["name"] for key in keys.values()} == {"ci", "ada", "blocked", "expired"}
    assert (keys[CI]["team_id"], keys[CI]["models_allowed"], keys[CI]["tags"]) == (
        RESEARCH, ["chat"], {"feature": "build"},
    )  # fmt: skip
    assert keys[CI]["limits"] == {"concurrency_max": 4, "tokens_per_minute": 5000}
    assert keys[CI]["expires_at"] == "2099-01-01T00:00:00.000000Z"
    assert keys[BLOCKED]["expires_at"] == "2000-01-01T00:00:00.000000Z"


def test_budgets_have_their_windows_and_what_was_spent_in_them(proxy: Home, litellm_url: str) -> None:
    brought(proxy, "--database", litellm_url)
    found = {
        (row["scope"]["type"], row["scope"]["id"], row["window"]): (
            row["limit_usd"], row["soft_limit_usd"], row["spent_usd"], row["timezone"],
        )
        for row in listed(proxy, "budgets").values()
    }  # fmt: skip
    assert found == {
        ("organization", "acme", "month"): ("1000.000000000", None, "42.500000000", "Europe/Berlin"),
        ("team", RESEARCH, "month"): ("100.000000000", "80.000000000", "12.345678901", "Europe/Berlin"),
        ("team", RESEARCH, "day"): ("10.000000000", None, "12.345678901", "Europe/Berlin"),
        ("model", "chat", "week"): ("5.000000000", None, "0.000000000", "Europe/Berlin"),
        ("user", "ada", "total"): ("50.000000000", None, "8.250000000", "UTC"),
        ("member", "bob", "total"): ("20.000000000", None, "2.000000000", "UTC"),
        ("key", CI, "total"): (None, "1.500000000", "7.500000000", "UTC"),
        ("key", ADA, "week"): ("9.000000000", None, "8.250000000", "Europe/Berlin"),
        ("end_user", "customer-1", "day"): ("0.250000000", None, "0.100000000", "Europe/Berlin"),
        ("tag", "env=prod", "month"): ("1000.000000000", None, "1.000000000", "Europe/Berlin"),
        ("tag", "plain=*", "month"): ("1000.000000000", None, "0.250000000", "Europe/Berlin"),
    }
    (plain,) = (row for row in listed(proxy, "budgets").values() if row["scope"]["id"] == "plain=*")
    assert [(account["subject"], account["spent_usd"]) for account in plain["accounts"]] == [("plain", "0.250000000")]
    verified = proxy.run("ledger", "verify", LAB_KEY=LAB_KEY)
    assert (verified.status, verified.out) == (0, "8 entries in 8 batches: the ledger is whole\n")


@pytest.mark.parametrize("as_csv", [True, False])
def test_a_dump_is_as_good_as_the_database(proxy: Home, litellm_url: str, postgres_url: str, as_csv: bool) -> None:
    theirs.dump(postgres_url, "a_proxy", proxy.folder / "dump", as_csv=as_csv)
    said = brought(proxy, "--dump", "dump", "--json")
    told = json.loads(said.out)
    assert told["summary"].endswith("8 opening balances of $52.100000000 together")
    again = json.loads(brought(proxy, "--database", litellm_url, "--json").out)
    assert again["data"] == []
    assert again["not_converted"] == told["not_converted"]


def test_a_dry_run_writes_nothing_at_all(proxy: Home, litellm_url: str) -> None:
    said = brought(proxy, "--database", litellm_url, "--dry-run")
    assert said.err.startswith("would be brought: 1 of 1 organizations, 2 of 2 teams")
    assert "+ team Research (7c1b-research)" in said.out
    assert "would write turnpike.yaml" in said.out
    assert [path.name for path in proxy.folder.iterdir()] == ["config.yaml"]


def test_the_configuration_alone_needs_no_database(proxy: Home) -> None:
    said = brought(proxy, "--out", "other.yaml")
    assert (said.status, said.out) == (0, "wrote other.yaml\n")
    file = proxy.folder / "other.yaml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert proxy.run("config", "check", "other.yaml", LAB_KEY=LAB_KEY).status == 0
    assert brought(proxy, "--out", "other.yaml").out == "other.yaml says this already\n"
    file.write_text("server: {port: 1}\n")
    refused = brought(proxy, "--out", "other.yaml")
    assert (refused.status, refused.err) == (
        1,
        "turnpike: other.yaml exists and says something else; move it away, or name another with --out\n",
    )


def test_a_turnpike_that_is_configured_already_stays_so_and_gets_the_rest(proxy: Home, litellm_url: str) -> None:
    proxy.configure("server: {port: 0}\n")
    said = brought(proxy, "--database", litellm_url)
    assert (said.status, (proxy.folder / "turnpike.yaml").read_text()) == (0, "server: {port: 0}\n")
    assert "turnpike.yaml stays as it is" in said.out
    assert "exists and says something else; --out FILE writes the configuration beside it" in said.out
    assert len(listed(proxy, "keys")) == 4


def test_a_key_that_was_revoked_here_since_stays_revoked(proxy: Home, litellm_url: str) -> None:
    brought(proxy, "--database", litellm_url)
    assert proxy.run("keys", "delete", CI, LAB_KEY=LAB_KEY).status == 0
    again = brought(proxy, "--database", litellm_url)
    assert again.status == 0
    assert "not converted: key ci: was revoked here since; it stays so" in again.out
    assert listed(proxy, "keys")[CI]["revoked_at"]


def test_what_was_spent_there_since_is_added_and_nothing_counts_twice(proxy: Home) -> None:
    (proxy.folder / "dump").mkdir()
    key = {"token": theirs.token(theirs.CI), "key_alias": "ci", "team_id": "t", "max_budget": 9}
    team = {"team_id": "t", "max_budget": 50, "budget_duration": "30d", "budget_reset_at": theirs.NEXT_MONTH}

    def spent(by_key: float, by_team: float) -> dict[str, str]:
        (proxy.folder / "dump" / "VerificationToken.json").write_text(json.dumps(key | {"spend": by_key}))
        (proxy.folder / "dump" / "TeamTable.json").write_text(json.dumps(team | {"spend": by_team}))
        assert brought(proxy, "--dump", "dump").status == 0
        return {row["scope"]["type"]: row["spent_usd"] for row in listed(proxy, "budgets").values()}

    assert spent(1.5, 2) == {"key": "1.500000000", "team": "2.000000000"}
    assert spent(1.5, 2) == {"key": "1.500000000", "team": "2.000000000"}
    assert spent(4, 4.5) == {"key": "4.000000000", "team": "4.500000000"}
    # The team's month began anew there: what it has spent since is less than what it is charged already.
    assert spent(4.5, 0.5) == {"key": "4.500000000", "team": "4.500000000"}


def test_spend_of_a_period_that_is_over_is_told_and_left_behind(proxy: Home) -> None:
    row = {"token": theirs.token(theirs.CI), "key_alias": "ci", "spend": 3.5, "max_budget": 9, "budget_duration": "1d"}
    (proxy.folder / "dump").mkdir()
    dumped = proxy.folder / "dump" / "LiteLLM_VerificationToken.json"
    dumped.write_text(json.dumps(row | {"budget_reset_at": "2026-01-02T00:00:00"}))
    said = brought(proxy, "--dump", "dump")
    assert not_converted(said) == [
        "key ci: spend $3.5: is of a period that ended on 2026-01-02T00:00:00.000Z; the new one begins at zero"
    ]
    assert listed(proxy, "budgets").popitem()[1]["spent_usd"] == "0.000000000"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--database", "mysql://u:p@h/db"), "LiteLLM keeps its data in PostgreSQL"),
        (("--database", "sqlite:///x.db"), "LiteLLM keeps its data in PostgreSQL"),
        (("--database", "env:NOT_SET"), "the environment variable NOT_SET is not set"),
        (("--database", "postgresql://u:secret-word@127.0.0.1:9/db"), "LiteLLM's database cannot be read: "),
        (("--dump", "nowhere"), "nowhere cannot be read: No such file"),
        (("--dump", "."), ". holds no table of LiteLLM's: name the files as LiteLLM_TeamTable.csv"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line_without_the_password(
    proxy: Home, words: tuple[str, ...], told: str
) -> None:
    said = brought(proxy, *words)
    assert said.status == 1
    assert len(said.err.splitlines()) == 1
    assert told in said.err
    assert "secret-word" not in said.err


def test_a_database_of_something_else_is_told(proxy: Home, postgres_url: str) -> None:
    said = brought(proxy, "--database", f"{postgres_url}&schema=nothing_here")
    assert (said.status, "has none of LiteLLM's tables in its schema 'nothing_here'" in said.err) == (1, True)


def test_the_address_is_understood_as_prisma_writes_it() -> None:
    from gateway.cli.litellm.from_database import plain_address

    url = "postgresql://u:p@h:5432/db?schema=llm&connection_limit=5&pgbouncer=true&sslmode=require"
    assert plain_address(url) == ("postgresql://u:p@h:5432/db?sslmode=require", "llm")
    assert plain_address("postgres://h/db") == ("postgres://h/db", "public")


@pytest.mark.parametrize("text", ["{", '"text"', "[1]", '{"key_alias": "no token"}'])
def test_a_dump_that_is_none_is_told_with_its_name(proxy: Home, text: str) -> None:
    (proxy.folder / "dump").mkdir()
    (proxy.folder / "dump" / "LiteLLM_VerificationToken.json").write_text(text)
    said = brought(proxy, "--dump", "dump")
    assert said.status == 1
    assert "LiteLLM_VerificationToken.json" in said.err
