"""Limits of models, which everybody shares; those of keys and teams stand in their own rows."""

from sqlalchemy import Connection, delete, select, update

from billing import tables as t
from billing.queries.rows import Row, first

_m = t.model_limits.c


def model_limits(tx: Connection) -> dict[str, str]:
    """The documents, by the pattern of model names that each is for."""
    return {row.model: row.limits for row in tx.execute(select(t.model_limits))}


def list_model_limits(tx: Connection) -> list[Row]:
    """Pattern, document and version, in the order of the patterns' letters."""
    return sorted(tuple(row) for row in tx.execute(select(_m.model, _m.limits, _m.version)))


def get_model_limits(tx: Connection, model: str, *, locked: bool = False) -> Row | None:
    return first(tx, select(_m.model, _m.limits, _m.version).where(_m.model == model), locked=locked)


def insert_model_limits(tx: Connection, model: str, limits: str) -> None:
    tx.execute(t.model_limits.insert().values(model=model, limits=limits, version=1))


def update_model_limits(tx: Connection, model: str, limits: str) -> None:
    """Of a row that the caller has locked."""
    tx.execute(update(t.model_limits).where(_m.model == model).values(limits=limits, version=_m.version + 1))


def delete_model_limits(tx: Connection, model: str) -> None:
    tx.execute(delete(t.model_limits).where(_m.model == model))
