"""One house a test, on its own database."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from billing.store import migrate
from tests.fixtures.books import EmptyBooks
from tests.gateway.admin.house import House


@pytest.fixture
def house(tmp_path: Path, empty_books: EmptyBooks) -> Iterator[House]:
    file = tmp_path / "books.sqlite"
    empty_books(file)
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
