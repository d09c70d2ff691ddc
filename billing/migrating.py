"""Brings the database of the books to the schema of this release. Alembic is imported only when there is work."""

from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Connection

from billing import queries
from billing.database import open_engine, writing


class MigrationFailed(Exception):
    """A revision that this release does not have, or a database that is newer than it."""


def migrate(database_url: str, to: str = "head", *, dry_run: bool = False) -> tuple[str, ...]:
    """Answers the revisions that were applied, or with `dry_run` would be: all of them or none, in one transaction."""
    engine = open_engine(database_url)
    try:
        with writing(engine).begin() as connection:
            queries.lock_migrations(connection)
            steps = _steps(queries.schema_revision(connection), to)
            if steps and not dry_run:
                _upgrade(connection, steps[-1])
            return steps
    finally:
        engine.dispose()


def behind(connection: Connection) -> tuple[str, ...]:
    """The revisions that this release has and the database has not."""
    return _steps(queries.schema_revision(connection), "head")


def _steps(current: str | None, to: str) -> tuple[str, ...]:
    known = _revisions()
    for revision in (current, to):
        if revision not in (None, "head", *known):
            raise MigrationFailed(
                f"revision {revision!r} is not one of this release ({', '.join(known)}): install one that has it"
            )
    last = known[-1] if to == "head" else to
    return tuple(revision for revision in known if (current or "") < revision <= last)


def _revisions() -> tuple[str, ...]:
    # The files' names carry them, in order: `r0001_books.py`.
    return tuple(sorted(path.name[1:5] for path in (_home() / "versions").glob("r[0-9]*_*.py")))


def _home() -> Path:
    spec = find_spec("migrations")
    if spec is None or not spec.submodule_search_locations:
        raise MigrationFailed("the package `migrations` is missing: install turnpike-gateway whole")
    return Path(spec.submodule_search_locations[0])


def _upgrade(connection: Connection, to: str) -> None:
    from alembic import command  # noqa: PLC0415 - 0.2 s that an up-to-date start does not pay
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_home()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, to)
