"""`teams`, `keys`, `usage` and `local` against a running gateway: what is asked, and what is shown."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

import gateway.cli.local as local_command
from local_backend.install import InstallFailed, Step
from tests.gateway.cli.fake_gateway import FakeGateway, words_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.gateway.cli.conftest import Home

MEASURES = {
    "requests": 2,
    "input_tokens": 10,
    "cached_input_tokens": 0,
    "output_tokens": 5,
    "reasoning_tokens": 0,
    "cost_usd": "0.000012500",
    "estimated_usd": "0.000000000",
    "pending_usd": "0.000000000",
    "saved_usd": "0.000000000",
}


def test_a_team_is_made_shown_changed_and_deleted(served: Home, gateway: FakeGateway) -> None:
    assert served.run("teams", "create", "blue", "--id", "team_blue", "--organization", "org_1").status == 0
    assert gateway.teams["team_blue"]["organization_id"] == "org_1"
    assert "org_1" in served.run("teams", "show", "blue").out
    assert served.run("teams", "update", "team_blue", "--name", "azure", "--organization", "none").status == 0
    assert (gateway.teams["team_blue"]["name"], gateway.teams["team_blue"]["organization_id"]) == ("azure", None)
    assert json.loads(served.run("teams", "show", "azure", "--json").out)["id"] == "team_blue"
    assert served.run("teams", "delete", "azure").out == "deleted team_blue\n"
    assert gateway.teams == {}


def test_a_listing_is_a_table_or_json_and_whole_whatever_a_page_holds(served: Home, gateway: FakeGateway) -> None:
    gateway.page_rows_max = 2
    for number in range(5):
        served.run("teams", "create", f"t{number}")
    listed = served.run("teams", "list")
    assert words_of(listed.out)[0] == ["id", "name", "organization_id", "created_at"]
    assert [line[1] for line in words_of(listed.out)[1:]] == ["t0", "t1", "t2", "t3", "t4"]
    told = json.loads(served.run("teams", "list", "--json").out)
    assert [team["name"] for team in told["data"]] == ["t0", "t1", "t2", "t3", "t4"]
    assert (told["has_more"], told["next"]) == (False, None)


def test_a_key_is_made_with_what_was_asked_and_its_secret_is_told_once(served: Home, gateway: FakeGateway) -> None:
    served.run("teams", "create", "blue")
    served.run("users", "create", "u@example.com", "--id", "u")
    made = served.run(
        "keys", "create", "k", "--team", "blue", "--user", "u", "--models", "openai/*, gpt-4o*",
        "--expires-at", "2027-01-01", "--scopes", "a,b", "--json",
    )  # fmt: skip
    assert json.loads(made.out)["key"] == "tp-made-by-the-fake"
    key = gateway.keys["key_1"]
    assert (key["team_id"], key["user_id"]) == ("team_1", "u")
    assert (key["models_allowed"], key["scopes"]) == (["openai/*", "gpt-4o*"], ["a", "b"])
    assert key["expires_at"] == "2027-01-01T00:00:00Z"
    assert "tp-made-by-the-fake" not in served.run("keys", "show", "k").out
    assert "tp-made-by-the-fake" not in served.run("keys", "list").out


def test_a_name_may_stand_alone_or_behind_its_option(served: Home, gateway: FakeGateway) -> None:
    served.run("teams", "create", "--name", "blue", "--id", "team_blue")
    served.run("keys", "create", "--name", "k")
    assert (gateway.teams["team_blue"]["name"], gateway.keys["key_1"]["name"]) == ("blue", "k")


def test_a_made_key_is_told_to_people_too(served: Home) -> None:
    assert ["key", "tp-made-by-the-fake"] in words_of(served.run("keys", "create", "k").out)


def test_a_key_is_changed_by_what_is_named_alone(served: Home, gateway: FakeGateway) -> None:
    served.run("users", "create", "u@example.com", "--id", "u")
    served.run("keys", "create", "k", "--models", "a", "--user", "u@example.com")
    assert served.run("keys", "update", "k", "--name", "n", "--models", "all", "--user", "none").status == 0
    assert served.run("keys", "update", "n", "--expires-at", "never", "--team", "none", "--scopes", "none").status == 0
    key = gateway.keys["key_1"]
    assert (key["name"], key["models_allowed"], key["user_id"], key["team_id"], key["scopes"]) == (
        "n",
        [],
        None,
        None,
        [],
    )
    assert served.run("keys", "update", "n", "--expires-at", "2027-01-01T08:00:00+01:00").status == 0
    assert gateway.keys["key_1"]["expires_at"] == "2027-01-01T08:00:00+01:00"


def test_a_key_is_rotated_and_revoked(served: Home, gateway: FakeGateway) -> None:
    served.run("keys", "create", "k")
    rotated = json.loads(served.run("keys", "rotate", "k", "--overlap-seconds", "60", "--json").out)
    assert (rotated["key"], rotated["overlap"]) == ("tp-rotated", 60)
    assert served.run("keys", "delete", "k").out == "revoked key_1\n"
    assert gateway.keys["key_1"]["revoked_at"]


def test_keys_are_listed_for_one_team(served: Home) -> None:
    served.run("teams", "create", "blue")
    served.run("keys", "create", "mine", "--team", "blue")
    served.run("keys", "create", "other")
    told = json.loads(served.run("keys", "list", "--team", "blue", "--json").out)
    assert [key["name"] for key in told["data"]] == ["mine"]


def test_an_own_secret_comes_from_a_file_or_standard_input_never_from_the_words(
    served: Home, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    (served.folder / "secret").write_text("tp-of-my-own-1\n")
    assert (
        json.loads(served.run("keys", "create", "a", "--key-file", "secret", "--json").out)["key"] == "tp-of-my-own-1"
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO("tp-of-my-own-2\n"))
    assert json.loads(served.run("keys", "create", "b", "--key-file", "-", "--json").out)["key"] == "tp-of-my-own-2"
    assert json.loads(served.run("keys", "create", "c", "--key-sha256", "00" * 32, "--json").out)["key"] is None
    gone = served.run("keys", "create", "d", "--key-file", "gone")
    assert gone.err == "turnpike: the key cannot be read from gone: No such file or directory\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["teams", "show", "green"], "there is no team 'green'; `turnpike teams list` shows them"),
        (["keys", "show", "green"], "there is no key 'green'; `turnpike keys list` shows them"),
        (["keys", "create", "k", "--team", "green"], "there is no team 'green'"),
        (["teams", "update", "blue"], "nothing to change: give --name, --organization, --models"),
        (["keys", "update", "x"], "nothing to change: give --name, --team, "),
        (["teams", "create", ""], "name: must not be empty"),
        (["teams", "create", "blue", "--id", "team_1"], "There is a team team_1 already."),
        (["local", "start", "qwen"], "No local model is named so."),
    ],
)
def test_a_refusal_is_status_1_and_one_line(served: Home, words: list[str], message: str) -> None:
    served.run("teams", "create", "blue")
    said = served.run(*words)
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("turnpike: ")
    assert message in said.err
    assert said.err.count("\n") == 1


def test_a_name_that_two_bear_must_be_told_apart_and_a_revoked_one_does_not_count(served: Home) -> None:
    served.run("keys", "create", "twin")
    served.run("keys", "create", "twin")
    assert "say which by its id: key_1, key_2" in served.run("keys", "show", "twin").err
    served.run("keys", "delete", "key_1")
    assert json.loads(served.run("keys", "show", "twin", "--json").out)["id"] == "key_2"
    assert json.loads(served.run("keys", "show", "key_1", "--json").out)["id"] == "key_1"


# --- usage


def test_usage_passes_on_what_was_asked(served: Home, gateway: FakeGateway) -> None:
    served.run("teams", "create", "blue")
    served.run(
        "usage", "--by", "team,day", "--team", "blue", "--from", "2026-11-01", "--to", "2026-12-01", "--timezone", "UTC"
    )
    asked = gateway.asked[-1][1]
    assert asked.startswith(
        "/admin/v1/usage?group_by=team%2Cday&team=team_1&from=2026-11-01&to=2026-12-01&timezone=UTC"
    )


def test_usage_is_by_model_unless_asked_otherwise(served: Home, gateway: FakeGateway) -> None:
    gateway.usage = [{"model": "m", **MEASURES}]
    said = served.run("usage")
    assert gateway.asked[-1][1].startswith("/admin/v1/usage?group_by=model&")
    assert words_of(said.out) == [["model", *MEASURES], ["m", *(str(value) for value in MEASURES.values())]]


def test_usage_as_csv_guards_its_cells_and_keeps_the_asked_order(served: Home, gateway: FakeGateway) -> None:
    gateway.usage = [{"team_id": "team_1", "team_name": "=HYPERLINK()", "model": "m", "day": "2026-11-25", **MEASURES}]
    said = served.run("usage", "--by", "team,model,day", "--format", "csv")
    read = list(csv.reader(io.StringIO(said.out)))
    assert read[0] == ["team_id", "team_name", "model", "day", *MEASURES]
    assert read[1][:4] == ["team_1", "'=HYPERLINK()", "m", "2026-11-25"]
    assert read[1][9] == "0.000012500"


@pytest.mark.parametrize("words", [["--json"], ["--format", "json"]])
def test_usage_as_json_is_the_admin_apis(served: Home, gateway: FakeGateway, words: list[str]) -> None:
    gateway.usage = [{"model": "m", **MEASURES, "more": 1}]
    assert json.loads(served.run("usage", *words).out)["data"] == gateway.usage


def test_usage_without_a_row_still_names_its_columns(served: Home) -> None:
    assert served.run("usage", "--by", "team,tag:feature", "--format", "csv").out.startswith(
        "team_id,team_name,tag:feature,req"
    )


def test_figures_that_we_do_not_know_are_shown_last(served: Home, gateway: FakeGateway) -> None:
    gateway.usage = [{"model": "m", **MEASURES, "new_figure": 7}]
    assert words_of(served.run("usage").out)[0][-1] == "new_figure"


# --- local


def replica(model: str, state: str) -> dict[str, object]:
    return {
        "model": model, "replica": 0, "state": state, "since": "2026-11-25T00:00:00Z", "phase": state, "percent": None,
        "address": None, "restarts": 0, "cause": None,
    }  # fmt: skip


def test_local_models_are_watched_started_stopped_and_heard(served: Home, gateway: FakeGateway) -> None:
    gateway.replicas = [replica("qwen", "stopped")]
    assert words_of(served.run("local", "status").out)[1][:3] == ["qwen", "0", "stopped"]
    assert words_of(served.run("local", "start", "qwen").out)[1][2] == "starting"
    assert json.loads(served.run("local", "stop", "qwen", "--json").out)["data"][0]["state"] == "draining"
    assert served.run("local", "logs", "qwen", "--lines", "2").out == "line 0\nline 1\n"


class Installer:
    """Stands where vLLM would be installed, which takes minutes; `tests/local_backend` installs it."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure

    def __call__(self, device: str | None, directory: Path, progress: Callable[[Step], None]) -> tuple[str, ...]:
        self.asked = (device, directory)
        progress(Step("fetching torch", 40))
        if self.failure:
            raise self.failure
        progress(Step("vLLM is installed", 100))
        return ("/x/bin/vllm", "serve")


def test_local_install_shows_how_far_it_is_and_ends_with_the_command(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = Installer()
    monkeypatch.setattr(local_command, "install_vllm", installer)
    said = home.run("local", "install", "--device", "cpu")
    assert installer.asked == ("cpu", home.state)
    assert said.err == " 40% fetching torch\n100% vLLM is installed\n"
    assert (said.status, said.out) == (0, "/x/bin/vllm serve\n")


@pytest.mark.parametrize("failure", [InstallFailed("needs 5 GB: make room"), PermissionError(13, "Permission denied")])
def test_an_installation_that_fails_is_one_line(
    home: Home, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(local_command, "install_vllm", Installer(failure))
    said = home.run("local", "install")
    assert said.status == 1
    assert str(failure).rpartition("] ")[2] in said.err.splitlines()[-1]


def test_without_a_gateway_local_models_are_stopped_and_cannot_be_started(home: Home) -> None:
    home.configure("server: {port: 1}\nlocal: {models: {qwen: {model: q, replicas: 2}}}")
    told = json.loads(home.run("local", "status", "--json").out)
    assert [(row["model"], row["replica"], row["state"]) for row in told["data"]] == [
        ("qwen", 0, "stopped"),
        ("qwen", 1, "stopped"),
    ]
    assert "`turnpike local install`" in home.run("local", "status").err
    for verb in ("start", "stop", "logs"):
        said = home.run("local", verb, "qwen")
        assert said.status == 1
        assert "no gateway runs at 127.0.0.1:1; start it with `turnpike serve`" in said.err
