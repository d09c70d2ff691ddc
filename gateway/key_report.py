"""`GET /v1/key` and `/v1/key/usage`: what a key may know of itself, read from the database on a thread.

A key sees every budget that binds it, its team's and its organization's too: it must know what may refuse it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from billing.budget_refusals import BudgetBackendUnavailable
from billing.budget_store import AccountState
from billing.keys import Key
from billing.money import usd_text
from billing.scopes import Dimensions
from gateway.admin.held import with_holds
from gateway.admin.instant import instant_text, optional_text
from gateway.admin.rooms import AdminRooms
from gateway.catalogue import charges_of, key_view
from gateway.errors import BadRequest, render
from gateway.services import Services
from gateway.wire.asgi import Application, Message, Receive, Send

USAGE: Final = "/v1/key/usage"
PARAMETERS_MAX: Final = 20


class KeyReport:
    def __init__(self, services: Services, rooms: AdminRooms) -> None:
        self._s: Final = services
        self._rooms: Final = rooms

    def about(self, key: Key) -> Application:
        """An application that answers one request about this key."""

        async def application(scope: Message, _receive: Receive, send: Send) -> None:
            request_id: str = scope["state"]["request_id"]
            status, headers, body = await self._answer(key, scope["path"], scope["query_string"], request_id)
            lines = [(name.encode(), value.encode()) for name, value in headers]
            await send({"type": "http.response.start", "status": status, "headers": lines})
            await send({"type": "http.response.body", "body": body})

        return application

    async def _answer(
        self, key: Key, path: str, query: bytes, request_id: str
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = [("content-type", "application/json"), ("cache-control", "no-store")]
        try:
            if path == USAGE:
                found = await asyncio.to_thread(self._usage, key, query)
            else:
                # What memory has is read here, on the loop that changes it.
                view, charges = key_view(self._s, key), charges_of(self._s, key)
                found = {**view, "budgets": await asyncio.to_thread(self._budgets, charges, query)}
        except Exception as error:  # noqa: BLE001  # the one place where a failed read becomes an answer
            rendered = render(_said(error), request_id)
            if rendered.code == "internal_error":
                self._s.metrics.surprise(request_id, error)
            return rendered.status, [*headers, *rendered.headers], rendered.body
        return 200, headers, orjson.dumps(found)

    def _budgets(self, charges: Sequence[Dimensions], query: bytes) -> list[dict[str, Any]]:
        if query:
            raise BadRequest("GET /v1/key takes no parameters", param=query.decode("latin-1").partition("=")[0][:60])
        # Holds first: a request that settles in between counts twice for a moment rather than not at all.
        holds, live = self._rooms.pending(), self._rooms.live_boots()
        self._rooms.flush()
        states = self._rooms.store.budgets.binding(charges, self._s.clock(), live)
        return [budget_of(state) for state in with_holds(states, holds)]

    def _usage(self, key: Key, query: bytes) -> dict[str, Any]:
        # Brings FastAPI in, which the start of a gateway does not wait for.
        from gateway.admin.key_usage import key_usage  # noqa: PLC0415

        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
        return key_usage(self._rooms, key, dict(pairs))


def budget_of(state: AccountState) -> dict[str, Any]:
    budget, left = state.budget, state.left_nano_usd
    return {
        "id": budget.id,
        "scope": {"type": budget.scope_type, "id": budget.scope_id, "team_id": budget.scope_team_id},
        "subject": state.subject,
        "window": str(budget.window),
        "timezone": budget.timezone,
        "limit_usd": None if state.limit_nano_usd is None else usd_text(state.limit_nano_usd),
        "soft_limit_usd": None if budget.soft_limit_nano_usd is None else usd_text(budget.soft_limit_nano_usd),
        "spent_usd": usd_text(state.posted_nano_usd),
        "pending_usd": usd_text(state.pending_nano_usd),
        "remaining_usd": None if left is None else usd_text(max(0, left)),
        "window_starts_at": instant_text(state.window_start_us),
        "resets_at": optional_text(state.window_end_us),
    }


def _said(error: Exception) -> Exception:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    if isinstance(error, SQLAlchemyError | TimeoutError):
        return BudgetBackendUnavailable("the database did not answer in time: ask again")
    return error
