"""`/admin/v1/usage`: what was used and what it cost, by any of the columns, as JSON or CSV."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import FastAPI, Query
from starlette.responses import Response

from billing.store import UsageLine
from gateway.admin import shown
from gateway.admin.asked import UsageAsked, columns_of
from gateway.admin.by import By
from gateway.admin.instant import bound_at_us
from gateway.admin.problem import FieldError, Problem
from gateway.admin.rooms import AdminRooms
from gateway.admin.rules import Reach
from gateway.admin.sight import Sight
from gateway.admin.usage_report import Cell, Group, Names, Span, added, csv_text, rows, with_pending

_CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
Filters = Mapping[str, str]


def add(app: FastAPI, rooms: AdminRooms) -> None:
    @app.get("/admin/v1/usage", tags=["usage"], response_model=shown.Usage, responses=_CSV)
    def usage(by: By, asked: Annotated[UsageAsked, Query()]) -> shown.Usage | Response:
        zone = ZoneInfo(asked.timezone)
        span = Span(_bound("from", asked.from_, zone), _bound("to", asked.to, zone))
        columns = columns_of(asked.group_by)
        found = report(rooms, by.sight, columns, span, zone, asked.filters())
        if asked.format == "csv":
            headers = {"content-disposition": 'attachment; filename="usage.csv"'}
            return Response(
                csv_text(found, columns), 200, headers, media_type="text/csv; charset=utf-8; header=present"
            )
        return _page(found, asked.limit, int(asked.after or 0))


def report(
    rooms: AdminRooms, sight: Sight, columns: Sequence[str], span: Span, zone: ZoneInfo, filters: Filters
) -> list[dict[str, Cell]]:
    merged = usage_lines(rooms, sight, columns, span, zone, filters)
    if not columns and not merged:
        merged = {(): UsageLine()}
    names = Names(
        rooms.store.team_names() if "team" in columns else {},
        rooms.store.organizations.names() if "organization" in columns else {},
    )
    return rows(merged, columns, names)


def usage_lines(
    rooms: AdminRooms, sight: Sight, columns: Sequence[str], span: Span, zone: ZoneInfo, filters: Filters
) -> dict[Group, UsageLine]:
    """What is in the books and what is in flight, as far as the caller may see it."""
    parts = [part for bound in bounds_of(sight) if (part := both(bound, filters)) is not None]
    # Holds first: a request that settles in between is then counted twice for a moment rather than not at all.
    pending = rooms.pending()
    rooms.flush()
    merged: dict[Group, UsageLine] = {}
    for part in parts:
        holds = [hold for hold in pending if span.holds(hold.opened_at_us) and _kept(hold, part)]
        lines = rooms.store.usage(columns, span.from_at_us, span.to_at_us, zone.key, part)
        merged = added(merged, with_pending(lines, holds, columns, zone))
    return merged


def bounds_of(sight: Sight) -> list[Filters]:
    """What a caller sees as filters, of which none overlaps another."""
    if sight.whole:
        return [{}]
    if sight.of_organization and sight.organization_id is not None:
        return [{"organization_id": sight.organization_id}]
    if sight.reach is Reach.TEAMS:
        return [{"team_id": team_id} for team_id in sorted(sight.team_ids)]
    return [] if sight.user_id is None else [{"user_id": sight.user_id}]


def both(one: Filters, other: Filters) -> Filters | None:
    """None where nothing fits both."""
    if any(one[name] != other[name] for name in one.keys() & other.keys()):
        return None
    return {**one, **other}


def _page(found: list[dict[str, Cell]], limit: int | None, start: int) -> shown.Usage:
    end = len(found) if limit is None else start + limit
    more = end < len(found)
    return shown.Usage(data=found[start:end], has_more=more, next=str(end) if more else None)


def _kept(hold: object, filters: Filters) -> bool:
    return all(getattr(hold, name) == wanted for name, wanted in filters.items())


def _bound(name: str, text: str | None, zone: ZoneInfo) -> int | None:
    if text is None:
        return None
    try:
        return bound_at_us(text, zone)
    except (ValueError, OverflowError) as error:
        detail = f"`{name}` is no time; send a day as `2026-11-25` or an instant as `2026-11-25T08:00:00Z`"
        raise Problem("invalid", detail, errors=[FieldError(name, detail)]) from error
