"""Price lists as people have them, CSV, JSON of ours or LiteLLM's map, into rows of ours. Pure: text in, rows out.

A file is taken whole or not at all: `BadPrices` names every line that is wrong.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from billing.litellm_map import MODES, OURS, PROVIDERS, priced_by_token
from billing.litellm_map import rates as litellm_rates
from billing.price_rows import RATES, BadPrice, rates_of
from billing.price_table import UsdRow

PROBLEMS_TOLD_MAX: Final = 20
TIER: Final = "above_input_tokens"
NAMED: Final = ("provider", "model", "team_id", "effective_at", "source")
COLUMNS: Final = (*NAMED, *RATES, "request", TIER)
# What a listing of ours says of a row beside its price: an export may come back as it is.
_SHOWN: Final = frozenset({"id", "version", "created_at", "retired_at"})


class BadPrices(ValueError):
    """A file that cannot be taken; a line for each thing that is wrong with it."""

    def __init__(self, problems: Sequence[str]) -> None:
        told = [*problems[:PROBLEMS_TOLD_MAX]]
        if len(problems) > len(told):
            told.append(f"and {len(problems) - len(told)} more")
        super().__init__("; ".join(told))


class Offered(NamedTuple):
    """A price out of a file. What the file leaves open (None) whoever imports it says."""

    provider: str
    model: str
    team_id: str | None
    effective_at: str | None
    source: str | None
    rates: UsdRow


def offered(text: str) -> tuple[Offered, ...]:
    """Whatever shape the text has. A name that comes twice would leave it to chance which counts: refused."""
    text = text.removeprefix("\ufeff")
    rows = _of_json(text) if text.lstrip()[:1] in ("{", "[") else _of_csv(text)
    seen: set[tuple[str | None, ...]] = set()
    problems = []
    for row in rows:
        if row[:4] in seen:
            problems.append(f"{row.provider}/{row.model} comes twice for the same team and time: keep one")
        seen.add(row[:4])
    if problems:
        raise BadPrices(problems)
    if not rows:
        raise BadPrices(["no price is in it: give lines with provider, model, input and output"])
    return tuple(rows)


def _of_json(text: str) -> list[Offered]:
    try:
        found = json.loads(text, parse_float=Decimal, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise BadPrices([f"this is no JSON: {error}"]) from None
    if isinstance(found, dict) and "data" not in found:
        return _of_litellm(found)
    rows = found["data"] if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise BadPrices(["`data` must be a list of prices"])
    return _collected((f"row {place}", row) for place, row in enumerate(rows, 1))


def _whole(digits: str) -> int:
    if len(digits) > 30:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _of_litellm(entries: Mapping[str, Any]) -> list[Offered]:
    """Models priced by token, by the provider's name of ours; the rest of the map has units that no row here holds."""
    whole = {
        name: _decimals(entry)
        for name, entry in entries.items()
        if isinstance(entry, dict) and entry.get("litellm_provider") and entry.get("mode", "chat") in MODES
    }
    rows: dict[tuple[str, str], Mapping[str, Any]] = {}
    for name, entry in whole.items():
        theirs = str(entry["litellm_provider"])
        ours = OURS.get(theirs, theirs)
        prefix = PROVIDERS[ours].litellm_prefix if ours in PROVIDERS else f"{theirs}/"
        if priced_by_token(entry) and (name.startswith(prefix) or ours not in PROVIDERS):
            # Of a provider of ours, what stands there without the prefix is a size class or a second copy.
            rows.setdefault((ours, name.removeprefix(prefix)), entry)
    return _collected(
        (f"{provider}/{model}", _as_ours(provider, model, entry)) for (provider, model), entry in rows.items()
    )


def _as_ours(provider: str, model: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    row = litellm_rates(entry)
    row["tiers"] = [
        {TIER: tier["above"], **{k: v for k, v in tier.items() if k != "above"}} for tier in row.get("tiers", ())
    ]
    return {"provider": provider, "model": model, **row}


def _decimals(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Whole numbers of dollars are prices as well."""
    return {
        name: Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in entry.items()
    }


def _of_csv(text: str) -> list[Offered]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        lines = list(reader)
    except csv.Error as error:
        raise BadPrices([f"this is no CSV: {error}"]) from None
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or not {"provider", "model", "input", "output"} <= set(columns):
        raise BadPrices([f"the first line must name provider, model, input, output and may name {', '.join(COLUMNS)}"])
    named = []
    for place, line in enumerate(lines, 2):
        if None in line:
            raise BadPrices([f"line {place} has more cells than the first line names"])
        named.append((f"line {place}", _cells(columns, line)))
    return _collected(_with_tiers(named))


def _cells(columns: Sequence[str], line: Mapping[str, str | None]) -> dict[str, Any]:
    """Our own CSV puts an apostrophe before what a spreadsheet would run as a formula; names do not begin with one."""
    cells = dict(zip(columns, ((cell or "").strip().removeprefix("'") for cell in line.values()), strict=True))
    return {name: cell for name, cell in cells.items() if cell}


def _with_tiers(lines: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A line with `above_input_tokens` is a tier of the line with the same names that has none."""
    whole: dict[tuple[object, ...], dict[str, Any]] = {}
    kept, problems = [], []
    for where, cells in lines:
        key = tuple(cells.get(name) for name in NAMED[:4])
        if TIER not in cells:
            whole[key] = cells
            kept.append((where, cells))
        elif key in whole:
            whole[key].setdefault("tiers", []).append({n: v for n, v in cells.items() if n not in NAMED})
        else:
            problems.append(f"{where}: is a tier of no line above it")
    if problems:
        raise BadPrices(problems)
    yield from kept


def _collected(rows: Iterable[tuple[str, object]]) -> list[Offered]:
    found, problems = [], []
    for where, row in rows:
        try:
            found.append(_row(row))
        except BadPrice as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise BadPrices(problems)
    return found


def _row(row: object) -> Offered:
    if not isinstance(row, Mapping):
        raise BadPrice("is no object with provider, model, input and output")
    names = {name: _text(name, row.get(name)) for name in NAMED}
    if names["provider"] is None or names["model"] is None:
        raise BadPrice("names no provider or no model")
    price = {name: value for name, value in row.items() if name not in NAMED and name not in _SHOWN}
    return Offered(
        names["provider"], names["model"], names["team_id"], names["effective_at"], names["source"], rates_of(price)
    )


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 256 or not value.isprintable():
        raise BadPrice(f"{name}: write a name of at most 256 characters")
    return value
