"""What keeps a gateway from starting is one line that says what to do, never a traceback."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway

if TYPE_CHECKING:
    from pathlib import Path


def refused(directory: Path, **config: object) -> str:
    """What `turnpike serve` said when it would not start."""
    clash = Gateway(directory, config)
    with pytest.raises(AssertionError, match="exited with 1"):
        clash.start()
    return clash.logs()


def test_a_state_directory_that_another_gateway_works_on(gateway: Gateway, directory: Path) -> None:
    [line] = refused(directory, state={"directory": str(gateway.state)}).splitlines()
    assert line.startswith("turnpike: ")
    assert str(gateway.state / "journal") in line
    assert "its own state directory" in line
    assert gateway.client.get("/readyz").status_code == 200


def test_a_database_of_a_newer_release(directory: Path) -> None:
    with Gateway(directory) as running:
        state = running.state
    with closing(sqlite3.connect(state / "turnpike.db", isolation_level=None)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    [line] = refused(directory.parent / "again", state={"directory": str(state)}).splitlines()
    assert line.startswith("turnpike: revision '9999' is not one of this release")


def test_a_file_that_is_no_database(directory: Path) -> None:
    state = directory / "state"
    state.mkdir(parents=True)
    (state / "turnpike.db").write_text("this is no database, but long enough to be taken for the header of one " * 20)
    [line] = refused(directory).splitlines()
    assert line.startswith(f"turnpike: the database in {state} cannot be opened: file is not a database;")
