"""Usage put together from whole days, quarter hours and the edges beside them, day by day where days are asked for."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from billing import queries
from billing.usage_span import cut, days, whole_days


class UsageLine(NamedTuple):
    """What was used; `pending` is the caller's to add, the books in the database do not know what is in flight."""

    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano_usd: int = 0
    estimated_nano_usd: int = 0
    pending_nano_usd: int = 0
    saved_nano_usd: int = 0


def usage(
    tx: Connection, columns: Sequence[str], span: tuple[int, int], zone: ZoneInfo, filters: Mapping[str, str]
) -> dict[tuple[str | None, ...], UsageLine]:
    others = tuple(column for column in columns if column != "day")
    place = columns.index("day") if "day" in columns else None
    parts = [(day.name, day.from_at_us, day.to_at_us) for day in days(*span, zone)] if place is not None else []
    lines: dict[tuple[str | None, ...], UsageLine] = {}
    for name, from_at_us, to_at_us in parts if place is not None else [("", *span)]:
        for group, line in _sums(tx, others, from_at_us, to_at_us, filters).items():
            lines[group if place is None else (*group[:place], name, *group[place:])] = line
    return lines


def _sums(
    tx: Connection, columns: Sequence[str], from_at_us: int, to_at_us: int, filters: Mapping[str, str]
) -> dict[tuple[str | None, ...], UsageLine]:
    span = cut(from_at_us, to_at_us)
    whole = whole_days(span.first_quarter, span.end_quarter)
    rows = queries.usage_of_days(tx, whole.first, whole.end, columns, filters) if whole.first < whole.end else []
    for stretch in whole.more:
        rows += queries.usage_of_quarters(tx, *stretch, columns, filters)
    width = len(columns)
    for stretch in whole.less:
        taken = queries.usage_of_quarters(tx, *stretch, columns, filters)
        rows += [(*row[:width], *(-(value or 0) for value in row[width:])) for row in taken]
    for edge in span.edges:
        rows += queries.usage_of_entries(tx, *edge, columns, filters)
    lines: dict[tuple[str | None, ...], UsageLine] = {}
    for row in rows:
        group, sums = tuple(row[: len(columns)]), [int(value or 0) for value in row[len(columns) :]]
        if any(sums):  # without columns, the sum over nothing is a row of nulls
            before = lines.get(group, UsageLine())
            added = {name: getattr(before, name) + value for name, value in zip(queries.USAGE_SUMS, sums, strict=True)}
            lines[group] = UsageLine(**added)
    # A group of a day that was taken in whole may have nothing in the part that is wanted.
    return {group: line for group, line in lines.items() if any(line)}
