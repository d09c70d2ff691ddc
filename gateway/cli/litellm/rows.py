"""A row of LiteLLM's database, whichever way it was read: as JSON out of PostgreSQL, or out of a dump. Pure.

Numbers are their decimal text: LiteLLM keeps money in binary fractions, whose shortest text is what people see there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

Row: TypeAlias = Mapping[str, Any]
Tables: TypeAlias = Mapping[str, list[dict[str, Any]]]

PREFIX: Final = "LiteLLM_"
# Each with what names one of its rows, by which they are put in order.
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "BudgetTable": ("budget_id",),
    "OrganizationTable": ("organization_id",),
    "OrganizationMembership": ("user_id", "organization_id"),
    "TeamTable": ("team_id",),
    "TeamMembership": ("user_id", "team_id"),
    "UserTable": ("user_id",),
    "VerificationToken": ("token",),
    "DeprecatedVerificationToken": ("token",),
    "EndUserTable": ("user_id",),
    "TagTable": ("tag_name",),
    "ProjectTable": ("project_id",),
    "ProxyModelTable": ("model_id",),
    "AccessGroupTable": ("access_group_id",),
    "ModelAccessGroupBudgetTable": ("access_group_name",),
}
NANO: Final = Decimal("0.000000001")
_NULL: Final = "NULL"


def text(row: Row, name: str) -> str | None:
    value = row.get(name)
    return str(value) if value not in (None, "") else None


def number(row: Row, name: str) -> Decimal | None:
    """A float of theirs, or a whole number, by its text. What is no finite number is none."""
    value = row.get(name)
    if value is None or isinstance(value, bool):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def flag(row: Row, name: str) -> bool:
    return row.get(name) in (True, "t", "true", "True", "TRUE")


def nano_usd(amount: Decimal) -> int:
    """Half to even, once."""
    return int(amount.quantize(NANO, ROUND_HALF_EVEN).scaleb(9))


def is_finer(amount: Decimal) -> bool:
    return amount != amount.quantize(NANO, ROUND_HALF_EVEN)


def instant(row: Row, name: str) -> datetime | None:
    """LiteLLM's columns have no zone and mean UTC."""
    value = text(row, name)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def instant_text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def listing(row: Row, name: str) -> list[str]:
    """A `text[]`: a list in JSON, `{a,"b c"}` where PostgreSQL wrote it as text."""
    value = row.get(name)
    if isinstance(value, str):
        value = _json(value) if value.startswith("[") else _array(value) if value.startswith("{") else None
    return [str(item) for item in value if item is not None] if isinstance(value, list) else []


def document(row: Row, name: str) -> Any:
    """A `jsonb`, also where it was written twice over, as text in JSON."""
    value = row.get(name)
    for _ in range(2):
        if isinstance(value, str):
            value = _json(value)
    return value


def mapping(row: Row, name: str) -> dict[str, Any]:
    found = document(row, name)
    return found if isinstance(found, dict) else {}


def said(row: Row, name: str) -> Any:
    """Whatever a column says that may be of any kind; None where it says nothing."""
    value = row.get(name)
    if isinstance(value, str):
        parsed = _json(value)
        array = listing(row, name) if value.startswith("{") and not isinstance(parsed, dict) else None
        value = value if array is None and parsed is None else array or parsed
    return None if value in ("", "f", False, 0, [], {}) else value


def _json(value: str) -> Any:
    try:
        return json.loads(value, parse_float=Decimal)
    except ValueError:
        return None


def _array(value: str) -> list[str | None]:
    """As PostgreSQL writes a flat array: quotes where it needs them, a backslash before what would end one."""
    items: list[str | None] = []
    inner = value.removeprefix("{").removesuffix("}")
    place = 0
    while place < len(inner):
        if inner[place] == '"':
            item, place = _quoted(inner, place + 1)
            items.append(item)
        else:
            end = inner.find(",", place)
            end = len(inner) if end < 0 else end
            bare = inner[place:end]
            items.append(None if bare == _NULL else bare)
            place = end
        place += 1  # the comma
    return items


def _quoted(inner: str, place: int) -> tuple[str, int]:
    item = ""
    while place < len(inner) and inner[place] != '"':
        if inner[place] == "\\":
            place += 1
        item += inner[place : place + 1]
        place += 1
    return item, place + 1
