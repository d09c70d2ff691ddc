"""Do two spellings mean the same? A file says `100` and `2027-01-01`; the admin API answers in its own way. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.apply.kinds import Fields, Kind

ID_CHARS_MAX: Final = 100
_NO_ID_CHARS: Final = re.compile(r"[^a-z0-9._:-]+")
DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# Where a decimal number stands as text.
_AMOUNTS: Final = frozenset(
    {"input", "output", "cached_input", "cache_write", "reasoning", "audio_input", "audio_output", "request"}
)


def same(name: str, wanted: Any, present: Any) -> bool:
    return bool(_meant(name, wanted) == _meant(name, present))


def natural_name(kind: Kind, fields: Fields) -> tuple[Any, ...]:
    """What tells one from all others of its kind where no id does."""
    return tuple(_hashable(_meant(name, fields.get(name) or kind.unset.get(name))) for name in kind.natural)


def natural_names(kind: Kind, row: Fields, now: datetime) -> tuple[tuple[Any, ...], ...]:
    """By what a file may mean the row: a price is its model's at its time and, once in force, its model's."""
    name = natural_name(kind, row)
    if kind.name != "prices":
        return (name,)
    since = _instant(str(row.get("effective_at")))
    return (name, (*name[:-1], None)) if isinstance(since, datetime) and since <= now else (name,)


def in_order(kind: Kind, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """So that of several that bear one name the last counts: of prices that which is in force."""
    if kind.name != "prices":
        return list(rows)
    return sorted(rows, key=lambda row: str(_instant(str(row.get("effective_at")))))


def slug(name: str) -> str:
    """An id that still reads as the name."""
    return _NO_ID_CHARS.sub("-", name.lower()).strip("-._:")[:ID_CHARS_MAX] or "x"


def _meant(name: str, value: Any) -> Any:
    """Without what says nothing, and numbers, instants and addresses in one spelling."""
    if isinstance(value, dict):
        return {key: meant for key, item in value.items() if (meant := _meant(key, item)) is not None} or None
    if isinstance(value, list | tuple):
        return [_meant(name, item) for item in value] or None
    if name.endswith("_usd") or name in _AMOUNTS:
        # No fee and a fee of nothing are one.
        return _number(value) or None if name == "request" else _number(value)
    if name.endswith("_at") and isinstance(value, str):
        return _instant(value)
    if name == "email" and isinstance(value, str):
        return value.casefold()
    return value


def _number(value: Any) -> Any:
    try:
        return None if value is None or isinstance(value, bool) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        return value


def _instant(text: str) -> Any:
    """A day is its midnight in UTC; what is no instant stays text, which the check of the field will tell."""
    try:
        found = datetime.fromisoformat(f"{text}T00:00:00+00:00" if DAY.fullmatch(text) else text)
    except ValueError:
        return text
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(sorted((name, _hashable(item)) for name, item in value.items()))
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
