"""`turnpike serve` and `migrate`: what was typed reaches the gateway, and commands find it while it runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import gateway.cli.serve as serve_command
from gateway.cli.reach import announced
from gateway.serve import CannotServe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.config.schema import Settings
    from tests.gateway.cli.conftest import Home


class Gateway:
    """Stands where the gateway would start, and remembers with what."""

    def __init__(self, status: int | Exception = 0) -> None:
        self.status = status

    def __call__(self, settings: Settings, *, environ: Mapping[str, str]) -> int:
        self.settings, self.environ = settings, environ
        self.announced = announced(settings.state.directory)
        if isinstance(self.status, Exception):
            raise self.status
        return self.status


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    gateway = Gateway()
    monkeypatch.setattr(serve_command, "serve_gateway", gateway)
    return gateway


def test_what_was_typed_beats_the_environment_which_beats_the_file(
    home: Home, started: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "port").write_text("3")
    home.configure("server: {host: 1.1.1.1, port: 1, keepalive_s: 9}")
    said = home.run(
        "serve", "--port", "4", TURNPIKE_SERVER__HOST="2.2.2.2", TURNPIKE_SERVER__PORT_FILE=str(tmp_path / "port")
    )
    assert said.status == 0
    server = started.settings.server
    assert (server.host, server.port, server.keepalive_s) == ("2.2.2.2", 4, 9)
    # A reload reads the file again with this environment, so what was typed still holds.
    assert started.environ["TURNPIKE_SERVER__PORT"] == "4"


def test_the_number_of_workers_is_typed_or_configured_and_bounded(home: Home, started: Gateway) -> None:
    assert home.run("serve", "--workers", "3").status == 0
    assert started.settings.server.workers == 3
    home.configure("server: {workers: 2}")
    assert home.run("serve").status == 0
    assert started.settings.server.workers == 2
    with pytest.raises(SystemExit):
        home.run("serve", "--workers", "65")


def test_a_gateway_that_cannot_serve_is_one_line(home: Home, started: Gateway) -> None:
    started.status = CannotServe("cannot listen on 127.0.0.1:7: Address already in use; set server.port")
    said = home.run("serve", "--port", "7")
    assert (said.status, said.err) == (1, f"turnpike: {started.status}\n")


def test_the_gateways_status_is_the_commands(home: Home, started: Gateway) -> None:
    started.status = 1
    assert home.run("serve").status == 1


def tables(home: Home) -> set[str]:
    with closing(sqlite3.connect(home.state / "turnpike.db")) as database:
        return {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}


def test_migrate_makes_the_schema_and_a_second_time_changes_nothing(home: Home) -> None:
    assert home.run("migrate").out.startswith("applied ")
    made = tables(home)
    assert any("key" in name for name in made)
    assert home.run("migrate").out == "nothing to do: the database has this schema\n"
    assert tables(home) == made


def test_a_dry_run_says_what_would_be_done_and_does_nothing(home: Home) -> None:
    told = home.run("migrate", "--dry-run")
    assert told.out.startswith("would apply ")
    assert not any("key" in name for name in tables(home))
    assert home.run("migrate").out == told.out.replace("would apply", "applied")


def test_an_unknown_revision_is_one_line(home: Home) -> None:
    said = home.run("migrate", "--to", "nosuch")
    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "nosuch" in said.err


def test_serve_migrates_first_where_asked(home: Home, started: Gateway) -> None:
    assert home.run("serve", "--migrate", "--port", "7").status == 0
    assert tables(home)


def test_books_that_cannot_be_opened_are_one_line(home: Home) -> None:
    home.configure("server: {port: 1}")
    home.state.mkdir()
    (home.state / "turnpike.db").write_bytes(b"this is no database, and it is longer than a header" * 100)
    for words in (["teams", "list"], ["migrate"]):
        said = home.run(*words)
        assert (said.status, said.err.count("\n")) == (1, 1)
        assert str(home.state) in said.err


def test_where_no_gateway_runs_teams_and_keys_are_changed_in_the_database(home: Home) -> None:
    home.configure("server: {port: 1}")
    assert home.run("teams", "create", "blue").status == 0
    made = home.run("keys", "create", "k", "--team", "blue")
    assert made.status == 0
    assert "tp-" in made.out
    assert "blue" in home.run("teams", "list").out
    assert home.run("usage", "--by", "team,model,day").status == 0
    assert home.run("keys", "delete", "k").status == 0
