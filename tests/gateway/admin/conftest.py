"""One house a test, on its own database."""

import shutil
from collections.abc import Iterator
from pathlib import Path

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
