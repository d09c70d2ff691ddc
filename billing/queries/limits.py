"""Limits of models, which everybody shares; those of keys and teams stand in their own rows."""

from sqlalchemy import Connection, select

from billing import tables as t


def model_limits(tx: Connection) -> dict[str, str]:
    """The documents, by the pattern of model names that each is for."""
    return {row.model: row.limits for row in tx.execute(select(t.model_limits))}
