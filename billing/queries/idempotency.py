"""Creations that were sent with a key of the caller's own, each once."""

from sqlalchemy import Connection, delete, select, text, update

from billing import tables as t
from billing.queries.rows import Row

_i = t.idempotency.c
_CLAIM = text(
    "INSERT INTO idempotency (room, key, body_digest, answer, at_us) VALUES (:room, :key, :body_digest, NULL, :at_us)"
    " ON CONFLICT (room, key) DO NOTHING"
)


def claim(tx: Connection, room: str, key: str, body_digest: bytes, now_at_us: int) -> bool:
    """Whether nobody had. Another claim under way is waited for."""
    values = {"room": room, "key": key, "body_digest": body_digest, "at_us": now_at_us}
    return tx.execute(_CLAIM, values).rowcount == 1


def claimed(tx: Connection, room: str, key: str) -> Row:
    """Body's digest and answer of who came first."""
    return tx.execute(select(_i.body_digest, _i.answer).where(_i.room == room, _i.key == key)).one()


def answer(tx: Connection, room: str, key: str, answer: str) -> None:
    tx.execute(update(t.idempotency).where(_i.room == room, _i.key == key).values(answer=answer))


def drop(tx: Connection, room: str, key: str) -> None:
    tx.execute(delete(t.idempotency).where(_i.room == room, _i.key == key))


def forget(tx: Connection, before_us: int) -> None:
    tx.execute(delete(t.idempotency).where(_i.at_us < before_us))
