"""Books at this release's schema with nothing in them, migrated once and copied for each who wants some."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg
from sqlalchemy import make_url

from billing.database import normalised
from billing.migrating import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a copy of PostgreSQL's is made by: whole files, where the other way goes through the log page by page.
COPY: Final = "STRATEGY FILE_COPY"


class Blank:
    """`url` is that of books which nobody writes to."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def copied(self, directory: Path) -> Iterator[str]:
        """A copy of one's own, gone afterwards."""
        url = make_url(self.url)
        if normalised(self.url).get_backend_name() == "sqlite":
            assert url.database is not None
            path = directory / "books.db"
            shutil.copyfile(url.database, path)
            yield f"sqlite:///{path}"
            return
        name = f"copy_{os.urandom(6).hex()}"
        with _server(self.url) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {url.database} {COPY}")
            yield with_database(self.url, name)
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def blank_books(server: str | None, directory: Path) -> Iterator[Blank]:
    """On that PostgreSQL server; on SQLite without one."""
    if server is None:
        url = f"sqlite:///{directory}/blank.db"
        migrate(url)
        yield Blank(url)
        return
    name = f"blank_{os.urandom(6).hex()}"
    with _server(server) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        url = with_database(server, name)
        migrate(url)
        yield Blank(url)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def with_database(url: str, name: str) -> str:
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{query}"


@contextmanager
def _server(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as admin:
        yield admin
