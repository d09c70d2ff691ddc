"""One house a test, on its own database."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from billing.store import migrate
from tests.gateway.admin.house import House, url_of


@pytest.fixture(scope="session")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once: a copy of a file is what a test can afford."""
    file = tmp_path_factory.mktemp("books") / "empty.sqlite"
    migrate(url_of(file))
    return file


@pytest.fixture
def house(tmp_path: Path, empty_books: Path) -> Iterator[House]:
    file = tmp_path / "books.sqlite"
    shutil.copy(empty_books, file)
    built = House(file)
    yield built
    built.close()


@pytest.fixture
def house_on_postgresql(tmp_path: Path, postgres_url: str, request: pytest.FixtureRequest) -> Iterator[House]:
    """In a schema of its own in the session's PostgreSQL."""
    schema = f"h{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        url = f"{postgres_url}&options=-csearch_path%3D{schema}"
        migrate(url)
        built = House(tmp_path / "books", url)
        yield built
        built.close()
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
