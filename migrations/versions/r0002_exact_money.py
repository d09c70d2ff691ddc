"""Exact money: tenancy, budgets with their accounts and leases, prices by date, the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQLITE_REFUSALS = """
CREATE TRIGGER {table}_no_{word} BEFORE {event} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""

_POSTGRES_REFUSAL = """
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
"""


_SUMS = (
    *("requests", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
    *("cost_nano_usd", "estimated_nano_usd", "saved_nano_usd"),
)
_NAMES = ", ".join(_SUMS)
_ADDED = ", ".join(f"{name} = usage_days.{name} + excluded.{name}" for name in _SUMS)
_GAIN = ", ".join(f"NEW.{name} - OLD.{name}" for name in _SUMS)
_NEW = ", ".join(f"NEW.{name}" for name in _SUMS)
_TO_DAY = f"INSERT INTO usage_days (day, account_id, {_NAMES}) VALUES (NEW.quarter / 96, NEW.account_id, "  # noqa: S608
_OR_ADD = f") ON CONFLICT (day, account_id) DO UPDATE SET {_ADDED};"

_POSTGRES_DAYS = f"""
CREATE FUNCTION usage_to_days() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN {_TO_DAY}{_NEW}{_OR_ADD} ELSE {_TO_DAY}{_GAIN}{_OR_ADD} END IF;
  RETURN NULL;
END $$
"""

# Writers add to many of the same rows in whatever order their statements find them: one after the other, none waits
# for another in a circle.
_POSTGRES_TURN = """
CREATE FUNCTION usage_in_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock(1970633063); RETURN NULL; END $$
"""


def upgrade() -> None:
    _wider()
    _days()
    _tenancy()
    _budgets()
    _control_plane()
    for name in ("tenancy", "budgets", "prices", "limits"):
        op.execute(f"INSERT INTO control (name, version) VALUES ('{name}', 1)")  # noqa: S608
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        op.execute(_POSTGRES_REFUSAL)
    for table in ("audit", "batches"):
        _append_only(table, postgres=postgres)


def _append_only(table: str, *, postgres: bool) -> None:
    if not postgres:
        for event in ("UPDATE", "DELETE"):
            op.execute(_SQLITE_REFUSALS.format(table=table, word=event.lower(), event=event))
        return
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION append_only()"
    )
    op.execute(f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION append_only()")


def _wider() -> None:
    """Columns that the first release's tables did not have."""
    for table, columns in (
        ("teams", {"models_allowed": "[]", "limits": "{}", "tags": "{}", "tags_required": "[]", "tags_allowed": "{}"}),
        ("keys", {"tags": "{}", "tags_required": "[]", "tags_allowed": "{}"}),
    ):
        for name, default in columns.items():
            op.add_column(table, sa.Column(name, sa.Text, nullable=False, server_default=default))
    op.add_column("accounts", sa.Column("organization_id", sa.Text))
    op.add_column("batches", sa.Column("seal", sa.SmallInteger, nullable=False, server_default="1"))


def _days() -> None:
    """Usage by days of UTC. Triggers keep it, so that the release before this one keeps it too."""
    op.create_index("ix_usage_quarters_account_id_quarter", "usage_quarters", ["account_id", "quarter"])
    op.create_table(
        "usage_days",
        sa.Column("day", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("account_id", sa.Integer, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        sa.PrimaryKeyConstraint("day", "account_id", name="pk_usage_days"),
        sqlite_with_rowid=False,
    )
    sums = ", ".join(f"SUM({name})" for name in _SUMS)
    op.execute(
        f"INSERT INTO usage_days (day, account_id, {_NAMES})"  # noqa: S608
        f" SELECT quarter / 96, account_id, {sums} FROM usage_quarters GROUP BY 1, 2"
    )
    if op.get_bind().dialect.name == "sqlite":
        for word, values in (("INSERT", _NEW), ("UPDATE", _GAIN)):
            op.execute(
                f"CREATE TRIGGER usage_quarters_{word.lower()} AFTER {word} ON usage_quarters"
                f" BEGIN {_TO_DAY}{values}{_OR_ADD} END"
            )
        return
    op.execute(_POSTGRES_DAYS)
    op.execute(_POSTGRES_TURN)
    op.execute(
        "CREATE TRIGGER usage_quarters_in_turn BEFORE INSERT OR UPDATE ON usage_quarters"
        " FOR EACH STATEMENT EXECUTE FUNCTION usage_in_turn()"
    )
    op.execute(
        "CREATE TRIGGER usage_quarters_to_days AFTER INSERT OR UPDATE ON usage_quarters"
        " FOR EACH ROW EXECUTE FUNCTION usage_to_days()"
    )


def _tenancy() -> None:
    op.create_table(
        "organizations",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_organizations"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("organization_id", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
    )
    lives = sa.text("deleted_at_us IS NULL")
    op.create_index("uq_users_live_email", "users", ["email"], unique=True, sqlite_where=lives, postgresql_where=lives)
    op.create_table(
        "members",
        sa.Column("team_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("team_id", "user_id", name="pk_members"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_members_team_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_members_user_id"),
    )
    op.create_index("ix_members_user_id", "members", ["user_id"])
    op.create_table(
        "model_limits",
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_model_limits"),
    )


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope_type", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("scope_team_id", sa.Text),
        sa.Column("limit_nano_usd", sa.BigInteger),
        sa.Column("soft_limit_nano_usd", sa.BigInteger),
        sa.Column("window", sa.Text, nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("over_budget", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
    )
    op.create_table(
        "budget_accounts",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("budget_id", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("window_start_us", sa.BigInteger, nullable=False),
        sa.Column("window_end_us", sa.BigInteger),
        sa.Column("limit_nano_usd", sa.BigInteger),
        sa.Column("posted_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("pending_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("contended_until_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_budget_accounts"),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name="fk_budget_accounts_budget_id"),
        sa.UniqueConstraint(
            "budget_id", "subject", "window_start_us", name="uq_budget_accounts_budget_id_subject_window_start_us"
        ),
    )
    op.create_index("ix_budget_accounts_budget_id_window_start_us", "budget_accounts", ["budget_id", "window_start_us"])
    op.create_table(
        "leases",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("journal", sa.Text, nullable=False),
        sa.Column("boot_id", sa.Text, nullable=False),
        sa.Column("amount_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("open_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("holds", sa.Integer, nullable=False),
        sa.Column("serial", sa.BigInteger, nullable=False),
        sa.Column("taken_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leases"),
        sa.ForeignKeyConstraint(["account_id"], ["budget_accounts.id"], name="fk_leases_account_id"),
        sa.UniqueConstraint("account_id", "boot_id", name="uq_leases_account_id_boot_id"),
    )
    op.create_index("ix_leases_boot_id", "leases", ["boot_id"])
    op.create_index("ix_leases_journal", "leases", ["journal"])
    op.create_table(
        "budget_events",
        sa.Column("account_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("threshold", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("posted_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "threshold", name="pk_budget_events"),
        sa.ForeignKeyConstraint(["account_id"], ["budget_accounts.id"], name="fk_budget_events_account_id"),
        sa.UniqueConstraint("id", name="uq_budget_events_id"),
    )
    op.create_table(
        "event_deliveries",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("webhook", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("delivered_at_us", sa.BigInteger),
        sa.Column("given_up_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_event_deliveries"),
        sa.UniqueConstraint("webhook", "event_id", name="uq_event_deliveries_webhook_event_id"),
        sa.ForeignKeyConstraint(["event_id"], ["budget_events.id"], name="fk_event_deliveries_event_id"),
    )


def _control_plane() -> None:
    op.create_table(
        "price_list",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("team_id", sa.Text),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("effective_at_us", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_price_list"),
    )
    op.create_index("ix_price_list_provider_model", "price_list", ["provider", "model"])
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("actor_type", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object_id", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("prev_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_object_id", "audit", ["object_id"])
    op.create_table(
        "control",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_control"),
    )
    op.create_table(
        "idempotency",
        sa.Column("room", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("body_digest", sa.LargeBinary, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("made", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("claimed_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("room", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_at_us", "idempotency", ["at_us"])


def downgrade() -> None:
    raise NotImplementedError("the books are never taken away: restore a backup instead")
