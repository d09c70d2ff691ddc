"""Where the audit log ends, signed and kept outside the database like the ledger's heads, so that a cut tail shows.

It follows the log: what was added since it was last put can be cut unseen, and nothing before that.
"""

import fcntl
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine

from billing.heads import HEAD_BYTES, Head, HeadUnsigned, document, heads_of, opened, signing_key
from billing.queries import HASH_START
from billing.queries import audit as q

AUDIT: Final = -1  # stands for a writer: what is signed for the ledger is no head of this log

_logger: Final = logging.getLogger(__name__)


class AuditHead:
    """The head of one database's audit log, below one state directory; several processes may put it."""

    def __init__(self, state: Path, engine: Engine) -> None:
        self._directory = state / "ledger"
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = signing_key(state)
        self._engine = engine
        self._put: tuple[int, bytes] | None = None

    def put(self, now_at_us: int) -> None:
        """After a commit, or now and then. A disk that does not take it is told, and no more."""
        with self._engine.begin() as tx:
            end = q.audit_last(tx)
        if end in (self._put, (0, HASH_START)):
            return
        try:
            self._write(Head(AUDIT, end[0], end[1].hex(), now_at_us))
        except OSError:
            _logger.exception("the head of the audit log cannot be written: free the disk of %s", self._directory)
        else:
            self._put = end

    def _write(self, head: Head) -> None:
        fd = os.open(self._directory / "audit.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            found = os.pread(fd, HEAD_BYTES, 0)
            if not found.strip(b"\0 \n") or self._gives_way(found, head):
                os.pwrite(fd, document(self._key, head), 0)
        finally:
            os.close(fd)

    def _gives_way(self, found: bytes, head: Head) -> bool:
        """Whether what another process or an earlier one wrote is older. What the database has lost is set aside."""
        try:
            old = opened(self._key, found)
        except HeadUnsigned:
            old = None
        if old is not None:
            with self._engine.begin() as tx:
                stands = _stands(tx, old)
            if stands:
                return old.last_id < head.last_id
        path = self._directory / f"audit.lost-{head.last_id if old is None else old.last_id}.json"
        path.write_bytes(found)
        _logger.error(
            "the database has lost the end of the audit log: restore it from a backup; `turnpike ledger verify` tells"
            " more, and %s keeps the head as it was",
            path,
        )
        return True


def read_audit_heads(state: Path) -> dict[str, Head | None]:
    """The head by its file's name, and those that were set aside; None where no signature fits. Makes nothing."""
    return heads_of(state, (state / "ledger").glob("audit*.json"))


def lost(tx: Connection, heads: Mapping[str, Head | None]) -> tuple[str, ...]:
    """What the log lacks of what was signed, in sentences. The heads were read before."""
    told = []
    for name, head in heads.items():
        if head is None or head.writer != AUDIT:
            told.append(f"the head {name} is not signed with this ledger's key: restore it, or look who wrote it")
        elif not _stands(tx, head):
            end = q.audit_last(tx)[0] or "nothing"
            told.append(
                f"the audit log was signed up to row {head.last_id} and ends at {end}, or its end is another one now:"
                f" rows are missing ({name})"
            )
    return tuple(told)


def _stands(tx: Connection, head: Head) -> bool:
    return q.audit_hash(tx, head.last_id) == bytes.fromhex(head.hash)
