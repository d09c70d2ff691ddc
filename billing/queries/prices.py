"""The price list: rows are added and retired, never changed."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select, update

from billing import tables as t
from billing.queries.rows import Row, first, insert, page

_p = t.price_list.c
PRICE_ROW_COLUMNS = tuple(_p.keys())


def insert_prices(tx: Connection, rows: Sequence[Row]) -> None:
    insert(tx, "price_list", PRICE_ROW_COLUMNS, rows)


def list_prices(
    tx: Connection, limit: int, after: str | None, filters: Mapping[str, str], *, retired: bool
) -> list[Row]:
    """Oldest first."""
    statement = select(t.price_list).order_by(_p.created_at_us, _p.id).limit(limit)
    statement = statement.where(*(_p[name] == value for name, value in filters.items()))
    if not retired:
        statement = statement.where(_p.deleted_at_us.is_(None))
    return page(tx, statement, _p.created_at_us, _p.id, after)


def live_prices(tx: Connection) -> list[Row]:
    return [*tx.execute(select(t.price_list).where(_p.deleted_at_us.is_(None)).order_by(_p.created_at_us, _p.id))]


def get_price(tx: Connection, price_id: str, *, locked: bool = False) -> Row | None:
    return first(tx, select(t.price_list).where(_p.id == price_id), locked=locked)


def rows_at(tx: Connection, name: tuple[str, str, str | None], effective_at_us: int) -> list[Row]:
    """The live rows of a model and team for exactly this instant."""
    provider, model, team_id = name
    same = (_p.provider == provider, _p.model == model, _p.team_id.is_not_distinct_from(team_id))
    now = (_p.effective_at_us == effective_at_us, _p.deleted_at_us.is_(None))
    return [*tx.execute(select(t.price_list).where(*same, *now))]


def retire_price(tx: Connection, price_id: str, deleted_at_us: int) -> None:
    tx.execute(update(t.price_list).where(_p.id == price_id).values(deleted_at_us=deleted_at_us))
