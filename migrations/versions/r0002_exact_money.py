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


def upgrade() -> None:
    _wider()
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
    op.create_index("ix_users_email", "users", ["email"])
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
        sa.Column("answer", sa.Text),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("room", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_at_us", "idempotency", ["at_us"])


def downgrade() -> None:
    raise NotImplementedError("the books are never taken away: restore a backup instead")
