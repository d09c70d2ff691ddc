"""LiteLLM's tables out of a folder with a file for each: CSV with a header, JSON, or a JSON object a line."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.litellm.rows import PREFIX, TABLES
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES_MAX: Final = 512 * 1024 * 1024
FIELD_CHARS_MAX: Final = 16 * 1024 * 1024
SUFFIXES: Final = (".csv", ".json", ".jsonl", ".ndjson")


def read_dump(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """A table without a file has no rows: nobody has to dump what LiteLLM never filled."""
    try:
        files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        raise Refused(f"{folder} cannot be read: {error.strerror}; name the folder with the dumped tables") from None
    found: dict[str, list[dict[str, Any]]] = {}
    for name in TABLES:
        wanted = (f"{prefix}{name}{suffix}".lower() for prefix in (PREFIX, "") for suffix in SUFFIXES)
        path = next((files[one] for one in wanted if one in files), None)
        found[name] = [] if path is None else _ordered(path, name)
    if not any(found.values()):
        raise Refused(f"{folder} holds no table of LiteLLM's: name the files as {PREFIX}TeamTable.csv or .json")
    return found


def _ordered(path: Path, name: str) -> list[dict[str, Any]]:
    """As the database would give them: so that the same rows are the same import, whoever dumped them."""
    rows = _read(path)
    for number, row in enumerate(rows, 1):
        missing = [column for column in TABLES[name] if row.get(column) in (None, "")]
        if missing:
            raise Refused(f"{path}: row {number} has no {' and no '.join(missing)}: dump the table with its header")
    return sorted(rows, key=lambda row: tuple(str(row[column]) for column in TABLES[name]))


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Refused(f"{path} is larger than {FILE_BYTES_MAX} bytes; give --database instead")
        content = path.read_text(encoding="utf-8-sig")
        return _csv(content) if path.suffix.lower() == ".csv" else _json(content)
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Refused(f"{path} cannot be read: {reason}") from None


def _csv(content: str) -> list[dict[str, Any]]:
    """An empty cell is null: `COPY … TO … CSV HEADER` writes both so."""
    csv.field_size_limit(FIELD_CHARS_MAX)
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    return [{name: value if value != "" else None for name, value in row.items()} for row in reader]


def _json(content: str) -> list[dict[str, Any]]:
    content = content.strip()
    lines = [content] if content.startswith("[") else [line for line in content.splitlines() if line.strip()]
    parsed = [json.loads(line, parse_float=Decimal) for line in lines]
    rows = parsed[0] if len(parsed) == 1 and isinstance(parsed[0], list) else parsed
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is no list of objects")
    return rows
