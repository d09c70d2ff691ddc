"""The desk for when no gateway runs: the same admin app over the same books, asked in this process.

So both desks have one set of checks and one shape of answers. Who may open the database file may use it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from billing.audit_head import AuditHead
from billing.budget_events import Watch
from billing.keys import KeyRing
from billing.store import Store
from gateway.admin.app import build_admin
from gateway.admin.rooms import AdminRooms
from gateway.cli.desk import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from pathlib import Path

    from starlette.types import ASGIApp

    from billing.budget_events import Alerts
    from billing.price import Price

WHERE: Final = "the database"


@dataclass(frozen=True, slots=True, repr=False)
class BooksDesk:
    app: ASGIApp
    admin_key: str
    store: Store
    sign: Callable[[], object]

    def close(self) -> None:
        self.sign()
        self.store.close()

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, if_match: str | None = None
    ) -> Any:
        plain, _, query = path.partition("?")
        sent = b"" if body is None else json.dumps(body).encode()
        status, said = asyncio.run(_call(self.app, self._scope(method, plain, query, sent, if_match), sent))
        return answer(status, said, WHERE)

    def _scope(self, method: str, path: str, query: str, body: bytes, if_match: str | None) -> MutableMapping[str, Any]:
        headers = {"authorization": f"Bearer {self.admin_key}", "content-type": "application/json"}
        headers["content-length"] = str(len(body))
        if if_match is not None:
            headers["if-match"] = if_match
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": None,
            "server": None,
        }


def open_books(
    database_url: str,
    clock: Callable[[], int],
    state: Path | None = None,
    alerts: Alerts | None = None,
    configured_prices: Callable[[], Mapping[tuple[str, str], Price]] = dict,
) -> BooksDesk:
    """An open database, already at this release's schema, behind the admin app. What it crosses of `alerts` waits for
    the next gateway, which tells the webhooks.
    """
    store = Store(database_url)
    if alerts is not None:
        store.tell(Watch(alerts, len))  # a command has no log
    key = secrets.token_hex(32)
    rooms = AdminRooms(
        store=store,
        keyring=KeyRing(()),
        admin_key_digest=hashlib.sha256(key.encode()).digest(),
        deployments=tuple,
        local=None,
        ready=tuple,
        pending=tuple,
        flush=lambda: None,
        clock=clock,
        state=state,
        configured_prices=configured_prices,
    )
    return BooksDesk(build_admin(rooms), key, store, partial(_sign, store, state, clock))


def _sign(store: Store, state: Path | None, clock: Callable[[], int]) -> None:
    """What the command has added to the audit log is signed, as a gateway's changes are."""
    if state is not None:
        AuditHead(state, store.engine).put(clock())


async def _call(app: ASGIApp, scope: MutableMapping[str, Any], body: bytes) -> tuple[int, bytes]:
    """One request to an ASGI app, with nothing in between."""
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    parts: list[bytes] = []
    status = 500

    async def receive() -> MutableMapping[str, Any]:
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, b"".join(parts)
