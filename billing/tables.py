"""The tables of the books, as SQLAlchemy sees them. Only `billing.queries.*` and the migrations import this."""

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
    text,
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
    Column("models_allowed", Text, nullable=False, server_default="[]"),  # JSON, as are the four below
    Column("limits", Text, nullable=False, server_default="{}"),
    Column("tags", Text, nullable=False, server_default="{}"),
    Column("tags_required", Text, nullable=False, server_default="[]"),
    Column("tags_allowed", Text, nullable=False, server_default="{}"),
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
    Column("tags", Text, nullable=False, server_default="{}"),
    Column("tags_required", Text, nullable=False, server_default="[]"),
    Column("tags_allowed", Text, nullable=False, server_default="{}"),
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
    Column("side", Text, nullable=False),  # cost | payable | suspense | memo | opening
    Column("key_id", Text),
    Column("team_id", Text),
    Column("user_id", Text),
    Column("end_user", Text),
    Column("provider", Text),
    Column("model", Text),
    Column("organization_id", Text),
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
    Column("seal", SmallInteger, nullable=False, server_default="1"),  # what its hash covers: see `billing.seal`
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
    Index(None, "account_id", "quarter"),
    sqlite_with_rowid=False,
)

# The same by days of UTC, kept by triggers on the above: a month is 31 rows an account instead of 2976.
usage_days = Table(
    "usage_days",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
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

organizations = Table(
    "organizations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("deleted_at_us", BigInteger),
)

_USER_LIVES = text("deleted_at_us IS NULL")

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("role", Text, nullable=False),  # `billing.roles.Role`
    Column("organization_id", Text),
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("deleted_at_us", BigInteger),
    # An address is one live user's; a deleted one's is free.
    Index("uq_users_live_email", "email", unique=True, sqlite_where=_USER_LIVES, postgresql_where=_USER_LIVES),
)

members = Table(
    "members",
    metadata,
    Column("team_id", Text, ForeignKey("teams.id"), primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Column("created_at_us", BigInteger, nullable=False),
    Index(None, "user_id"),
)

# Limits of a model, for everybody together; those of a key or a team stand in their own rows.
model_limits = Table(
    "model_limits",
    metadata,
    Column("model", Text, primary_key=True),
    Column("limits", Text, nullable=False),  # JSON
    Column("version", Integer, nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("scope_type", Text, nullable=False),
    Column("scope_id", Text, nullable=False),  # `*`: each of them separately
    Column("scope_team_id", Text),  # of a model or a member
    Column("limit_nano_usd", BigInteger),
    Column("soft_limit_nano_usd", BigInteger),
    Column("window", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("over_budget", Text),  # null: as `routing.over_budget` says
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("deleted_at_us", BigInteger),
)

# What one budget allows one subject in one window. `pending` is what leases hold; nothing is ever set back to zero.
budget_accounts = Table(
    "budget_accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("budget_id", Text, ForeignKey("budgets.id"), nullable=False),
    Column("subject", Text, nullable=False),
    Column("window_start_us", BigInteger, nullable=False),
    Column("window_end_us", BigInteger),  # null: never
    Column("limit_nano_usd", BigInteger),
    Column("posted_nano_usd", BigInteger, nullable=False),
    Column("pending_nano_usd", BigInteger, nullable=False),
    Column("contended_until_us", BigInteger, nullable=False),
    UniqueConstraint("budget_id", "subject", "window_start_us"),
    Index(None, "budget_id", "window_start_us"),  # of 100,000 subjects a day, one window's
)

# A slice of an account's headroom in one worker's hands. Only its owner, or who holds its journal, returns it.
leases = Table(
    "leases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("budget_accounts.id"), nullable=False),
    Column("journal", Text, nullable=False),  # which journal tells what became of it
    Column("boot_id", Text, nullable=False),
    Column("amount_nano_usd", BigInteger, nullable=False),
    Column("open_nano_usd", BigInteger, nullable=False),  # of it, held by requests in flight when last told
    Column("holds", Integer, nullable=False),
    Column("serial", BigInteger, nullable=False),
    Column("taken_at_us", BigInteger, nullable=False),
    UniqueConstraint("account_id", "boot_id"),
    Index(None, "boot_id"),
    Index(None, "journal"),
)

# A threshold that an account has crossed, told once.
budget_events = Table(
    "budget_events",
    metadata,
    Column("account_id", Integer, ForeignKey("budget_accounts.id"), primary_key=True, autoincrement=False),
    Column("threshold", Text, primary_key=True),  # `soft`, or a share of the limit such as `0.8`
    Column("id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("posted_nano_usd", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("document", Text, nullable=False),  # what webhooks are sent, as JSON
    UniqueConstraint("id"),
)

# One row for each event and each webhook that wants it. Neither delivered nor given up: it waits.
event_deliveries = Table(
    "event_deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("webhook", Text, nullable=False),
    Column("event_id", Text, ForeignKey("budget_events.id"), nullable=False),
    Column("delivered_at_us", BigInteger),
    Column("given_up_at_us", BigInteger),
    UniqueConstraint("webhook", "event_id"),
)

# Prices given by people, beside the shipped table: the newest that is in force at a request's time counts.
price_list = Table(
    "price_list",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("team_id", Text),
    Column("document", Text, nullable=False),  # JSON, USD per million tokens as decimal strings
    Column("effective_at_us", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("deleted_at_us", BigInteger),
    Index(None, "provider", "model"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor_type", Text, nullable=False),
    Column("actor_id", Text),
    Column("action", Text, nullable=False),  # such as `budget.update`
    Column("object_id", Text, nullable=False),
    Column("before", Text),  # JSON
    Column("after", Text),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index(None, "object_id"),
)

# One row each for `tenancy`, `budgets`, `prices` and `limits`: a worker that sees another version reads them anew.
control = Table(
    "control",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("room", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_digest", LargeBinary, nullable=False),
    Column("token", Text, nullable=False),  # of who makes it: with another's nothing is made any more
    Column("made", Text),  # the id, from the transaction on that made it
    Column("answer", Text),  # null while it is being made
    Column("at_us", BigInteger, nullable=False),
    Column("claimed_at_us", BigInteger, nullable=False),  # the last time: by whoever took it over
    Index(None, "at_us"),
)
