"""The heads of the chains, signed and kept outside the database, so that a cut tail shows.

A head is written after its batch is committed, so it may lag behind the database by one batch and never runs ahead.
"""

import fcntl
import hmac
import logging
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Engine

from billing import queries

HEAD_BYTES: Final = 512  # one sector: written whole or not at all
KEY_FILE: Final = "ledger.key"
KEY_BYTES: Final = 32
READ_TRIES_MAX: Final = 20  # a head may be read while it is written

_logger: Final = logging.getLogger(__name__)


class HeadUnsigned(ValueError):
    """A head whose signature does not fit: somebody wrote it without the key, or its bytes have changed."""


class Head(msgspec.Struct, frozen=True):
    """Where a writer's chain ended when this was written: its last entry's id and its last batch's hash."""

    writer: int
    last_id: int
    hash: str
    at_us: int


class _Signed(msgspec.Struct, frozen=True):
    head: msgspec.Raw
    signature: str


_encode: Final = msgspec.json.Encoder().encode
_signed: Final = msgspec.json.Decoder(_Signed)
_head: Final = msgspec.json.Decoder(Head)


class Heads:
    """The heads of one database's chains, below one state directory."""

    def __init__(self, state: Path, engine: Engine) -> None:
        self.directory = state / "ledger" / "heads"
        self._engine = engine
        self._key = signing_key(state)
        self._last: dict[int, str] = {}  # by writer: what its file holds, as this process wrote it
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, writer: int, end: tuple[int, bytes], prev_hash: bytes, at_us: int, *, shared: bool = False) -> None:
        """A chain has grown to that end. A writer of several processes is `shared`: the newest head stays.

        What is in the database stays in it whether or not its head can be written: an error is told and no more.
        """
        try:
            self._put(Head(writer, end[0], end[1].hex(), at_us), prev_hash, shared=shared)
        except OSError:
            _logger.exception(
                "the head of writer %d's chain cannot be written: free the disk of %s", writer, self.directory
            )

    def _put(self, head: Head, prev_hash: bytes, *, shared: bool) -> None:
        writer = head.writer
        fd = os.open(self.directory / f"{writer}.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if shared:
                fcntl.flock(fd, fcntl.LOCK_EX)
            known = not shared and self._last.get(writer) == prev_hash.hex()
            if known or self._older(fd, writer, prev_hash, head.last_id):
                os.pwrite(fd, document(self._key, head), 0)
                self._last[writer] = head.hash
        finally:
            os.close(fd)

    def _older(self, fd: int, writer: int, prev_hash: bytes, last_id: int) -> bool:
        """Looks at what this process has not written itself. A head that the database has lost is set aside."""
        found = os.pread(fd, HEAD_BYTES, 0)
        if not found.strip(b"\0 \n"):
            return True
        try:
            old = opened(self._key, found)
        except HeadUnsigned:
            self._set_aside(found, writer, last_id)
            return True
        if old.last_id >= last_id and self._stands(old):
            return False
        if old.hash != prev_hash.hex() and not self._stands(old):
            self._set_aside(found, writer, old.last_id)
        return True

    def _stands(self, head: Head) -> bool:
        with self._engine.connect() as connection, connection.begin():
            return queries.chain_holds(connection, head.writer, head.last_id, bytes.fromhex(head.hash))

    def _set_aside(self, found: bytes, writer: int, last_id: int) -> None:
        path = self.directory / f"{writer}.lost-{last_id}.json"
        path.write_bytes(found)
        _logger.error(
            "the database has lost the end of writer %d's chain: restore it from a backup; `turnpike ledger verify`"
            " tells more, and %s keeps the head as it was",
            writer,
            path,
        )


def read_heads(state: Path) -> dict[str, Head | None]:
    """Every head of the ledger by its file's name; None where no signature fits. Makes nothing."""
    return heads_of(state, (state / "ledger" / "heads").glob("*.json"))


def heads_of(state: Path, files: Iterable[Path]) -> dict[str, Head | None]:
    key = state / KEY_FILE
    secret = bytes.fromhex(key.read_text().strip()) if key.exists() else b""
    return {path.name: _of_file(secret, path) for path in sorted(files)}


def _of_file(key: bytes, path: Path) -> Head | None:
    for _ in range(READ_TRIES_MAX):
        with suppress(HeadUnsigned):
            return opened(key, path.read_bytes())
    return None


def opened(key: bytes, found: bytes) -> Head:
    """What a head's file holds. Raises `HeadUnsigned`."""
    try:
        signed = _signed.decode(found.strip(b"\0 \n"))
        if hmac.compare_digest(_signature(key, bytes(signed.head)), signed.signature):
            return _head.decode(signed.head)
    except (msgspec.MsgspecError, TypeError) as error:
        raise HeadUnsigned(f"no head: {error}") from None
    raise HeadUnsigned("the signature does not fit")


def document(key: bytes, head: Head) -> bytes:
    """What a head's file is to hold, in one sector."""
    body = _encode(head)
    return _encode(_Signed(msgspec.Raw(body), _signature(key, body))).ljust(HEAD_BYTES - 1) + b"\n"


def _signature(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, "sha256").hex()


def signing_key(state: Path) -> bytes:
    """Made by whoever comes first; readable by its owner alone."""
    path = state / KEY_FILE
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        made = state / f".ledger.key.{secrets.token_hex(8)}"
        fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, secrets.token_bytes(KEY_BYTES).hex().encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        with suppress(FileExistsError):
            path.hardlink_to(made)
        made.unlink()
    text = path.read_text().strip()
    if len(text) != 2 * KEY_BYTES:
        raise ValueError(f"{path} holds no key of the ledger: restore it, or heads signed with it are worth nothing")
    return bytes.fromhex(text)
