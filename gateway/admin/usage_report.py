"""A usage report put together: what is in the books, what is in flight, as rows and as CSV. Pure."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from billing.money import usd_text
from billing.store import UsageLine
from gateway.admin.asked import TAG_PREFIX
from gateway.admin.instant import day_text
from gateway.admin.rooms import PendingHold

Cell = str | int | None
Group = tuple[str | None, ...]


# A spreadsheet takes a cell that begins so for a formula, and runs it.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_MONEY_SUFFIX: Final = "_nano_usd"


class Span(NamedTuple):
    from_at_us: int | None
    to_at_us: int | None

    def holds(self, at_us: int) -> bool:
        return (self.from_at_us is None or self.from_at_us <= at_us) and (
            self.to_at_us is None or at_us < self.to_at_us
        )


def with_pending(
    lines: Mapping[Group, UsageLine], holds: Iterable[PendingHold], columns: Sequence[str], zone: ZoneInfo
) -> dict[Group, UsageLine]:
    """The holds of requests in flight, each added to the line that its settlement will count in."""
    merged = dict(lines)
    for hold in holds:
        group = tuple(_cell_of(hold, column, zone) for column in columns)
        line = merged.get(group, UsageLine())
        merged[group] = line._replace(pending_nano_usd=line.pending_nano_usd + hold.amount_nano_usd)
    return merged


def rows(
    lines: Mapping[Group, UsageLine], columns: Sequence[str], team_names: Mapping[str, str]
) -> list[dict[str, Cell]]:
    return [_row(group, lines[group], columns, team_names) for group in sorted(lines, key=_order)]


def csv_text(found: Sequence[Mapping[str, Cell]], columns: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    header = [*_names(columns), *(_shown_name(name) for name in UsageLine._fields)]
    writer.writerow([guarded(name) for name in header])
    writer.writerows([guarded(row[name]) for name in header] for row in found)
    return out.getvalue()


def guarded(cell: Cell) -> str:
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _row(group: Group, line: UsageLine, columns: Sequence[str], team_names: Mapping[str, str]) -> dict[str, Cell]:
    row: dict[str, Cell] = {}
    for column, value in zip(columns, group, strict=True):
        row[_id_name(column)] = value
        if column == "team":
            row["team_name"] = None if value is None else team_names.get(value)
    for name, amount in line._asdict().items():
        row[_shown_name(name)] = usd_text(amount) if name.endswith(_MONEY_SUFFIX) else amount
    return row


def _names(columns: Sequence[str]) -> list[str]:
    return [
        name
        for column in columns
        for name in ((_id_name(column), "team_name") if column == "team" else (_id_name(column),))
    ]


def _id_name(column: str) -> str:
    return f"{column}_id" if column in ("team", "user", "key") else column


def _shown_name(measure: str) -> str:
    return measure.removesuffix(_MONEY_SUFFIX) + "_usd" if measure.endswith(_MONEY_SUFFIX) else measure


def _cell_of(hold: PendingHold, column: str, zone: ZoneInfo) -> str | None:
    if column.startswith(TAG_PREFIX):
        wanted = column.removeprefix(TAG_PREFIX) + "="
        return next((tag.removeprefix(wanted) for tag in hold.tags if tag.startswith(wanted)), None)
    if column == "day":
        return day_text(hold.opened_at_us, zone)
    return {
        "team": hold.team_id,
        "user": hold.user_id,
        "key": hold.key_id,
        "model": hold.model,
        "provider": hold.provider,
    }[column]


def _order(group: Group) -> tuple[tuple[bool, str], ...]:
    return tuple((cell is None, cell or "") for cell in group)
