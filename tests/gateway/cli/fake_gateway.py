"""A gateway's admin API over a real socket, kept in memory; `test_desk.py` holds it to what the real one does."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMIN_KEY = "tp-admin-of-the-fake"
CREATED_AT = "2026-11-25T00:00:00Z"


@dataclass
class FakeGateway:
    port: int = 0
    page_rows_max: int = 1000
    teams: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    organizations: dict[str, dict[str, Any]] = field(default_factory=dict)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    budgets: dict[str, dict[str, Any]] = field(default_factory=dict)
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: list[dict[str, Any]] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)
    replicas: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    raw: tuple[int, bytes] | None = None
    """What to answer instead of anything sensible."""

    def answer(self, method: str, target: str, authorization: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.asked.append((method, target))
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        if authorization != f"Bearer {ADMIN_KEY}":
            return refused(401, "Send the admin key.")
        parts = [unquote(part) for part in url.path.removeprefix("/admin/v1/").split("/")]
        match method, parts:
            case "GET", [("teams" | "organizations" | "users" | "budgets" | "limits") as room]:
                return self.page(list(getattr(self, room).values()), query)
            case "POST", [("organizations" | "users" | "budgets") as room]:
                return self.create(getattr(self, room), room.removesuffix("s"), {"name": "-"} | body)
            case "POST", ["limits"]:
                self.limits[body["model"]] = {"id": body["model"], **body}
                return 201, self.limits[body["model"]]
            case _, ["teams", team_id, "members", *rest]:
                return self.of_team(method, team_id, rest, body, query)
            case "GET", ["keys"]:
                wanted = query.get("team_id")
                return self.page([key for key in self.keys.values() if wanted in (None, key["team_id"])], query)
            case "GET", ["usage"]:
                return self.page(self.usage, query)
            case "POST", ["teams"]:
                return self.create(self.teams, "team", {"organization_id": None} | body)
            case "POST", ["keys"]:
                return self.create_key(body)
            case "POST", ["keys", key_id, "rotate"] if key_id in self.keys:
                return 201, self.keys[key_id] | {"key": "tp-rotated", "overlap": body["overlap_seconds"]}
            case ("GET" | "PATCH" | "DELETE") as verb, [
                ("teams" | "keys" | "organizations" | "users" | "budgets" | "limits") as room,
                one,
            ]:
                return self.one(getattr(self, room), verb, room, one, body)
        return self.local(method, parts, query)

    def page(self, rows: list[dict[str, Any]], query: dict[str, str]) -> tuple[int, Any]:
        start = int(query.get("after", "0"))
        end = start + min(int(query["limit"]) if "limit" in query else 100, self.page_rows_max)
        more = end < len(rows)
        return 200, {"data": rows[start:end], "has_more": more, "next": str(end) if more else None}

    def create(self, room: dict[str, dict[str, Any]], kind: str, body: dict[str, Any]) -> tuple[int, Any]:
        if not body.get("name"):
            return refused(422, "Not valid.", errors=[{"field": "name", "detail": "must not be empty"}])
        made = body | {"id": body.get("id") or f"{kind}_{len(room) + 1}", "created_at": CREATED_AT}
        if made["id"] in room:
            return refused(409, f"There is a {kind} {made['id']} already.")
        room[made["id"]] = made
        return 201, made

    def create_key(self, body: dict[str, Any]) -> tuple[int, Any]:
        secret = body.pop("key", None) or "tp-made-by-the-fake"
        if "key_sha256" in body:
            secret = body.pop("key_sha256") and None
        unset: dict[str, Any] = {
            "team_id": None,
            "user_id": None,
            "models_allowed": [],
            "scopes": [],
            "expires_at": None,
        }
        status, made = self.create(self.keys, "key", unset | {"prefix": (secret or "")[:6], "revoked_at": None} | body)
        return status, made | {"key": secret} if status == 201 else made

    def one(
        self, room: dict[str, dict[str, Any]], verb: str, name: str, one: str, body: dict[str, Any]
    ) -> tuple[int, Any]:
        if one not in room:
            return refused(404, f"There is no {name.removesuffix('s')} {one}.")
        if verb == "PATCH":
            room[one] |= body
        if verb == "DELETE" and name != "keys":
            del room[one]
            return 204, None
        if verb == "DELETE":
            room[one]["revoked_at"] = CREATED_AT
        return 200, room[one]

    def of_team(
        self, method: str, team_id: str, rest: list[str], body: dict[str, Any], query: dict[str, str]
    ) -> tuple[int, Any]:
        if method == "GET":
            return self.page([row for row in self.members if row["team_id"] == team_id], query)
        member = {"team_id": team_id, "user_id": rest[0] if rest else body["user_id"], "created_at": CREATED_AT}
        if method == "POST":
            self.members.append(member)
            return 201, member
        self.members.remove(member)
        return 204, None

    def local(self, method: str, parts: list[str], query: dict[str, str]) -> tuple[int, Any]:
        mine = [row for row in self.replicas if parts[:1] == ["local"] and parts[1:2] in ([], [row["model"]])]
        if not mine:
            return refused(404, "No local model is named so.")
        if parts[2:] == ["logs"]:
            return 200, {"model": parts[1], "lines": [f"line {n}" for n in range(int(query["lines"]))]}
        if method == "POST":
            for row in mine:
                row["state"] = {"start": "starting", "stop": "draining"}[parts[2]]
        return (200 if method == "GET" else 202), {"data": mine}


def refused(status: int, detail: str, **more: object) -> tuple[int, Any]:
    return status, {"type": "about:blank", "title": "Refused", "status": status, "detail": detail} | more


@contextmanager
def running(gateway: FakeGateway) -> Iterator[FakeGateway]:
    """The fake on a free port, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", "0")))
            status, said = gateway.answer(
                self.command, self.path, self.headers.get("authorization", ""), json.loads(sent) if sent else {}
            )
            raw = b"" if said is None else json.dumps(said).encode()
            if gateway.raw is not None:
                status, raw = gateway.raw
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PATCH = do_DELETE = do  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gateway.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def words_of(text: str) -> list[list[str]]:
    """A printed table, cell by cell: two spaces or more part the columns."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
