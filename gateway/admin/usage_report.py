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
NAMED: Final = ("organization", "team")  # beside whose id stands a name
_MONEY_SUFFIX: Final = "_nano_usd"


class Names(NamedTuple):
    """What ids are called, for the columns that have a name beside the id."""

    teams: Mapping[str, str] = {}
    organizations: Mapping[str, str] = {}


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


def added(one: Mapping[Group, UsageLine], other: Mapping[Group, UsageLine]) -> dict[Group, UsageLine]:
    """The sums of both, group by group."""
    sums = dict(one)
    for group, line in other.items():
        before = sums.get(group)
        sums[group] = line if before is None else UsageLine(*map(sum, zip(before, line, strict=True)))
    return sums


def rows(lines: Mapping[Group, UsageLine], columns: Sequence[str], names: Names) -> list[dict[str, Cell]]:
    return [_row(group, lines[group], columns, names) for group in sorted(lines, key=_order)]


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


def _row(group: Group, line: UsageLine, columns: Sequence[str], names: Names) -> dict[str, Cell]:
    row: dict[str, Cell] = {}
    for column, value in zip(columns, group, strict=True):
        row[_id_name(column)] = value
        if column in NAMED:
            known = names.teams if column == "team" else names.organizations
            row[f"{column}_name"] = None if value is None else known.get(value)
    for name, amount in line._asdict().items():
        row[_shown_name(name)] = usd_text(amount) if name.endswith(_MONEY_SUFFIX) else amount
    return row


def _names(columns: Sequence[str]) -> list[str]:
    return [
        name
        for column in columns
        for name in ((_id_name(column), f"{column}_name") if column in NAMED else (_id_name(column),))
    ]


def _id_name(column: str) -> str:
    return f"{column}_id" if column in (*NAMED, "user", "key") else column


def _shown_name(measure: str) -> str:
    return measure.removesuffix(_MONEY_SUFFIX) + "_usd" if measure.endswith(_MONEY_SUFFIX) else measure


def _cell_of(hold: PendingHold, column: str, zone: ZoneInfo) -> str | None:
    if column.startswith(TAG_PREFIX):
        wanted = column.removeprefix(TAG_PREFIX) + "="
        return next((tag.removeprefix(wanted) for tag in hold.tags if tag.startswith(wanted)), None)
    if column == "day":
        return day_text(hold.opened_at_us, zone)
    return {
        "organization": hold.organization_id,
        "team": hold.team_id,
        "user": hold.user_id,
        "key": hold.key_id,
        "model": hold.model,
        "provider": hold.provider,
        "end_user": hold.end_user,
    }[column]


def _order(group: Group) -> tuple[tuple[bool, str], ...]:
    return tuple((cell is None, cell or "") for cell in group)
