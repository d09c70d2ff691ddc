"""Opens the database of the books, SQLite or PostgreSQL, under the addresses that people have for them."""

from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL

from billing.writer_turn import SUFFIX, QueueingConnection

BUSY_MS: Final = 5000

# Pages of 8 KiB (of a new file alone) took 0.4 us off the 5.5 that a row costs the flusher: fewer of them to write.
_PRAGMAS: Final = ("page_size=8192", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")
_POSTGRES: Final = frozenset({"postgres", "postgresql"})


class UnsupportedDatabase(ValueError):
    """An address that is neither SQLite nor PostgreSQL."""


def normalised(database_url: str) -> URL:
    url = make_url(database_url)
    backend = url.drivername.partition("+")[0]
    if backend in _POSTGRES:
        # asyncpg's word for libpq's: people write the address once, for whatever reads it.
        query = {("sslmode" if name == "ssl" else name): value for name, value in url.query.items()}
        return url.set(drivername="postgresql+psycopg", query=query)
    if backend == "sqlite":
        return url.set(drivername="sqlite+pysqlite")
    raise UnsupportedDatabase(f"database {backend!r} is not supported: use sqlite:///FILE or postgresql://…")


def open_engine(database_url: str, *, busy_ms: int = BUSY_MS) -> Engine:
    url = normalised(database_url)
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"factory": QueueingConnection})
    # One in memory is one process's.
    turns = f"{url.database}{SUFFIX}" if url.database and not url.database.startswith((":", "file:")) else None

    def connected(raw: Any, _record: object) -> None:
        # SQLAlchemy says BEGIN below; the driver's own, issued before the first write alone, would come too late.
        raw.isolation_level = None
        for pragma in (f"busy_timeout={busy_ms}", *_PRAGMAS):
            raw.execute(f"PRAGMA {pragma}")

    def begun(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for its turn: SQLite refuses it at once.
        writes = connection.get_execution_options().get("writes", False)
        if writes and turns is not None:
            raw = connection.connection.driver_connection
            assert isinstance(raw, QueueingConnection)
            raw.take_turn(turns, busy_ms)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def writing(engine: Engine) -> Engine:
    """The same pool; its transactions take the write lock at their start."""
    return engine.execution_options(writes=True)
