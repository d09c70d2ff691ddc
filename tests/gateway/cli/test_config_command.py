"""`turnpike config check` and `schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.gateway.cli.conftest import Home


def test_a_good_file_is_good(home: Home) -> None:
    home.configure("models: {chat: [{provider: openai, model: gpt-5-mini}]}")
    said = home.run("config", "check", OPENAI_API_KEY="sk-1")
    assert said.status == 0
    assert said.out == "turnpike.yaml: good (1 providers, 0 local models, 1 model names)\n"


def test_without_a_file_the_environment_is_checked(home: Home) -> None:
    assert home.run("config", "check").out.startswith("no file, the environment alone: good")
    assert home.run("config", "check", TURNPIKE_SERVER__PROT="1").status == 1


def test_all_problems_are_listed_each_in_a_line(home: Home) -> None:
    (home.folder / "bad.yaml").write_text("server: {prot: 1}\nmodels: 3\n")
    said = home.run("config", "check", "bad.yaml")
    assert (said.status, said.out) == (1, "")
    assert said.err.splitlines() == [
        'bad.yaml:1: server.prot is unknown; did you mean "port"?',
        "bad.yaml:2: models must be a mapping of names",
    ]


def test_the_schema_is_printed_or_written(home: Home) -> None:
    printed = home.run("config", "schema")
    assert "server" in json.loads(printed.out)["properties"]
    assert home.run("config", "schema", "schema.json").out == ""
    assert (home.folder / "schema.json").read_text() == printed.out
    assert "cannot be written: No such file or directory" in home.run("config", "schema", "no/where.json").err
