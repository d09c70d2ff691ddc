"""The tables of the books, as SQLAlchemy sees them. Only `billing.queries` and the migrations import this."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

teams = Table(
    "teams",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("organization_id", Text),
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("deleted_at_us", BigInteger),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("old_digest", LargeBinary),
    Column("old_until_us", BigInteger),
    Column("team_id", Text, ForeignKey("teams.id")),
    Column("user_id", Text),
    Column("organization_id", Text),
    Column("models_allowed", Text, nullable=False),  # JSON, as are scopes and limits
    Column("scopes", Text, nullable=False),
    Column("limits", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
    UniqueConstraint("digest"),
    UniqueConstraint("old_digest"),
    Index(None, "team_id"),
)

# One row for each combination of cost dimensions, so that an entry names two integers instead of eight texts.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),  # all of the below, as JSON
    Column("side", Text, nullable=False),  # cost | payable | suspense | memo
    Column("key_id", Text),
    Column("team_id", Text),
    Column("user_id", Text),
    Column("end_user", Text),
    Column("provider", Text),
    Column("model", Text),
    UniqueConstraint("name"),
    Index(None, "team_id"),
    Index(None, "key_id"),
)

account_tags = Table(
    "account_tags",
    metadata,
    Column("account_id", Integer, ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# Every version that a hold pinned, so that its row can be repriced.
prices = Table(
    "prices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("seen_at_us", BigInteger, nullable=False),
    UniqueConstraint("document"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # its first entry's
    Column("last_id", BigInteger, nullable=False),
    Column("writer", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("from_us", BigInteger, nullable=False),  # the span of its entries' `at_us`, which have no index of their own
    Column("to_us", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index(None, "writer", "id"),
    Index(None, "to_us"),
)

entries = Table(
    "entries",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("batch_id", BigInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("sequence", SmallInteger, nullable=False),
    Column("debit", Integer, nullable=False),
    Column("credit", Integer, nullable=False),
    Column("amount_nano_usd", BigInteger, nullable=False),
    Column("requests", SmallInteger, nullable=False),  # 1 on a request's first entry, so that sums count it once
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_input_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("audio_input_tokens", BigInteger, nullable=False),
    Column("audio_output_tokens", BigInteger, nullable=False),
    Column("price_id", Integer, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    UniqueConstraint("request_id", "attempt", "kind", "sequence"),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # `billing.request_log.pack_request`
    sqlite_with_rowid=False,
)

# What every report reads: entries summed by quarter hour, which every time zone's days are made of.
usage_quarters = Table(
    "usage_quarters",
    metadata,
    Column("quarter", Integer, primary_key=True, autoincrement=False),
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("requests", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("estimated_nano_usd", BigInteger, nullable=False),
    Column("saved_nano_usd", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
