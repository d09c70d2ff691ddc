"""Budgets put straight into the database, and what it says of their accounts."""

from __future__ import annotations

from typing import Any

from billing.database import open_engine, writing
from tests.billing.makers import AT_US

COLUMNS = (
    *("id", "scope_type", "scope_id", "scope_team_id", "limit_nano_usd", "soft_limit_nano_usd", "window", "timezone"),
    *("over_budget", "version", "created_at_us"),
)


def give_budget(url: str, budget_id: str = "b1", **other: Any) -> None:
    given = {
        "id": budget_id,
        "scope_type": "team",
        "scope_id": "team_1",
        "scope_team_id": None,
        "limit_nano_usd": 1_000_000_000,
        "soft_limit_nano_usd": None,
        "window": "total",
        "timezone": "UTC",
        "over_budget": None,
        "version": 1,
        "created_at_us": AT_US,
        **other,
    }
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    execute(url, f"INSERT INTO budgets ({names}) VALUES ({', '.join(map(sql, (given[name] for name in COLUMNS)))})")
    execute(url, "UPDATE control SET version = version + 1 WHERE name = 'budgets'")


def set_limit(url: str, budget_id: str, limit_nano_usd: int) -> None:
    execute(url, f"UPDATE budgets SET limit_nano_usd = {limit_nano_usd} WHERE id = '{budget_id}'")
    execute(url, f"UPDATE budget_accounts SET limit_nano_usd = {limit_nano_usd} WHERE budget_id = '{budget_id}'")
    execute(url, "UPDATE control SET version = version + 1 WHERE name = 'budgets'")


def sql(value: object) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def execute(url: str, statement: str) -> None:
    engine = writing(open_engine(url))
    try:
        with engine.begin() as tx:
            tx.exec_driver_sql(statement)
    finally:
        engine.dispose()
