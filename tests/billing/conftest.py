"""A database of its own for each test, on both engines, and books that are closed whatever happened."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from billing.books import Books
from billing.migrating import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.fixtures.books import EmptyBooks

    Opened = Callable[..., AbstractContextManager[Books]]


def now_us() -> int:
    return time.time_ns() // 1000  # noqa: TID251 - a test's composition root


@pytest.fixture
def sqlite_url(tmp_path: Path, empty_books: EmptyBooks) -> str:
    return empty_books(tmp_path / "books.db")


@pytest.fixture
def empty_postgres_url(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A schema of the test's own in the session's PostgreSQL."""
    schema = f"t{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        yield f"{postgres_url}&options=-csearch_path%3D{schema}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    found = str(request.getfixturevalue("empty_postgres_url"))
    migrate(found)
    return found


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    @contextmanager
    def opening(url: str, **other: Any) -> Iterator[Books]:
        books = Books(url, tmp_path / "journal", **({"clock": now_us} | other))
        books.open()
        try:
            yield books
        finally:
            books.close()

    return opening
