"""LiteLLM's tables out of its PostgreSQL: read as of one instant, as JSON, and nothing is written there.

As JSON, so that a column that this release of LiteLLM does not have yet, or has no more, needs no word of ours.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sqlalchemy import text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from billing.database import UnsupportedDatabase, open_engine
from gateway.cli.litellm.rows import PREFIX, TABLES
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

# What Prisma reads of an address and libpq refuses. `schema` is meant, and is obeyed.
PRISMAS_OWN: Final = frozenset(
    {"connection_limit", "pool_timeout", "pgbouncer", "socket_timeout", "schema", "statement_cache_size", "sslidentity"}
    | {"sslpassword", "sslcert", "sslaccept"}
)
ROWS_AT_ONCE: Final = 1000
NO_ADDRESS: Final = "LiteLLM keeps its data in PostgreSQL: give --database postgresql://USER:PASSWORD@HOST/NAME"
LOOKED_IN: Final = "set_config('search_path', :schema, true)"


def read_database(address: str) -> dict[str, list[dict[str, Any]]]:
    url, schema = plain_address(address)
    try:
        engine = open_engine(url)
        try:
            with engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as tx:
                tx.execute(text(f"SELECT {LOOKED_IN}"), {"schema": f'"{schema}"'})
                found = {name: list(_rows(tx, name)) for name in TABLES}
        finally:
            engine.dispose()
    except (ArgumentError, UnsupportedDatabase):
        raise Refused(NO_ADDRESS) from None
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or type(error).__name__).split())
        raise Refused(f"LiteLLM's database cannot be read: {reason}") from None
    if not any(found.values()):
        raise Refused(f"the database has none of LiteLLM's tables in its schema {schema!r}: is it the right one?")
    return found


def plain_address(address: str) -> tuple[str, str]:
    """As everybody else writes it, and the schema that Prisma's `?schema=` names."""
    parts = urlsplit(address)
    if parts.scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise Refused(NO_ADDRESS)
    query = parse_qsl(parts.query)
    schema = next((value for name, value in query if name == "schema"), "public")
    kept = [(name, value) for name, value in query if name not in PRISMAS_OWN]
    return urlunsplit(parts._replace(query=urlencode(kept))), schema.replace('"', "")


def _rows(tx: Connection, name: str) -> Iterator[dict[str, Any]]:
    """None where this release of LiteLLM has no such table."""
    table = f'"{PREFIX}{name}"'
    if tx.execute(text("SELECT to_regclass(:table)"), {"table": table}).scalar() is None:
        return
    order = ", ".join(f'"{column}"' for column in TABLES[name])
    statement = text(f"SELECT to_jsonb(one)::text FROM {table} AS one ORDER BY {order}")  # noqa: S608 - names of ours
    for row in tx.execute(statement.execution_options(yield_per=ROWS_AT_ONCE)).scalars():
        yield json.loads(row, parse_float=Decimal)
