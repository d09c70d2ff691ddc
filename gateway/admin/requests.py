"""`/admin/v1/requests`: the last ones, and of each the whole story: attempts, reasons, tokens, money, entries."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Query

from billing.money import usd_text
from billing.request_log import AttemptRow, RequestRow
from billing.store import Entry
from gateway.admin import shown
from gateway.admin.asked import RequestsAsked
from gateway.admin.by import By
from gateway.admin.instant import instant_text
from gateway.admin.paging import seen
from gateway.admin.problem import Problem
from gateway.admin.rooms import AdminRooms
from gateway.admin.sight import Sight


def add(app: FastAPI, rooms: AdminRooms) -> None:
    @app.get("/admin/v1/requests", tags=["requests"])
    def list_requests(by: By, asked: Annotated[RequestsAsked, Query()]) -> shown.Requests:
        return last_requests(rooms, by.sight, asked.limit, asked.after)

    @app.get("/admin/v1/requests/{request_id}", tags=["requests"])
    def get_request(by: By, request_id: str) -> shown.RequestInFull:
        return request_in_full(rooms, by.sight, request_id)


def last_requests(rooms: AdminRooms, sight: Sight, limit: int, after: str | None) -> shown.Requests:
    rooms.flush()
    data, rest = seen(rooms.store.requests, lambda row: sees(sight, row), lambda row: row.request_id, limit, after)
    return shown.Requests(data=[shown.Request(**_summary(row)) for row in data], **rest._asdict())


def sees(sight: Sight, row: RequestRow) -> bool:
    """As of the key that it came with: its team's, or else its user's."""
    return sight.key(row.team_id, row.user_id, None)


def request_in_full(rooms: AdminRooms, sight: Sight, request_id: str) -> shown.RequestInFull:
    rooms.flush()
    found = rooms.store.request(request_id)
    if found is not None and not sees(sight, found.row):
        found = None
    if found is None:
        raise Problem(
            "not_found",
            f"No request has the id `{request_id[:100]}`. It is the `x-request-id` of an answer, and shows here when "
            "the request is over.",
        )
    attempts = [_attempt(row, found.entries) for row in found.row.attempts]
    return shown.RequestInFull(**_summary(found.row), attempts=attempts)


def _summary(row: RequestRow) -> dict[str, Any]:
    return {
        "id": row.request_id,
        "created_at": instant_text(row.at_us),
        "status": row.status,
        "error_code": row.error_code,
        "model_asked": row.model_asked,
        "model": row.model,
        "provider": row.provider,
        "route": row.route,
        "why": row.why,
        "cache": row.cache,
        "stream": row.stream,
        "key_id": row.key_id,
        "team_id": row.team_id,
        "user_id": row.user_id,
        "end_user": row.end_user,
        "tags": list(row.tags),
        "duration_ms": row.duration_us / 1000,
        "first_content_ms": None if row.first_content_us is None else row.first_content_us / 1000,
        "cost_usd": usd_text(row.cost_nano_usd),
    }


def _attempt(row: AttemptRow, entries: Sequence[Entry]) -> shown.Attempt:
    return shown.Attempt(
        attempt=row.attempt,
        provider=row.provider,
        model=row.model,
        why=row.why,
        status=row.status,
        outcome=row.outcome,
        error=row.error,
        started_at=instant_text(row.started_at_us),
        duration_ms=row.duration_us / 1000,
        **row.usage._asdict(),
        cost_usd=usd_text(row.cost_nano_usd),
        entries=[_entry(entry) for entry in entries if entry.attempt == row.attempt],
    )


def _entry(entry: Entry) -> shown.LedgerEntry:
    return shown.LedgerEntry(
        id=str(entry.id),
        kind=entry.kind,
        amount_usd=usd_text(entry.amount_nano_usd),
        created_at=instant_text(entry.at_us),
    )
