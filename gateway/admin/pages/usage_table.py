"""A usage report as it is shown: one table that the page and its CSV are both made of, and one plot of the same sums.

Pure.
"""

import csv
import io
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from billing.money import usd_text
from billing.store import UsageLine
from gateway.admin.asked import TAG_PREFIX
from gateway.admin.pages.plot import SERIES_MAX, Period, Series
from gateway.admin.pages.views import Names
from gateway.admin.usage_report import guarded

Group = tuple[str | None, ...]
MEASURES: Final[Mapping[str, str]] = {
    "requests": "Requests",
    "input_tokens": "Tokens in",
    "cached_input_tokens": "of them cached",
    "output_tokens": "Tokens out",
    "reasoning_tokens": "of them reasoning",
    "cost_nano_usd": "Cost USD",
    "estimated_nano_usd": "of it estimated",
    "pending_nano_usd": "Held in flight USD",
    "saved_nano_usd": "Saved by cache USD",
}
COLUMNS: Final[Mapping[str, str]] = {
    "organization": "Organization",
    "team": "Team",
    "user": "User",
    "key": "Key",
    "end_user": "End user",
    "model": "Model",
    "provider": "Provider",
    "day": "Day",
}
NAMED: Final = ("organization", "team", "user", "key")
DAYS_BY_DAY_MAX: Final = 62
DAYS_BY_WEEK_MAX: Final = 366


@dataclass(frozen=True, slots=True)
class Row:
    group: Group
    names: tuple[str, ...]  # as people say each of the group
    line: UsageLine


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    total: UsageLine


def label_of(column: str) -> str:
    return COLUMNS.get(column) or f"Tag {column.removeprefix(TAG_PREFIX)}"


def table_of(lines: Mapping[Group, UsageLine], asked: Sequence[str], columns: Sequence[str], names: Names) -> Table:
    """`lines` are by the columns `asked` of the books; the table's are some of them. The dearest come first."""
    summed: dict[Group, UsageLine] = {}
    for group, line in lines.items():
        wanted = tuple(group[asked.index(column)] for column in columns)
        summed[wanted] = added(summed.get(wanted, UsageLine()), line)
    rows = [
        Row(group, tuple(_name(column, one, names) for column, one in zip(columns, group, strict=True)), line)
        for group, line in summed.items()
    ]
    by_day = bool(columns) and columns[0] == "day"
    rows.sort(key=lambda row: (row.group[0] or "" if by_day else "", -row.line.cost_nano_usd, row.names))
    return Table(tuple(columns), tuple(rows), total_of(row.line for row in rows))


def total_of(lines: Iterable[UsageLine]) -> UsageLine:
    return UsageLine(*map(sum, zip(UsageLine(), *lines, strict=True)))


def added(one: UsageLine, other: UsageLine) -> UsageLine:
    return UsageLine(*(mine + yours for mine, yours in zip(one, other, strict=True)))


def header_of(columns: Sequence[str]) -> list[str]:
    """Of what has a name the name and the id."""
    groups = [label for column in columns for label in _labels(column)]
    return [*groups, *MEASURES.values()]


def csv_of(table: Table) -> str:
    """Its rows, in its order, amounts with all nine decimals; the total is the spreadsheet's to draw."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([guarded(label) for label in header_of(table.columns)])
    for row in table.rows:
        cells = [
            cell
            for column, one, name in zip(table.columns, row.group, row.names, strict=True)
            for cell in ((name, one) if column in NAMED else (name,))
        ]
        writer.writerow([guarded(cell) for cell in (*cells, *map(str, _measures(row.line)))])
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Axis:
    """Days, weeks or months, whichever people can still tell apart; each begins at its own of `starts`."""

    unit: str
    starts: tuple[date, ...]
    periods: tuple[Period, ...]

    def place(self, day: date) -> int:
        return max(bisect_right(self.starts, day) - 1, 0)


def axis_between(first: date, last: date) -> Axis:
    count = (last - first).days + 1
    if count <= DAYS_BY_DAY_MAX:
        periods = days_between(first, last)
        return Axis("day", tuple(date.fromisoformat(period.name) for period in periods), tuple(periods))
    if count <= DAYS_BY_WEEK_MAX:
        monday = first - timedelta(days=first.weekday())
        weeks = [monday + timedelta(days=7 * number) for number in range((last - monday).days // 7 + 1)]
        return Axis("week", tuple(weeks), tuple(Period(f"week of {day}", f"{day:%b %-d}") for day in weeks))
    months = [first.replace(day=1)]
    while (following := (months[-1] + timedelta(days=31)).replace(day=1)) <= last:
        months.append(following)
    return Axis("month", tuple(months), tuple(Period(f"{day:%Y-%m}", f"{day:%b %Y}") for day in months))


def days_between(first: date, last: date) -> list[Period]:
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [Period(day.isoformat(), f"{day:%b %-d}") for day in days]


def series_of(
    lines: Mapping[Group, UsageLine], asked: Sequence[str], column: str | None, axis: Axis, names: Names
) -> tuple[Series, ...]:
    """What each of a column cost over time, the dearest first; those beyond the colours go together."""
    sums: dict[str | None, list[int]] = {}
    for group, line in lines.items():
        one = None if column is None else group[asked.index(column)]
        amounts = sums.setdefault(one, [0] * len(axis.periods))
        amounts[axis.place(date.fromisoformat(str(group[asked.index("day")])))] += line.cost_nano_usd
    ranked = sorted(sums.items(), key=lambda row: (-sum(row[1]), row[0] or ""))
    shown = [
        Series("Cost" if column is None else _name(column, one, names), tuple(amounts))
        for one, amounts in ranked[:SERIES_MAX]
    ]
    rest = [amounts for _, amounts in ranked[SERIES_MAX:]]
    if rest:
        shown.append(Series(f"{len(rest)} others", tuple(map(sum, zip(*rest, strict=True)))))
    return tuple(shown)


def _labels(column: str) -> tuple[str, ...]:
    label = label_of(column)
    return (label, f"{label} id") if column in NAMED else (label,)


def _name(column: str, one: str | None, names: Names) -> str:
    if one is None:
        return "none"
    return names.of(column, one) if column in NAMED else one


def _measures(line: UsageLine) -> list[str | int]:
    found = line._asdict()
    return [usd_text(found[name]) if name.endswith("_nano_usd") else found[name] for name in MEASURES]
