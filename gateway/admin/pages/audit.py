"""The audit log: who changed what, newest first, each change with what was before and after."""

from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from billing.audit import AuditRow
from gateway.admin.pages.figures import when_s
from gateway.admin.pages.loader import ROWS
from gateway.admin.pages.renderer import Pages, zone_chosen
from gateway.admin.pages.views import Audited, Change, Listed

_INSTANT: Final = "_at_us"


def add(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/audit", include_in_schema=False)
    def listed(request: Request, after: str | None = None, object_id: str | None = None) -> Response:
        of, zone = (object_id or "").strip() or None, zone_chosen(request)
        page = pages.rooms.store.audit.page(ROWS, after, of)
        found = Listed(tuple(audited(row, zone) for row in page.data), page.next)
        return pages.page(request, "audit.html", section="audit", found=found, object_id=of or "", first=after is None)


def audited(row: AuditRow, zone: ZoneInfo) -> Audited:
    """What of it is not as it was, in words."""
    before, after = row.before or {}, row.after or {}
    changes = [
        Change(_field(name), _text(name, before.get(name), zone), _text(name, after.get(name), zone))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and name != "id"
    ]
    actor = row.actor.type.replace("_", " ")
    return Audited(
        row.id,
        row.at_us,
        f"{actor} {row.actor.id}" if row.actor.id else actor,
        row.action,
        row.object_id,
        tuple(change for change in changes if change.before or change.after),
    )


def _field(name: str) -> str:
    return name.removesuffix("_us").replace("_", " ")


def _text(name: str, value: Any, zone: ZoneInfo) -> str:
    if value is None or value in ("", [], {}):
        return ""
    if name.endswith(_INSTANT) and isinstance(value, int):
        return when_s(value, zone)
    if isinstance(value, Mapping):
        parts = ((one, _text(one, inner, zone)) for one, inner in value.items())
        return ", ".join(f"{_field(one)} {text}" for one, text in parts if text)
    if isinstance(value, list | tuple):
        return ", ".join(_text(name, one, zone) for one in value)
    return str(value)
