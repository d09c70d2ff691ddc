"""Reads what a provider says it charged: OpenAI's `/v1/organization/costs` pages, or a CSV with a header. Pure.

Amounts stay the decimals that were written; nothing is rounded, and what cannot be read is refused with its place.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from billing.usage_span import day_span

EXPORT_BYTES_MAX: Final = 256 * 1024 * 1024
AMOUNT_DIGITS_MAX: Final = 12  # before the point: more is no bill
AMOUNT_DECIMALS_MAX: Final = 40
YEARS: Final = range(2000, 2200)
DAYS_MAX: Final = 3660
USD: Final = "usd"

_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "day": (
        *("date", "day", "usage_date", "usage_day", "start_date", "start_time_iso", "start_time", "usage_start"),
        "from",
    ),
    "amount": ("cost_usd", "amount_usd", "usd", "cost_in_usd", "cost", "amount_value", "amount", "total_cost", "total"),
    "currency": ("currency", "amount_currency", "billing_currency"),
    "provider": ("provider", "vendor", "provider_name"),
    "model": ("model", "model_name", "line_item", "item", "sku", "model_id"),
    "project": ("project_id", "project", "project_name"),
}
_AMOUNT: Final = re.compile(
    r"'?(-?)\s*\$?\s*((?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?)", re.ASCII
)
_EPOCH_S: Final = re.compile(r"[0-9]{9,11}", re.ASCII)
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9]+")


class ExportUnreadable(ValueError):
    """An export that is neither of the two, or a place in it that means nothing."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One line: what was charged for a span of time, and for what. `half_step` is half its last written decimal."""

    from_at_us: int
    to_at_us: int
    provider: str | None
    item: str | None
    project: str | None
    amount: Decimal
    half_step: Decimal
    currency: str


class _Amount(msgspec.Struct, frozen=True):
    value: Decimal = Decimal(0)
    currency: str = USD


class _Result(msgspec.Struct, frozen=True):
    amount: _Amount = _Amount()
    line_item: str | None = None
    project_id: str | None = None


class _Bucket(msgspec.Struct, frozen=True):
    start_time: int
    end_time: int
    results: tuple[_Result, ...] = ()
    result: tuple[_Result, ...] = ()  # the name that early pages had


class _Page(msgspec.Struct, frozen=True):
    data: tuple[_Bucket, ...]
    has_more: bool = False


_document: Final = msgspec.json.Decoder(_Page | tuple[_Page, ...])
_lines: Final = msgspec.json.Decoder(_Page)


@dataclass(frozen=True, slots=True)
class Export:
    """The charges, and every span that the export speaks of, those without a charge too; in order of time."""

    charges: tuple[Charge, ...]
    spans: tuple[tuple[int, int], ...]


def read_export(document: bytes, timezone: str = "UTC") -> Export:
    """`timezone` is whose days a CSV means; OpenAI's buckets name instants."""
    if len(document) > EXPORT_BYTES_MAX:
        raise ExportUnreadable(f"the export is larger than {EXPORT_BYTES_MAX} bytes: split it by month")
    try:
        text = document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExportUnreadable(f"the export is not UTF-8 at byte {error.start}: save it as UTF-8") from None
    if text.lstrip()[:1] in ("{", "["):
        return _of_pages(text)
    return _of_csv(text, ZoneInfo(timezone))


def _of_pages(text: str) -> Export:
    pages = _pages(text)
    if pages and pages[-1].has_more:
        raise ExportUnreadable("the last page says `has_more`: fetch the pages that follow and give all of them")
    spans: list[tuple[int, int]] = []
    charges: list[Charge] = []
    for bucket in (bucket for page in pages for bucket in page.data):
        span = bucket.start_time * _SECOND_US, bucket.end_time * _SECOND_US
        if not 0 <= span[0] < span[1] < 2**62:
            raise ExportUnreadable(f"a bucket from {bucket.start_time} to {bucket.end_time} is no span: export it anew")
        spans.append(span)
        for result in (*bucket.results, *bucket.result):
            amount = _bounded(result.amount.value, f"the bucket at {bucket.start_time}")
            charges.append(
                Charge(*span, None, result.line_item, result.project_id, *amount, result.amount.currency.lower())
            )
    return Export(tuple(charges), _ordered(spans))


def _pages(text: str) -> Sequence[_Page]:
    try:
        found = _document.decode(text)
    except msgspec.ValidationError as error:
        raise ExportUnreadable(f"no costs as OpenAI's API gives them: {error}") from None
    except msgspec.DecodeError:
        # One page a line, as a loop over the pages writes them.
        try:
            return [_lines.decode(line) for line in text.splitlines() if line.strip()]
        except msgspec.MsgspecError as error:
            raise ExportUnreadable(f"no costs as OpenAI's API gives them: {error}") from None
    return (found,) if isinstance(found, _Page) else found


def _ordered(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    ordered = sorted(spans)
    for before, after in pairwise(ordered):
        if after[0] < before[1]:
            raise ExportUnreadable(
                f"two buckets overlap at {after[0] // _SECOND_US}: give each page once, all of one bucket width"
            )
    return tuple(ordered)


def _of_csv(text: str, zone: ZoneInfo) -> Export:
    head, _, _ = text.partition("\n")
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = _columns(next(reader, []))
        charges = tuple(_charges(reader, columns, zone))
    except csv.Error as error:
        raise ExportUnreadable(f"line {reader.line_num}: {error}: save it as a plain CSV") from None
    if not charges:
        return Export((), ())
    # Days without a charge are not in such a file; the ledger may have some for them.
    day = min(charge.from_at_us for charge in charges)
    last = max(charge.from_at_us for charge in charges)
    if (last - day) // _DAY_US > DAYS_MAX:
        raise ExportUnreadable(f"the export spans more than {DAYS_MAX} days: check its dates, or split it by year")
    spans: list[tuple[int, int]] = []
    while day <= last:
        spans.append(day_span(_local(day, zone).date(), zone))
        day = spans[-1][1]
    return Export(charges, tuple(spans))


def _columns(header: Sequence[str]) -> dict[str, int]:
    names = [_NOT_A_WORD.sub("_", name.strip().lower()).strip("_") for name in header]
    found = {
        column: names.index(name)
        for column, known in _COLUMNS.items()
        for name in [next((name for name in known if name in names), None)]
        if name is not None
    }
    for column in ("day", "amount"):
        if column not in found:
            raise ExportUnreadable(
                f"the first line names no column for the {column}: name one of its columns"
                f" {', '.join(_COLUMNS[column])}"
            )
    return found


def _charges(reader: Iterator[list[str]], columns: Mapping[str, int], zone: ZoneInfo) -> Iterator[Charge]:
    for number, row in enumerate(reader, start=2):
        if not any(cell.strip() for cell in row):
            continue
        cells = {name: row[place].strip() if place < len(row) else "" for name, place in columns.items()}
        where = f"row {number}"
        span = day_span(_day(cells["day"], zone, where), zone)
        amount = _bounded(_amount(cells["amount"], where), where)
        provider, model, project = (cells.get(name) or None for name in ("provider", "model", "project"))
        yield Charge(*span, provider, model, project, *amount, (cells.get("currency") or USD).lower())


def _amount(text: str, where: str) -> Decimal:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ExportUnreadable(f"{where}: {text[:40]!r} is no amount: write it as 1234.56")
    try:
        return Decimal(match[1] + match[2].replace(",", ""))
    except InvalidOperation:
        raise ExportUnreadable(f"{where}: {text[:40]!r} is no amount: write it as 1234.56") from None


def _bounded(amount: Decimal, where: str) -> tuple[Decimal, Decimal]:
    """The amount and half its last decimal; refused where it is beyond what anybody bills."""
    exponent = amount.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or exponent < -AMOUNT_DECIMALS_MAX
        or exponent > AMOUNT_DIGITS_MAX
        or (amount and amount.adjusted() >= AMOUNT_DIGITS_MAX)
    ):
        raise ExportUnreadable(f"{where}: {str(amount)[:40]} is no amount of money: check the export")
    return amount, Decimal((0, (5,), min(exponent, 0) - 1))


def _day(text: str, zone: ZoneInfo, where: str) -> date:
    try:
        if _EPOCH_S.fullmatch(text):
            day = _local(int(text) * _SECOND_US, zone).date()
        elif len(text) <= 10:
            day = date.fromisoformat(text.replace("/", "-"))
        else:
            at = datetime.fromisoformat(text)
            day = at.date() if at.tzinfo is None else at.astimezone(zone).date()
        if day.year not in YEARS:
            raise ValueError("no year of this ledger's")  # noqa: TRY301 - one sentence for all that is no day
        return day
    except (ValueError, OverflowError):
        raise ExportUnreadable(f"{where}: {text[:40]!r} is no day: write it as 2026-11-25") from None


def _local(at_us: int, zone: ZoneInfo) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).astimezone(zone)
