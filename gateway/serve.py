"""Runs the gateway: one worker in this process, or a parent over several; both greet, serve and drain in order."""

from collections.abc import Mapping
from typing import Final

import uvloop
from sqlalchemy.exc import SQLAlchemyError

from billing.migrating import MigrationFailed, migrate
from gateway.config.schema import Settings
from gateway.greeting import AdminKey, admin_key, announced, greet
from gateway.log import configure_log
from gateway.workers.refusal import CannotServe

__all__ = ["CannotServe", "serve"]

ALONE: Final = 1


def serve(settings: Settings, *, environ: Mapping[str, str]) -> int:
    """Serves until SIGTERM or SIGINT. Gives the exit status; raises `CannotServe`."""
    configure_log()
    directory = settings.state.directory
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CannotServe(f"state.directory {directory} cannot be made: {error.strerror}; name another") from error
    key = admin_key(settings)
    try:
        lacking = migrate(settings.state.database_url, dry_run=not settings.state.migrates_itself)
    except MigrationFailed as error:
        raise CannotServe(str(error)) from error
    except SQLAlchemyError as error:
        where = f"in {directory}" if settings.state.migrates_itself else "that state.database names"
        reason = f"the database {where} cannot be opened: {getattr(error, 'orig', None) or error}"
        raise CannotServe(f"{reason}; repair it or bring a backup back, or set state.database") from error
    if lacking and not settings.state.migrates_itself:
        raise CannotServe(
            f"the database lacks revisions {', '.join(lacking)}: run `turnpike migrate`, or add --migrate"
        )
    if settings.server.workers == ALONE:
        return uvloop.run(_alone(settings, environ, key))
    from gateway.workers.parent import supervise  # noqa: PLC0415  # as the worker below: each kind of process its own

    return uvloop.run(supervise(settings, environ, key))


async def _alone(settings: Settings, environ: Mapping[str, str], key: AdminKey) -> int:
    from gateway.app import lone  # noqa: PLC0415  # a parent serves nothing, and need not hold what does
    from gateway.workers.bus import Bus  # noqa: PLC0415
    from gateway.workers.duty import begin  # noqa: PLC0415

    worker = lone()
    duty = await begin(settings, environ, key.secret, worker, Bus(None, worker.boot_id))
    greet(settings.server.host, duty.port, key, duty.greeting())
    with announced(settings, duty.port):
        await duty.until_told()
    return 0
