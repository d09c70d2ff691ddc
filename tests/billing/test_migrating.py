"""The schema that the migrations make is the one that the queries read, on both engines, all of it or nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from billing import migrating
from billing.database import UnsupportedDatabase, normalised, open_engine
from billing.migrating import MigrationFailed, migrate
from billing.tables import metadata
from tests.billing.ledger_rows import query

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROOT = Path(__file__).parents[2]


def differences(connection: Connection) -> list[object]:
    ours = set(metadata.tables)
    context = MigrationContext.configure(
        connection,
        opts={"include_name": lambda name, kind, _: kind != "table" or name in ours, "compare_type": True},
    )
    return list(compare_metadata(context, metadata))


def test_the_migrations_make_what_the_queries_read(url: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        assert differences(connection) == []
    engine.dispose()


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/books.db"
    assert migrate(url, dry_run=True) == ("0001", "0002")
    assert query(url, "SELECT name FROM sqlite_master") == []
    assert migrate(url, "0001") == ("0001",)
    assert migrate(url) == ("0002",)
    assert migrate(url, dry_run=True) == ()


def test_a_revision_that_nobody_has_is_refused(sqlite_url: str) -> None:
    with pytest.raises(MigrationFailed, match="'nine'"):
        migrate(sqlite_url, "nine")
    query(sqlite_url, "UPDATE alembic_version SET version_num = '9999' RETURNING 1")
    with pytest.raises(MigrationFailed, match="'9999'"):
        migrate(sqlite_url)


@pytest.mark.process
def test_an_up_to_date_start_does_not_load_alembic(sqlite_url: str) -> None:
    program = f"import sys; from billing.store import migrate; print(migrate({sqlite_url!r}), 'alembic' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == "() False"


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("postgres://u:p@h:5/db?sslmode=require", "postgresql+psycopg://u:p@h:5/db?sslmode=require"),
        ("postgresql+asyncpg://u:p%40@h/db?ssl=require", "postgresql+psycopg://u:p%40@h/db?sslmode=require"),
        ("postgresql://h/db", "postgresql+psycopg://h/db"),
        ("sqlite:////tmp/x.db", "sqlite+pysqlite:////tmp/x.db"),
        ("sqlite+aiosqlite:///x.db", "sqlite+pysqlite:///x.db"),
    ],
)
def test_databases_are_understood_as_people_have_them(given: str, understood: str) -> None:
    assert normalised(given).render_as_string(hide_password=False) == understood


def test_another_database_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedDatabase, match="mysql"):
        open_engine("mysql://h/db")


def test_an_installation_without_its_migrations_says_so(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "find_spec", lambda name: None)
    with pytest.raises(MigrationFailed, match="install turnpike-gateway whole"):
        migrate(sqlite_url)
