"""`turnpike migrate`: the database to this version's schema, or to another one, or only the SQL of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from billing.store import migrate as migrate_database
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from gateway.cli.situation import Situation


def migrate(here: Situation) -> None:
    state = here.settings().state
    to, dry_run = here.option("to"), here.option("dry_run")
    try:
        state.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        migrate_database(state.database_url, to, dry_run=dry_run)
    except (OSError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error)
        raise Refused(f"the database in {state.directory} cannot be migrated: {reason}") from None
    if not dry_run:
        print(f"{state.database_url.removeprefix('sqlite:///')}: at {to}")
