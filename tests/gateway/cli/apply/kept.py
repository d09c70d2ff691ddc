"""What an admin API would keep after some changes, in memory: enough of it to plan again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from gateway.cli.apply.kinds import KINDS
from gateway.cli.apply.plan import Change, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBERS = itertools.count()
DEFAULTS: dict[str, dict[str, Any]] = {
    "users": {"role": "member"},
    "budgets": {"window": "total", "timezone": "UTC", "limit_usd": None, "soft_limit_usd": None},
    "keys": {"revoked_at": None},
}


def kept_after(changes: Iterable[Change], present: dict[str, list[dict[str, Any]]], now: str) -> None:
    """Applies them as the API would: in order, refusing what names something that is not there."""
    for change in changes:
        rows = present.setdefault(change.kind, [])
        fields = {name: value for name, value in change.fields.items() if name not in ("key", "key_sha256")}
        for name, other in KINDS[change.kind].refers.items():
            assert fields.get(name) is None or any(row["id"] == fields[name] for row in present.get(other, [])), change
        if change.verb is Verb.CREATE or (change.kind == "prices" and change.verb is Verb.UPDATE):
            made = DEFAULTS.get(change.kind, {}) | fields
            if change.kind == "prices":
                made.setdefault("effective_at", now)
            if KINDS[change.kind].has_id:
                made.setdefault("id", f"{change.kind}_{next(NUMBERS)}")
                assert all(row["id"] != made["id"] for row in rows), change
            rows.append(made)
            continue
        row = next(row for row in rows if is_meant(change, row))
        if change.verb is Verb.UPDATE:
            row.update(fields)
        elif change.kind == "keys":
            row["revoked_at"] = now
        else:
            rows.remove(row)


def is_meant(change: Change, row: dict[str, Any]) -> bool:
    if change.kind == "members":
        return bool(row == change.before)
    return bool(row["id" if KINDS[change.kind].has_id else "model"] == change.id)
