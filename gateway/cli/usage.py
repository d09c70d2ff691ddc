"""`turnpike usage`: requests, tokens and cost, as a table, as CSV or as JSON; money is decimal text, never rounded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gateway.cli.desk import Desk, find_id, rows
from gateway.cli.tables import Row, csv_text, listing_json, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.situation import Situation

MEASURES: Final = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "estimated_usd",
    "pending_usd",
    "saved_usd",
)
WITH_IDS: Final = ("organization", "team", "user", "key")
WITH_NAMES: Final = ("organization", "team")
# What one may ask for alone, and which list knows its names; a model and a provider are their own.
FILTERS: Final = {"organization": "organizations", "team": "teams", "user": "users", "key": "keys"}
PLAIN_FILTERS: Final = ("model", "provider")


def usage(here: Situation) -> None:
    desk = here.desk()
    by = here.option("by")
    found = list(
        rows(
            desk,
            "usage",
            group_by=by,
            **_filters(here, desk),
            from_=here.option("start"),
            to=here.option("end"),
            timezone=here.option("timezone"),
        )
    )
    match here.option("format"):
        case "json":
            print(listing_json(found))
        case "csv":
            sys.stdout.write(csv_text(found, columns(by, found)))
        case _:
            print(table(found, columns(by, found)))


def _filters(here: Situation, desk: Desk) -> dict[str, str]:
    named = {name: find_id(desk, kind, wanted) for name, kind in FILTERS.items() if (wanted := here.option(name))}
    return named | {name: wanted for name in PLAIN_FILTERS if (wanted := here.option(name))}


def columns(by: str, found: Sequence[Row]) -> list[str]:
    """The columns asked for, in that order, some by name too, then the measures. Unknown ones come last."""
    asked = list(dict.fromkeys(word.strip() for word in by.split(",") if word.strip()))
    names = [f"{name}_id" if name in WITH_IDS else name for name in asked]
    for name in WITH_NAMES:
        if f"{name}_id" in names:
            names.insert(names.index(f"{name}_id") + 1, f"{name}_name")
    known = [*names, *MEASURES]
    return known + sorted({name for row in found for name in row} - set(known))
