"""Creations that were sent with a key of the caller's own, each once."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, select, text, update

from billing import tables as t

_i = t.idempotency.c
_CLAIM = text(
    "INSERT INTO idempotency (room, key, body_digest, token, answer, at_us, claimed_at_us)"
    " VALUES (:room, :key, :body_digest, :token, NULL, :at_us, :at_us) ON CONFLICT (room, key) DO NOTHING"
)


class Claim(NamedTuple):
    """Who makes what was sent under a key: whoever has the token that stands there."""

    room: str
    key: str
    token: str


class Claimed(NamedTuple):
    body_digest: bytes
    token: str
    made: str | None
    answer: str | None
    claimed_at_us: int


def claim(tx: Connection, claim: Claim, body_digest: bytes, now_at_us: int) -> bool:
    """Whether nobody had. Another claim under way is waited for."""
    values = {**claim._asdict(), "body_digest": body_digest, "at_us": now_at_us}
    return tx.execute(_CLAIM, values).rowcount == 1


def claimed(tx: Connection, room: str, key: str) -> Claimed:
    """As who came first, or took over from there, has left it."""
    columns = (_i[name] for name in Claimed._fields)
    return Claimed(*tx.execute(select(*columns).where(_i.room == room, _i.key == key)).one())


def take_over(tx: Connection, claim: Claim, before: str, now_at_us: int) -> bool:
    """Whether it still stood so: what has that other token, and has made nothing."""
    stands = and_(_its(claim._replace(token=before)), _i.made.is_(None), _i.answer.is_(None))
    values = {"token": claim.token, "claimed_at_us": now_at_us}
    return tx.execute(update(t.idempotency).where(stands).values(**values)).rowcount == 1


def made(tx: Connection, claim: Claim, object_id: str) -> bool:
    """Whether it was the claim's to make."""
    return tx.execute(update(t.idempotency).where(_its(claim)).values(made=object_id)).rowcount == 1


def answer(tx: Connection, claim: Claim, answer: str) -> None:
    tx.execute(update(t.idempotency).where(_its(claim)).values(answer=answer))


def drop(tx: Connection, claim: Claim) -> None:
    """Of what has made nothing."""
    tx.execute(delete(t.idempotency).where(_its(claim), _i.made.is_(None)))


def forget(tx: Connection, before_us: int) -> None:
    tx.execute(delete(t.idempotency).where(_i.at_us < before_us))


def _its(claim: Claim) -> ColumnElement[bool]:
    return and_(_i.room == claim.room, _i.key == claim.key, _i.token == claim.token)
