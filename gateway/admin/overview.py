"""What the page at `/admin` says, gathered: the same figures that the API answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.admin import health, shown
from gateway.admin.desks.all_desks import Desks
from gateway.admin.door import Caller
from gateway.admin.instant import instant_text, midnight_at_us
from gateway.admin.local import Local
from gateway.admin.requests import last_requests
from gateway.admin.rooms import AdminRooms
from gateway.admin.usage import report
from gateway.admin.usage_report import Cell, Span

ROWS_MAX: Final = 50
_UTC: Final = ZoneInfo("UTC")
_NOTHING: Final[Mapping[str, Cell]] = {"requests": 0, "cost_usd": "0.000000000"}


def words(rooms: AdminRooms, desks: Desks, local: Local, by: Caller) -> dict[str, Any]:
    now_at_us = rooms.clock()
    today = Span(midnight_at_us(now_at_us), None)
    state = health.health_now(rooms)
    teams = desks.teams.page(by, ROWS_MAX, None)
    keys = desks.keys.page(by, ROWS_MAX, None)
    spent = {column: _by_id(report(rooms, by.sight, (column,), today, _UTC, {}), column) for column in ("team", "key")}
    names = {team.id: team.name for team in teams.data}
    return {
        "missing": state.missing,
        "today": report(rooms, by.sight, (), today, _UTC, {})[0],
        "pending_usd": state.pending_usd,
        "deployments": health.deployments_now(rooms),
        "replicas": local.states(),
        "teams": [{"team": team, **_spent(spent["team"], team.id)} for team in teams.data],
        "more_teams": teams.has_more,
        "keys": [
            {
                "key": key,
                "team_name": names.get(key.team_id or "", key.team_id),
                "state": key_state(key, instant_text(now_at_us)),
                **_spent(spent["key"], key.id),
            }
            for key in keys.data
        ],
        "more_keys": keys.has_more,
        "requests": last_requests(rooms, by.sight, ROWS_MAX, None).data,
        "version": rooms.version,
        "now": instant_text(now_at_us),
    }


def key_state(key: shown.Key, now: str) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "valid"


def _by_id(found: Sequence[Mapping[str, Cell]], column: str) -> dict[Cell, Mapping[str, Cell]]:
    return {row[f"{column}_id"]: row for row in found}


def _spent(found: Mapping[Cell, Mapping[str, Cell]], of: str) -> dict[str, Cell]:
    row = found.get(of, _NOTHING)
    return {"requests": row["requests"], "cost_usd": row["cost_usd"]}
