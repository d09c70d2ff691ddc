"""Who changed what: one append-only chain of rows, each written in the transaction of the change that it tells of."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from billing import queries

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_pack: Final = msgspec.msgpack.Encoder().encode


class Actor(NamedTuple):
    """`admin_key`, `user`, `command` or `system`; of a user the id."""

    type: str
    id: str | None = None


def record(
    tx: Connection,
    actor: Actor,
    action: str,
    object_id: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    now_at_us: int,
) -> None:
    """Adds a row to the chain. No secret may be in `before` or `after`."""
    last_id, prev_hash = queries.audit_end(tx)
    texts = tuple(None if state is None else _encode(state).decode() for state in (before, after))
    row = (last_id + 1, now_at_us, actor.type, actor.id, action, object_id, *texts)
    queries.insert_audit(tx, (*row, prev_hash, sha256(prev_hash + _pack(row)).digest()))
