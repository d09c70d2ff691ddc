"""Rows for people, spreadsheets and programs: no name in them can steer a terminal or run as a formula."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

Row: TypeAlias = Mapping[str, Any]

# A spreadsheet takes a cell that begins so for a formula, and runs it.
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
NOTHING: Final = "–"


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Columns side by side under their names, numbers to the right. With no rows, the names alone."""
    numeric = {name for name in columns if rows and all(_is_number(name, row.get(name)) for row in rows)}
    lines = [list(columns), *([shown(row.get(name)) for name in columns] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            _padded(cell, width, right=name in numeric) for cell, width, name in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    )


def fields(row: Row) -> str:
    """One thing, a line for each of its fields that says something."""
    said = {name: value for name, value in row.items() if value not in (None, [], {}, "")}
    width = max(map(len, said), default=0)
    return "\n".join(f"{name.ljust(width)}  {shown(value)}" for name, value in said.items())


def json_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def listing_json(rows: Sequence[Row]) -> str:
    """The rows in the shape that the admin API gives a listing; it is always whole."""
    return json_text({"data": list(rows), "has_more": False, "next": None})


def csv_text(rows: Sequence[Row], columns: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows(
        [[guarded(name) for name in columns], *([guarded(row.get(name)) for name in columns] for row in rows)]
    )
    return out.getvalue()


def guarded(cell: object) -> str:
    text = "" if cell is None else " ".join(map(str, cell)) if isinstance(cell, list) else str(cell)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def shown(cell: object) -> str:
    """A cell on a terminal: a control character in a name is shown, not obeyed."""
    match cell:
        case None | [] | "":
            return NOTHING
        case list():
            return ", ".join(map(shown, cell))
        case dict():
            return json.dumps(cell)
        case bool():
            return "yes" if cell else "no"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(cell))


def _is_number(column: str, cell: object) -> bool:
    return cell is None or column.endswith("_usd") or (isinstance(cell, int | float) and not isinstance(cell, bool))


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
