"""Whose turn it is to write to a SQLite file: several processes queue for it, instead of trying again and again.

SQLite's own waiting sleeps longer the longer one has waited, so that whoever came first is served last. Here the kernel
wakes those who wait as soon as the one before has ended.
"""

import fcntl
import os
import sqlite3
import threading
from contextlib import suppress
from typing import Final

SUFFIX: Final = ".writer"


class QueueingConnection(sqlite3.Connection):
    """Holds the turn from `take_turn` until its transaction ends, however it ends."""

    _turn: int | None = None

    def take_turn(self, path: str, wait_ms: int) -> None:
        """Waits for the turn; goes on without it after `wait_ms`: whoever has it may be stopped, and SQLite decides."""
        if self._turn is None:
            self._turn = _locked(path, wait_ms)

    def commit(self) -> None:
        super().commit()
        self._give_turn()

    def rollback(self) -> None:
        try:
            super().rollback()
        finally:
            self._give_turn()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._give_turn()

    def _give_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            os.close(turn)


def _locked(path: str, wait_ms: int) -> int | None:
    """A descriptor that holds the lock, which ends with it; None when it was not to be had in time."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _Waiting(fd).within(wait_ms)
    except BaseException:
        os.close(fd)
        raise
    return fd


class _Waiting:
    """A thread waits in the kernel, which knows no time limit; who asked waits for the thread, and may give up."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._agreed = threading.Lock()
        self._locked = threading.Event()
        self._given_up = False
        threading.Thread(target=self._wait, name="turnpike-writer-turn", daemon=True).start()

    def within(self, wait_ms: int) -> int | None:
        self._locked.wait(wait_ms / 1000)
        with self._agreed:
            if self._locked.is_set():
                return self._fd
            self._given_up = True
            return None

    def _wait(self) -> None:
        with suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        with self._agreed:
            if self._given_up:
                os.close(self._fd)
            self._locked.set()
