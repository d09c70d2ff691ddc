"""Who changed what: one append-only chain of rows, each written in the transaction of the change that it tells of."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

from billing import queries
from billing.audit_head import lost, read_audit_heads
from billing.pages import Page, paged
from billing.queries import audit as q
from billing.queries import idempotency
from billing.refusals import Conflict, Invalid

VERIFIED_AT_ONCE: Final = 1000

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_pack: Final = msgspec.msgpack.Encoder().encode


class TakenOver(Conflict):
    """Another request under the same idempotency key makes it now."""


class Actor(NamedTuple):
    """`admin_key`, `user`, `command` or `system`; of a user the id. With a claim, what it makes is made under that."""

    type: str
    id: str | None = None
    claim: idempotency.Claim | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """`before` is None of what was made, `after` of what was taken away."""

    id: int
    at_us: int
    actor: Actor
    action: str
    object_id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    hash: bytes


class AuditLog:
    def __init__(self, engine: Engine) -> None:
        self._reading = engine

    def page(
        self,
        limit: int,
        after: str | None = None,
        object_id: str | None = None,
        action: str | None = None,
        actor_id: str | None = None,
    ) -> Page[AuditRow]:
        """The last ones, newest first."""
        if after is not None and not after.isdecimal():
            raise Invalid(f"{after[:40]!r} is no id of the audit log: pass the `next` of the page before")
        given = {"object_id": object_id, "action": action, "actor_id": actor_id}
        filters = {name: value for name, value in given.items() if value is not None}
        with self._reading.begin() as tx:
            rows = q.list_audit(tx, limit + 1, None if after is None else int(after), filters)
        return paged([_shown(row) for row in rows], limit, lambda row: str(row.id))

    def verify(self) -> tuple[int, ...]:
        """The ids of rows that are not as they were written, or that do not follow on the row before them."""
        with self._reading.begin() as tx:
            return wrong_rows(tx)

    def lost(self, state: Path) -> tuple[str, ...]:
        """What the log lacks of what was signed below that directory, in sentences."""
        heads = read_audit_heads(state)  # first: they follow the log
        with self._reading.begin() as tx:
            return lost(tx, heads)


def wrong_rows(tx: Connection) -> tuple[int, ...]:
    """The ids of rows that are not as they were written, or that do not follow on the row before them."""
    bad: list[int] = []
    last_id, last_hash = 0, queries.HASH_START
    while rows := q.audit_after(tx, last_id, VERIFIED_AT_ONCE):
        for *told, before, own in rows:
            prev_hash, hash_ = _bytes(before), _bytes(own)
            follows = told[0] == last_id + 1 and prev_hash == last_hash
            if not follows or hash_ != row_hash(prev_hash, tuple(told)):
                bad.append(told[0])
            last_id, last_hash = told[0], hash_
    return tuple(bad)


def record(
    tx: Connection,
    actor: Actor,
    action: str,
    object_id: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    now_at_us: int,
) -> None:
    """Adds a row to the chain. No secret may be in `before` or `after`. Raises `TakenOver` where the actor's claim is
    not his any more: then nothing of this transaction may stay.
    """
    if actor.claim is not None and not idempotency.made(tx, actor.claim, object_id):
        raise TakenOver("another request under this idempotency key has taken over: send it again for its answer")
    last_id, prev_hash = queries.audit_end(tx)
    texts = tuple(None if state is None else _encode(state).decode() for state in (before, after))
    row = (last_id + 1, now_at_us, actor.type, actor.id, action, object_id, *texts)
    queries.insert_audit(tx, (*row, prev_hash, row_hash(prev_hash, row)))


def row_hash(prev_hash: bytes, row: queries.Row) -> bytes:
    return sha256(prev_hash + _pack(row)).digest()


def _bytes(value: object) -> bytes:
    """What stands where a hash should; anything else fits nothing."""
    return bytes(value) if isinstance(value, bytes | memoryview) else repr(value).encode()


def _shown(row: queries.Row) -> AuditRow:
    row_id, at_us, actor_type, actor_id, action, object_id, before, after, _, hash_ = row
    return AuditRow(
        row_id, at_us, Actor(actor_type, actor_id), action, object_id, _state(before), _state(after), bytes(hash_)
    )


def _state(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else _decode(text)
