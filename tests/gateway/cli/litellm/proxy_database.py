"""A LiteLLM proxy's database as one has it after a few months, in a PostgreSQL schema or as dumped files."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = Path(__file__).with_name("schema.sql")
CI, PERSONAL, BLOCKED, EXPIRED, SESSION = (
    "sk-ci-0123456789abcdefghij",
    "sk-ada-0123456789abcdefghi",
    "sk-blocked-0123456789abcde",
    "sk-expired-0123456789abcde",
    "sk-session-0123456789abcde",
)


def token(secret: str) -> str:
    """As LiteLLM's `hash_token` keeps it."""
    return sha256(secret.encode()).hexdigest()


BY = {"created_by": "default_user_id", "updated_by": "default_user_id"}
NEXT_MONTH = "2099-01-01T00:00:00"
ROWS: dict[str, list[dict[str, Any]]] = {
    "BudgetTable": [
        {"budget_id": "b-org", "max_budget": 1000.0, "budget_duration": "30d", **BY},
        {"budget_id": "b-seat", "max_budget": 20.0, "budget_duration": None, "rpm_limit": 7, **BY},
        {"budget_id": "b-tier", "soft_budget": 1.5, "tpm_limit": 5000, **BY},
        {"budget_id": "b-end", "max_budget": 0.25, "budget_duration": "1d", **BY},
        {"budget_id": "b-odd", "max_budget": 3.0, "budget_duration": "45d", **BY},
    ],
    "OrganizationTable": [
        {
            "organization_id": "acme",
            "organization_alias": "Acme",
            "budget_id": "b-org",
            "models": ["chat", "beta"],
            "spend": 42.5,
            **BY,
        }
    ],
    "TeamTable": [
        {
            "team_id": "7c1b-research",
            "team_alias": "Research",
            "organization_id": "acme",
            "members_with_roles": [{"role": "admin", "user_id": "ada"}, {"role": "user", "user_id": "bob"}],
            "metadata": {"tags": ["env=prod"], "model_rpm_limit": {"chat": 60}, "cost_center": "7"},
            "max_budget": 100.0,
            "soft_budget": 80.0,
            "budget_duration": "30d",
            "budget_reset_at": NEXT_MONTH,
            "spend": 12.3456789012345,
            "models": [],
            "rpm_limit": 600,
            "tpm_limit": 100000,
            "budget_limits": [{"budget_duration": "24h", "max_budget": 10.0, "reset_at": NEXT_MONTH}],
            "model_max_budget": {"chat": {"budget_limit": 5.0, "time_period": "7d"}},
        },
        {"team_id": "odd team", "team_alias": None, "budget_duration": "45d", "max_budget": 3.0, "models": ["chat"]},
    ],
    "UserTable": [
        {"user_id": "ada", "user_email": "ada@example.com", "user_role": "internal_user", "spend": 8.25,
         "teams": ["7c1b-research"], "max_budget": 50.0},
        {"user_id": "bob", "user_alias": "Bob", "user_role": "internal_user_viewer", "teams": ["7c1b-research"]},
        {"user_id": "default_user_id", "user_role": "proxy_admin"},
    ],
    "VerificationToken": [
        {"token": token(CI), "key_name": "sk-...ghij", "key_alias": "ci", "team_id": "7c1b-research",
         "models": ["beta"], "spend": 7.5, "max_parallel_requests": 4, "budget_id": "b-tier",
         "metadata": {"tags": ["feature=build"]}, "expires": "2099-01-01T00:00:00"},
        {"token": token(PERSONAL), "key_alias": "ada", "user_id": "ada", "models": ["chat"], "spend": 8.25,
         "max_budget": 9.0, "budget_duration": "7d", "budget_reset_at": NEXT_MONTH, "aliases": {"gpt": "chat"}},
        {"token": token(BLOCKED), "key_alias": "blocked", "blocked": True, "models": []},
        {"token": token(EXPIRED), "key_alias": "expired", "expires": "2024-01-01T00:00:00", "models": []},
        {"token": token(SESSION), "team_id": "litellm-dashboard", "user_id": "default_user_id", "models": []},
        {"token": "not-a-hash", "key_alias": "broken", "models": []},
    ],
    "TeamMembership": [{"user_id": "bob", "team_id": "7c1b-research", "spend": 2.0, "budget_id": "b-seat"}],
    "OrganizationMembership": [{"user_id": "bob", "organization_id": "acme", "user_role": "internal_user"}],
    "EndUserTable": [{"user_id": "customer-1", "spend": 0.1, "budget_id": "b-end"}],
    "TagTable": [
        {"tag_name": "env=prod", "spend": 1.0, "budget_id": "b-org"},
        {"tag_name": "plain", "spend": 0.25, "budget_id": "b-org"},
        {"tag_name": "two words", "budget_id": "b-org"},
    ],
}  # fmt: skip


def fill(url: str, schema: str) -> str:
    """The address of it, as LiteLLM's own DATABASE_URL is written."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        connection.execute(SCHEMA.read_bytes())
        for name, rows in ROWS.items():
            for row in rows:
                insert(connection, f"LiteLLM_{name}", row)
    return f"{url}&schema={schema}&connection_limit=10&pool_timeout=60"


def insert(connection: psycopg.Connection[Any], table: str, row: dict[str, Any]) -> None:
    jsons = {"metadata", "members_with_roles", "budget_limits", "model_max_budget", "aliases"}
    values = [Jsonb(value) if name in jsons else value for name, value in row.items()]
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() for _ in row),
        ),
        values,
    )


def dump(url: str, schema: str, folder: Path, *, as_csv: bool) -> None:
    """What `COPY … TO … CSV HEADER` writes, or each row as JSON on a line."""
    folder.mkdir()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        for name in ROWS:
            table = sql.Identifier(f"LiteLLM_{name}")
            if as_csv:
                copy = sql.SQL("COPY {} TO STDOUT (FORMAT csv, HEADER)").format(table)
                with connection.cursor().copy(copy) as out, (folder / f"LiteLLM_{name}.csv").open("wb") as file:
                    file.writelines(out)
                continue
            rows: Iterable[Any] = connection.execute(sql.SQL("SELECT to_jsonb(one) FROM {} one").format(table))
            lines = [json.dumps(row) for (row,) in rows]
            (folder / f"LiteLLM_{name}.json").write_text("\n".join(lines))
