"""`/admin/v1/usage`: what was used and what it cost, by any of the columns, as JSON or CSV."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import FastAPI, Query
from starlette.responses import Response

from billing.store import UsageLine
from gateway.admin import shown
from gateway.admin.asked import UsageAsked, columns_of
from gateway.admin.instant import bound_at_us
from gateway.admin.problem import FieldError, Problem
from gateway.admin.rooms import AdminRooms
from gateway.admin.usage_report import Cell, Span, csv_text, rows, with_pending

_CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


def add(app: FastAPI, rooms: AdminRooms) -> None:
    @app.get("/admin/v1/usage", tags=["usage"], response_model=shown.Usage, responses=_CSV)
    def usage(asked: Annotated[UsageAsked, Query()]) -> shown.Usage | Response:
        zone = ZoneInfo(asked.timezone)
        span = Span(_bound("from", asked.from_, zone), _bound("to", asked.to, zone))
        columns = columns_of(asked.group_by)
        found = report(rooms, columns, span, zone, {} if asked.team is None else {"team_id": asked.team})
        if asked.format == "csv":
            return Response(csv_text(found, columns), media_type="text/csv; charset=utf-8; header=present")
        return _page(found, asked.limit, int(asked.after or 0))


def report(
    rooms: AdminRooms, columns: Sequence[str], span: Span, zone: ZoneInfo, filters: Mapping[str, str]
) -> list[dict[str, Cell]]:
    # Holds first: a request that settles in between is then counted twice for a moment rather than not at all.
    holds = [hold for hold in rooms.pending() if span.holds(hold.opened_at_us) and _kept(hold, filters)]
    rooms.flush()
    lines = rooms.store.usage(columns, span.from_at_us, span.to_at_us, zone.key, filters)
    merged = with_pending(lines, holds, columns, zone)
    if not columns and not merged:
        merged = {(): UsageLine()}
    return rows(merged, columns, rooms.store.team_names() if "team" in columns else {})


def _page(found: list[dict[str, Cell]], limit: int | None, start: int) -> shown.Usage:
    end = len(found) if limit is None else start + limit
    more = end < len(found)
    return shown.Usage(data=found[start:end], has_more=more, next=str(end) if more else None)


def _kept(hold: object, filters: Mapping[str, str]) -> bool:
    return all(getattr(hold, name) == wanted for name, wanted in filters.items())


def _bound(name: str, text: str | None, zone: ZoneInfo) -> int | None:
    if text is None:
        return None
    try:
        return bound_at_us(text, zone)
    except (ValueError, OverflowError) as error:
        detail = f"`{name}` is no time; send a day as `2026-11-25` or an instant as `2026-11-25T08:00:00Z`"
        raise Problem("invalid", detail, errors=[FieldError(name, detail)]) from error
