"""Whether nobody will ever tell any more what became of a lease: what is closed while somebody can is counted twice."""

import fcntl
import os
from pathlib import Path

from billing.journal import segments
from billing.refusals import Conflict


def demand_lost(state: Path, journal: str) -> None:
    """Raises `Conflict` while a worker has the journal open, and while a start would still read it."""
    for path in sorted((state / "journal").glob("**/name")):
        if path.read_text().strip() != journal:
            continue
        fd = os.open(path.parent / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"the worker of journal {journal} runs and gives it back itself; stop the gateway first"
            ) from None
        finally:
            os.close(fd)
        if segments(path.parent):
            raise Conflict(
                f"the journal in {path.parent} tells what became of it: start the gateway once, it reads it;"
                " force closes it all the same"
            )
