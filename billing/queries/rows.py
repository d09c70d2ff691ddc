"""What the statements share: rows put in by the hundred, pages, marks for parameters, locks on rows."""

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Dialect, Select, and_, or_, select, tuple_

from billing import tables as t

# In SQLite: statements are prepared once per size and kept by the driver; what is left over goes row by row.
_SIZES: Final = (512, 128, 32)
_IDS_IN_ONE: Final = 256

Row = tuple[Any, ...]


def insert(tx: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row], otherwise: str = "") -> None:
    if tx.dialect.name == "postgresql":
        if rows:
            values = tuple(map(list, zip(*rows, strict=True)))
            tx.exec_driver_sql(_insertion_of_columns(tx.dialect, table, columns, otherwise), values)
        return
    at = 0
    for size in _SIZES:
        while len(rows) - at >= size:
            part = rows[at : at + size]
            tx.exec_driver_sql(_insertion_of_rows(table, columns, size, otherwise), tuple(chain.from_iterable(part)))
            at += size
    if at < len(rows):
        tx.exec_driver_sql(_insertion_of_rows(table, columns, 1, otherwise), [*rows[at:]])


@lru_cache(maxsize=256)
def _insertion_of_rows(table: str, columns: tuple[str, ...], rows: int, otherwise: str) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}{otherwise}"  # noqa: S608


@lru_cache(maxsize=32)
def _insertion_of_columns(dialect: Dialect, table: str, columns: tuple[str, ...], otherwise: str) -> str:
    """An array a column: psycopg read thousands of placeholders for 70 us a row."""
    types = (t.metadata.tables[table].c[name].type.compile(dialect) for name in columns)
    arrays = ", ".join(f"%s::{type_}[]" for type_ in types)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays}){otherwise}"  # noqa: S608


def mark(tx: Connection) -> str:
    return "?" if tx.dialect.paramstyle == "qmark" else "%s"


def change(tx: Connection, statement: str, rows: Sequence[Row]) -> None:
    """Executes a statement for each row of parameters, in their order; `?` marks one."""
    if rows:
        tx.exec_driver_sql(statement.replace("?", mark(tx)), [*rows])


def with_ids(tx: Connection, statement: str, ids: Collection[int]) -> Sequence[Any]:
    """The rows of a statement whose `{ids}` stands for a condition: that the column before it is one of those."""
    if not ids:
        return ()
    if tx.dialect.name == "postgresql":
        return tx.exec_driver_sql(statement.format(ids="= ANY(%s)"), ([*ids],)).all()
    found: list[Any] = []
    wanted = [*ids]
    for at in range(0, len(wanted), _IDS_IN_ONE):
        few = wanted[at : at + _IDS_IN_ONE]
        # Few lengths, so that the driver keeps what it prepared: the last one is named again.
        few += few[-1:] * ((1 << (len(few) - 1).bit_length()) - len(few))
        found += tx.exec_driver_sql(statement.format(ids=_among(len(few))), tuple(few))
    return found


@lru_cache(maxsize=16)
def _among(count: int) -> str:
    return f"IN ({', '.join('?' * count)})"


def any_of(columns: Sequence[ColumnElement[Any]], rows: Sequence[Row]) -> ColumnElement[bool]:
    """Whether these columns have the values of one of the rows. SQLite finds each by an index; for `(a, b) IN …` it
    uses no more of one than its first column, or none at all.
    """
    return or_(*(and_(*(column == value for column, value in zip(columns, row, strict=True))) for row in rows))


def chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def page(
    tx: Connection, statement: Select[Any], at: ColumnElement[int], row_id: ColumnElement[str], after: str | None
) -> list[Row]:
    """A page that begins behind the row of that id, in the order of time and id."""
    if after is not None:
        begin = select(at, row_id).where(row_id == after).order_by(None).limit(1)
        found = tx.execute(begin).first()
        if found is None:
            return []
        statement = statement.where(tuple_(at, row_id) > tuple_(*found))
    return [*tx.execute(statement)]


def first(tx: Connection, statement: Select[Any], *, locked: bool) -> Row | None:
    return tx.execute(statement.with_for_update() if locked else statement).first()
