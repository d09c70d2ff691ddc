"""`turnpike migrate`: the database to this release's schema, or to an earlier revision of it, all or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from billing.migrating import MigrationFailed
from billing.migrating import migrate as migrate_database
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from gateway.cli.situation import Situation
    from gateway.config.schema import Settings


def migrate(here: Situation) -> None:
    dry_run = here.option("dry_run")
    revisions = migrated(here.settings(), here.option("to"), dry_run=dry_run)
    for revision in revisions:
        print(f"{'would apply' if dry_run else 'applied'} {revision}")
    if not revisions:
        print("nothing to do: the database has this schema")


def migrated(settings: Settings, to: str = "head", *, dry_run: bool = False) -> tuple[str, ...]:
    """The revisions that were applied, or would be."""
    directory = settings.state.directory
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return migrate_database(settings.state.database_url, to, dry_run=dry_run)
    except MigrationFailed as error:
        raise Refused(str(error)) from None
    except (OSError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error)
        raise Refused(f"the database in {directory} cannot be migrated: {reason}") from None
