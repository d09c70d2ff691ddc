"""OpenAI's organization API at `/v1/organization`, for SDKs and dashboards that speak it.

Answers and refusals have OpenAI's shapes; who may see what is decided by the same table as everywhere.
"""

from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from billing.audit import AuditRow
from billing.keys import Key
from billing.roles import Role
from gateway.admin import openai_objects as objects
from gateway.admin.by import By
from gateway.admin.desks.all_desks import Desks
from gateway.admin.desks.counter import not_found
from gateway.admin.door import Caller
from gateway.admin.openai_asked import (
    COST_GROUPS,
    USAGE_GROUPS,
    Report,
    Sent,
    costs_asked,
    listed,
    page_name,
    usage_asked,
    wrong,
)
from gateway.admin.openai_buckets import Bucket, Lines, buckets, edges, regrouped
from gateway.admin.paging import everything, seen
from gateway.admin.problem import KINDS, Problem
from gateway.admin.rooms import AdminRooms
from gateway.admin.usage import usage_lines
from gateway.admin.usage_report import Span

ROOM: Final = "/v1/organization"
SECOND_US: Final = 1_000_000
_UTC: Final = ZoneInfo("UTC")
_ADMINISTER: Final = frozenset({Role.OWNER, Role.ADMIN})
_SINCE: Final[Mapping[str, int]] = {"gt": 1, "gte": 0}
_UNTIL: Final[Mapping[str, int]] = {"lt": 0, "lte": 1}


class OrganizationApi:
    def __init__(self, rooms: AdminRooms, desks: Desks) -> None:
        self._rooms: Final = rooms
        self._store: Final = rooms.store
        self._keys: Final = desks.keys

    def completions(self, by: Caller, sent: Sent) -> dict[str, Any]:
        asked = usage_asked(sent, self._now_s())
        found, following = self._buckets(by, asked, USAGE_GROUPS)
        if asked.batch:
            # Nothing here was a batch job.
            found = [bucket._replace(lines={}) for bucket in found]
        return objects.page_of(
            found, lambda group, line: objects.completions_of(asked.group_by, group, line), page_name(following)
        )

    def costs(self, by: Caller, sent: Sent) -> dict[str, Any]:
        asked = costs_asked(sent, self._now_s())
        found, following = self._buckets(by, asked, COST_GROUPS)
        return objects.page_of(
            found, lambda group, line: objects.costs_of(asked.group_by, group, line), page_name(following)
        )

    def projects(self, by: Caller, sent: Sent) -> dict[str, Any]:
        asked, _ = listed(sent), sent.flag("include_archived")
        sent.end(("limit", "after", "include_archived"))
        data, rest = seen(
            self._store.teams, lambda one: by.sight.team(one.id), lambda one: one.id, asked.limit, asked.after
        )
        shown = [objects.project_of(one.id, one.name, one.created_at_us) for one in data]
        return objects.list_of(shown, has_more=rest.has_more)

    def project(self, by: Caller, project_id: str) -> dict[str, Any]:
        found = self._store.team(project_id) if by.sight.team(project_id) else None
        if found is None:
            raise not_found("project", project_id, f"{ROOM}/projects")
        return objects.project_of(found.id, found.name, found.created_at_us)

    def project_keys(self, by: Caller, project_id: str, sent: Sent) -> dict[str, Any]:
        self.project(by, project_id)
        asked, access = listed(sent), sent.one_of("owner_project_access", ("active", "inactive", "any"), "any")
        sent.end(("limit", "after", "owner_project_access"))
        now_us = self._rooms.clock()

        def keep(key: Key) -> bool:
            works = key.expires_at_us is None or key.expires_at_us > now_us
            return (
                key.revoked_at_us is None
                and self._keys.sees(by, key)
                and (access == "any" or works is (access == "active"))
            )

        data, rest = seen(
            lambda rows, behind: self._store.keys(rows, behind, project_id),
            keep,
            lambda key: key.id,
            asked.limit,
            asked.after,
        )
        return objects.list_of([self._key_object(key) for key in data], has_more=rest.has_more)

    def project_key(self, by: Caller, project_id: str, key_id: str) -> dict[str, Any]:
        self.project(by, project_id)
        key = self._store.key(key_id)
        if key is None or key.team_id != project_id or key.revoked_at_us is not None or not self._keys.sees(by, key):
            raise not_found("key", key_id, f"{ROOM}/projects/{project_id}/api_keys")
        return self._key_object(key)

    def admin_keys(self, sent: Sent) -> dict[str, Any]:
        """The gateway's own, and keys of users that administer everything."""
        asked, order = listed(sent), sent.one_of("order", ("asc", "desc"), "asc")
        sent.end(("limit", "after", "order"))
        leads = {one.id: one for one in everything(self._store.users.list) if one.role in _ADMINISTER}
        keys = [key for key in everything(self._store.keys) if key.user_id in leads and key.revoked_at_us is None]
        shown = [
            objects.admin_key_of(None, None),
            *(objects.admin_key_of(key, leads[key.user_id or ""]) for key in keys),
        ]
        if order == "desc":
            shown.reverse()
        start = next((place + 1 for place, one in enumerate(shown) if one["id"] == asked.after), 0)
        data = shown[start : start + asked.limit]
        return objects.list_of(data, has_more=start + asked.limit < len(shown))

    def audit_logs(self, sent: Sent) -> dict[str, Any]:
        asked = listed(sent)
        types, actors = sent.texts("event_types"), sent.texts("actor_ids")
        resources = frozenset((*sent.texts("resource_ids"), *sent.texts("project_ids")))
        emails = {email.lower() for email in sent.texts("actor_emails")}
        since_s = [bound + more for name, more in _SINCE.items() if (bound := _second(sent, name)) is not None]
        until_s = [bound + more for name, more in _UNTIL.items() if (bound := _second(sent, name)) is not None]
        sent.end(("limit", "after", "event_types", "actor_ids", "actor_emails", "resource_ids", "project_ids"))
        people = {one.id: one.email for one in everything(self._store.users.list)}

        def keep(row: AuditRow) -> bool:
            at_s = row.at_us // SECOND_US
            return (
                row.action in objects.EVENTS
                and (not types or objects.EVENTS[row.action] in types)
                and (not actors or (row.actor.id or row.actor.type) in actors)
                and (not emails or people.get(row.actor.id or "") in emails)
                and (not resources or row.object_id in resources)
                and all(at_s >= bound for bound in since_s)
                and all(at_s < bound for bound in until_s)
            )

        data, rest = seen(self._store.audit.page, keep, lambda row: str(row.id), asked.limit, asked.after)
        shown = [objects.audit_log_of(row, people.get(row.actor.id or "")) for row in data]
        return objects.list_of(shown, has_more=rest.has_more)

    def _buckets(self, by: Caller, asked: Report, groups: Mapping[str, str | None]) -> tuple[list[Bucket], int | None]:
        kept = [ours for name in asked.group_by if (ours := groups[name]) is not None]
        columns = list(dict.fromkeys((*kept, *asked.wanted)))

        def sums(start_s: int, end_s: int) -> Lines:
            span = Span(start_s * SECOND_US, end_s * SECOND_US)
            lines = usage_lines(self._rooms, by.sight, columns, span, _UTC, {})
            # A hold is not used yet, and reports of OpenAI's have no place for it.
            settled = {group: line._replace(pending_nano_usd=0) for group, line in lines.items()}
            return regrouped({group: line for group, line in settled.items() if any(line)}, columns, kept, asked.wanted)

        places, following = edges(asked.start_s, asked.end_s, asked.width_s, asked.buckets_max)
        return buckets(places, sums), following

    def _key_object(self, key: Key) -> dict[str, Any]:
        user = None if key.user_id is None else self._store.users.get(key.user_id)
        return objects.api_key_of(key, user, self._rooms.clock())

    def _now_s(self) -> int:
        return -(-self._rooms.clock() // SECOND_US)


def add(app: FastAPI, rooms: AdminRooms, desks: Desks) -> None:
    organization = OrganizationApi(rooms, desks)

    @app.get(f"{ROOM}/costs", tags=["openai"])
    def costs(by: By, request: Request) -> dict[str, Any]:
        return organization.costs(by, _sent(request))

    @app.get(f"{ROOM}/usage/completions", tags=["openai"])
    def completions(by: By, request: Request) -> dict[str, Any]:
        return organization.completions(by, _sent(request))

    @app.get(f"{ROOM}/projects", tags=["openai"])
    def projects(by: By, request: Request) -> dict[str, Any]:
        return organization.projects(by, _sent(request))

    @app.get(ROOM + "/projects/{project_id}", tags=["openai"])
    def project(by: By, project_id: str) -> dict[str, Any]:
        return organization.project(by, project_id)

    @app.get(ROOM + "/projects/{project_id}/api_keys", tags=["openai"])
    def project_keys(by: By, project_id: str, request: Request) -> dict[str, Any]:
        return organization.project_keys(by, project_id, _sent(request))

    @app.get(ROOM + "/projects/{project_id}/api_keys/{key_id}", tags=["openai"])
    def project_key(by: By, project_id: str, key_id: str) -> dict[str, Any]:
        return organization.project_key(by, project_id, key_id)

    @app.get(f"{ROOM}/admin_api_keys", tags=["openai"])
    def admin_keys(request: Request) -> dict[str, Any]:
        return organization.admin_keys(_sent(request))

    @app.get(f"{ROOM}/audit_logs", tags=["openai"])
    def audit_logs(request: Request) -> dict[str, Any]:
        return organization.audit_logs(_sent(request))


def wanted(request: Request) -> bool:
    return request.url.path.startswith("/v1/")


def refused(request: Request, problem: Problem) -> Response:
    """OpenAI's shape, as the data plane has it."""
    kind = KINDS[problem.code]
    error = {
        "message": problem.detail,
        "type": "invalid_request_error" if kind.status < 500 else "server_error",
        "param": problem.errors[0].field if problem.errors else None,
        "code": "invalid_api_key" if kind.status == 401 else problem.code,
    }
    request_id = getattr(request.state, "request_id", None)
    headers = {"cache-control": "no-store"}
    if kind.status == 401:
        headers["www-authenticate"] = "Bearer"
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(problem.retry_after_s)
    body = {"error": error, "request_id": request_id}
    return Response(orjson.dumps(body), kind.status, headers, media_type="application/json")


def _sent(request: Request) -> Sent:
    return Sent(request.query_params.multi_items())


def _second(sent: Sent, bound: str) -> int | None:
    text = sent.text(f"effective_at[{bound}]")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 13):
        raise wrong("effective_at", "`effective_at` is in seconds since 1970")
    return int(text)
