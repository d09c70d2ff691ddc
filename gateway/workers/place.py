"""Where the sockets of one gateway's workers lie: in its state directory, or nearby where that path is too long.

Only their owner may enter the directory, so whoever speaks on the bus is this user.
"""

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

DIRECTORY: Final = "bus"
RECORD: Final = "bus.directory"
# What the kernel keeps of a Unix socket's path is 108 bytes, the closing NUL included.
PATH_BYTES_MAX: Final = 107
# The longest name that a socket gets there, its dot while it is made included.
NAME_BYTES_MAX: Final = 28


class NoPlace(Exception):
    """No directory for the sockets can be had; the message says what to do."""


def place(state: Path) -> Path:
    """Makes the directory, empty and private. The elsewhere of a long path is recorded, and taken again next time."""
    near = (state / DIRECTORY).absolute()
    try:
        directory = near if _fits(near) else _elsewhere(state / RECORD)
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o700)
        for left in directory.iterdir():
            left.unlink()
    except OSError as error:
        raise NoPlace(
            f"the workers' sockets get no directory: {error}; make room there, or set state.directory to another"
        ) from error
    if not _fits(directory):
        raise NoPlace(f"the path {directory} is too long for a socket: set TMPDIR or state.directory to a shorter one")
    return directory


def clear(state: Path, directory: Path) -> None:
    """Takes it away again."""
    shutil.rmtree(directory, ignore_errors=True)
    (state / RECORD).unlink(missing_ok=True)


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory)) + 1 + NAME_BYTES_MAX <= PATH_BYTES_MAX


def _elsewhere(record: Path) -> Path:
    recorded = _recorded(record)
    if recorded is not None:
        return recorded
    made = Path(tempfile.mkdtemp(prefix="turnpike-"))
    record.write_text(f"{made}\n")
    return made


def _recorded(record: Path) -> Path | None:
    """The directory of an earlier start; None where it is gone or somebody else's by now."""
    try:
        directory = Path(record.read_text().strip())
        found = directory.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return directory if ours and directory.name.startswith("turnpike-") else None
