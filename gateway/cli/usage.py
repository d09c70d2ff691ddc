"""`turnpike usage`: requests, tokens and cost, as a table, as CSV or as JSON; money is decimal text, never rounded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gateway.cli.desk import find_id, rows
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
WITH_IDS: Final = ("team", "user", "key")


def usage(here: Situation) -> None:
    desk = here.desk()
    team = here.option("team")
    by = here.option("by")
    found = list(
        rows(
            desk,
            "usage",
            group_by=by,
            team=find_id(desk, "teams", team) if team else None,
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


def columns(by: str, found: Sequence[Row]) -> list[str]:
    """The columns asked for, in that order, then the measures; a team by its name too. Unknown ones come last."""
    asked = list(dict.fromkeys(word.strip() for word in by.split(",") if word.strip()))
    names = [f"{name}_id" if name in WITH_IDS else name for name in asked]
    if "team_id" in names:
        names.insert(names.index("team_id") + 1, "team_name")
    known = [*names, *MEASURES]
    return known + sorted({name for row in found for name in row} - set(known))
