"""Usage by any two columns: a plot over time, the table under it, and the CSV of exactly that table."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin.asked import TAG_PREFIX
from gateway.admin.instant import at_us
from gateway.admin.pages.choices import Choices, named
from gateway.admin.pages.fields import Id, Timezone
from gateway.admin.pages.figures import local, places_of
from gateway.admin.pages.forms import Form, Sheet, Wrong, read, wrong
from gateway.admin.pages.loader import Loader
from gateway.admin.pages.plot import NARROW, WIDE, stacked_bars
from gateway.admin.pages.renderer import SECURITY_HEADERS, Pages, zone_chosen
from gateway.admin.pages.usage_table import (
    COLUMNS,
    MEASURES,
    NAMED,
    Axis,
    Table,
    axis_between,
    csv_of,
    header_of,
    label_of,
    series_of,
    table_of,
)
from gateway.admin.pages.zone import known_zones, zone_of
from gateway.admin.problem import Problem
from gateway.admin.usage_report import Span

DAYS_MAX: Final = 3660
ROWS_SHOWN_MAX: Final = 2000
_TAG: Final = "tag"
GROUPS: Final[Choices] = (*COLUMNS.items(), (_TAG, "A tag…"))
_Group = Literal["organization", "team", "user", "key", "end_user", "model", "provider", "day", "tag"]


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("form", "A day, as 2025-11-30.") from None
    return text


_Day = Annotated[str, AfterValidator(_day)]
_Tag = Annotated[str, Field(max_length=100, pattern=r"^[^\s,=]+$")]


class UsageForm(Form):
    by: _Group = "team"
    by_tag: _Tag | None = None
    then: _Group | Literal["none"] = "model"
    then_tag: _Tag | None = None
    first: _Day
    last: _Day
    timezone: Timezone
    team: Id | None = None
    exact: Literal["1"] | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.by == _TAG and self.by_tag is None:
            raise wrong("by_tag", "Name the tag, as feature.")
        if self.then == _TAG and self.then_tag is None:
            raise wrong("then_tag", "Name the tag, as feature.")
        if self.first > self.last:
            raise wrong("last", "Not before the first day.")
        if (date.fromisoformat(self.last) - date.fromisoformat(self.first)).days >= DAYS_MAX:
            raise wrong("first", f"At most {DAYS_MAX} days in one report.")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        first = f"{TAG_PREFIX}{self.by_tag}" if self.by == _TAG else self.by
        then = f"{TAG_PREFIX}{self.then_tag}" if self.then == _TAG else self.then
        return (first,) if then in ("none", first) else (first, then)


@dataclass(frozen=True, slots=True)
class Report:
    table: Table
    axis: Axis
    series: tuple[Any, ...]
    over: str | None  # the column that the plot's colours are


def add(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/usage", include_in_schema=False)
    def usage(request: Request) -> Response:
        asked = _asked(pages, request)
        try:
            form = read(UsageForm, asked)
        except Wrong as refusal:
            return pages.page(request, "usage.html", 422, **_words(pages, request, refusal.sheet, None))
        found = report(pages.loader(request), form)
        return pages.page(request, "usage.html", **_words(pages, request, Sheet(asked), (form, found)))

    @app.get("/admin/usage.csv", include_in_schema=False)
    def usage_csv(request: Request) -> Response:
        try:
            form = read(UsageForm, _asked(pages, request))
        except Wrong as refusal:
            raise Problem("invalid", f"{refusal}. Open /admin/usage and take the link there.") from refusal
        name = f"usage-{'-'.join(form.columns)}-{form.first}-{form.last}.csv".replace(TAG_PREFIX, "tag-")
        safe = "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in name if letter.isascii())
        headers = {**SECURITY_HEADERS, "content-disposition": f'attachment; filename="{safe}"'}
        text = csv_of(report(pages.loader(request), form).table)
        return Response(text, 200, headers, media_type="text/csv; charset=utf-8; header=present")


def report(loader: Loader, form: UsageForm) -> Report:
    """One reading of the books for plot and table, so that their sums are the same to the last digit."""
    zone = zone_of(form.timezone)
    assert zone is not None
    columns = form.columns
    asked = columns if "day" in columns else ("day", *columns)
    merged = loader.usage(asked, span_of(form, zone), zone, {} if form.team is None else {"team_id": form.team})
    key_ids = {group[asked.index("key")] for group in merged} if "key" in columns else ()
    names = loader.names(*(f"{column}s" for column in columns if column in NAMED and column != "key"), key_ids=key_ids)
    axis = axis_between(date.fromisoformat(form.first), date.fromisoformat(form.last))
    over = next((column for column in columns if column != "day"), None)
    return Report(table_of(merged, asked, columns, names), axis, series_of(merged, asked, over, axis, names), over)


def span_of(form: UsageForm, zone: ZoneInfo) -> Span:
    """The last day belongs to it, to its midnight."""
    first, last = date.fromisoformat(form.first), date.fromisoformat(form.last)
    start, end = (datetime(day.year, day.month, day.day, tzinfo=zone) for day in (first, last + timedelta(days=1)))
    return Span(at_us(start), at_us(end))


def _asked(pages: Pages, request: Request) -> dict[str, str]:
    """What the query says, and this month where it says nothing."""
    query = dict(request.query_params)
    zone = zone_of(query.get("timezone", "")) or zone_chosen(request)
    today = local(pages.rooms.clock(), zone).date()
    defaults = {
        "by": "team",
        "then": "model",
        "first": today.replace(day=1).isoformat(),
        "last": today.isoformat(),
        "timezone": zone.key,
    }
    return defaults | {name: text for name, text in query.items() if text}


def _words(pages: Pages, request: Request, sheet: Sheet, made: tuple[UsageForm, Report] | None) -> dict[str, Any]:
    teams = {one.id: one.name for one in pages.loader(request).teams(None, 1000).data}
    today = local(pages.rooms.clock(), zone_chosen(request)).date()
    words: dict[str, Any] = {
        "section": "usage",
        "sheet": sheet,
        "groups": GROUPS,
        "teams": named(teams, "All teams"),
        "zones": [(zone, "") for zone in known_zones()],
        "spans": [(text, _link(sheet, first=first, last=last)) for text, first, last in _spans(today)],
        "report": None,
    }
    if made is None:
        return words
    form, report = made
    title = f"Cost by {report.axis.unit}, {form.first} to {form.last}"
    has_cost = any(any(one.amounts) for one in report.series)
    costs = [
        amount for row in report.table.rows for name, amount in row.line._asdict().items() if name.endswith("_nano_usd")
    ]
    return words | {
        "report": report,
        "title": title,
        "plots": [stacked_bars(report.axis.periods, report.series, width, title) for width in (WIDE, NARROW)]
        if has_cost
        else [],
        "legend": [one.name for one in report.series] if report.over else [],
        "over": label_of(report.over) if report.over else "",
        "header": header_of(report.table.columns),
        "measures": MEASURES,
        "named": NAMED,
        "places": 9 if form.exact else places_of(costs),
        "exact": form.exact is not None,
        "rows": report.table.rows[:ROWS_SHOWN_MAX],
        "csv_link": "/admin/usage.csv?" + urlencode(_query(sheet)),
        "exact_link": _link(sheet, exact="" if form.exact else "1"),
        "label_of": label_of,
        "timezone": form.timezone,
    }


def _spans(today: date) -> list[tuple[str, str, str]]:
    month = today.replace(day=1)
    before = (month - timedelta(days=1)).replace(day=1)
    return [
        (text, first.isoformat(), last.isoformat())
        for text, first, last in (
            ("This month", month, today),
            (f"{before:%B}", before, month - timedelta(days=1)),
            ("7 days", today - timedelta(days=6), today),
            ("30 days", today - timedelta(days=29), today),
            ("12 months", (today - timedelta(days=364)).replace(day=1), today),
        )
    ]


def _query(sheet: Sheet, **other: str) -> dict[str, str]:
    return {name: text for name, text in {**sheet.values, **other}.items() if text and name in UsageForm.model_fields}


def _link(sheet: Sheet, **other: str) -> str:
    return "/admin/usage?" + urlencode(_query(sheet, **other))
