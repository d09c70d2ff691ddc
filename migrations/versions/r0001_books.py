"""The books: teams, keys, accounts, entries, batches, prices, requests and the usage roll-up."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SQLITE_REFUSALS = """
CREATE TRIGGER entries_no_{word} BEFORE {event} ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only: post an adjustment instead'); END
"""

_POSTGRES_REFUSAL = """
CREATE FUNCTION entries_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'entries are append-only: post an adjustment instead'; END $$
"""


def upgrade() -> None:
    _control_plane()
    _ledger()
    _reports()
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(_SQLITE_REFUSALS.format(word=event.lower(), event=event))
    else:
        op.execute(_POSTGRES_REFUSAL)
        op.execute(
            "CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE ON entries"
            " FOR EACH ROW EXECUTE FUNCTION entries_append_only()"
        )
        op.execute(
            "CREATE TRIGGER entries_no_truncate BEFORE TRUNCATE ON entries EXECUTE FUNCTION entries_append_only()"
        )


def _control_plane() -> None:
    op.create_table(
        "teams",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("organization_id", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_teams"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("old_digest", sa.LargeBinary),
        sa.Column("old_until_us", sa.BigInteger),
        sa.Column("team_id", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("organization_id", sa.Text),
        sa.Column("models_allowed", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger),
        sa.Column("revoked_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_keys_team_id"),
        sa.UniqueConstraint("digest", name="uq_keys_digest"),
        sa.UniqueConstraint("old_digest", name="uq_keys_old_digest"),
    )
    op.create_index("ix_keys_team_id", "keys", ["team_id"])


def _ledger() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("team_id", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("end_user", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("model", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
    )
    op.create_index("ix_accounts_team_id", "accounts", ["team_id"])
    op.create_index("ix_accounts_key_id", "accounts", ["key_id"])
    op.create_table(
        "account_tags",
        sa.Column("account_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name="pk_account_tags"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_account_tags_account_id"),
    )
    op.create_table(
        "prices",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("seen_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_prices"),
        sa.UniqueConstraint("document", name="uq_prices_document"),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("writer", sa.Integer, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("from_us", sa.BigInteger, nullable=False),
        sa.Column("to_us", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("prev_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
    )
    op.create_index("ix_batches_writer_id", "batches", ["writer", "id"])
    op.create_index("ix_batches_to_us", "batches", ["to_us"])
    op.create_table(
        "entries",
        # In SQLite an INTEGER key is the row's own address: no second tree to keep.
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("batch_id", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("sequence", sa.SmallInteger, nullable=False),
        sa.Column("debit", sa.Integer, nullable=False),
        sa.Column("credit", sa.Integer, nullable=False),
        sa.Column("amount_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.SmallInteger, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("audio_input_tokens", sa.BigInteger, nullable=False),
        sa.Column("audio_output_tokens", sa.BigInteger, nullable=False),
        sa.Column("price_id", sa.Integer, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_entries"),
        sa.UniqueConstraint(
            "request_id", "attempt", "kind", "sequence", name="uq_entries_request_id_attempt_kind_sequence"
        ),
    )


def _reports() -> None:
    op.create_table(
        "requests",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_requests"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_quarters",
        sa.Column("quarter", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("account_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("estimated_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("saved_nano_usd", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("quarter", "account_id", name="pk_usage_quarters"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise NotImplementedError("the books are never taken away: restore a backup instead")
