"""`/admin/v1/ledger`: a proof, transfers, a comparison with a provider's bill, and the leases that workers hold."""

from typing import Annotated

from fastapi import FastAPI, Header, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from gateway.admin import ledger_shapes as shapes
from gateway.admin.asked import PageAsked
from gateway.admin.by import By
from gateway.admin.desks.ledger import LEASE_ID_MAX, LedgerDesk
from gateway.admin.problem import Problem

_EXPORTS = {"text/csv": {"schema": {"type": "string"}}, "application/json": {"schema": {"type": "object"}}}


def add(app: FastAPI, desk: LedgerDesk) -> None:
    @app.get("/admin/v1/ledger/verify", tags=["ledger"])
    def verify() -> shapes.Verdict:
        """Reads every entry: any flipped byte and any cut tail shows, with the ids of the rows as stored."""
        return desk.verify()

    @app.get("/admin/v1/ledger/transfers", tags=["ledger"])
    def transfers(asked: Annotated[PageAsked, Query()]) -> shapes.PostedTransfers:
        """What was posted by hand, newest first."""
        return desk.transfers(asked.limit, asked.after)

    @app.post("/admin/v1/ledger/transfers", status_code=201, tags=["ledger"])
    def transfer(
        by: By, asked: shapes.TransferAsked, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shapes.Transfer:
        """Post an amount to whoever is named, or correct an attempt by `request_id`. No entry is ever changed."""
        return desk.transfer(by, asked, idempotency_key)

    @app.post(
        "/admin/v1/ledger/reconcile",
        tags=["ledger"],
        openapi_extra={"requestBody": {"required": True, "content": _EXPORTS}},
    )
    async def reconcile(request: Request, asked: Annotated[shapes.ReconcileAsked, Query()]) -> shapes.Reconciliation:
        """Send a provider's cost export as it is: OpenAI's pages of costs, or a CSV with a header."""
        export = await request.body()
        if not export:
            raise Problem("invalid", "Send the export as the body: OpenAI's pages of costs as JSON, or a CSV.")
        return await run_in_threadpool(desk.reconcile, export, asked)

    @app.get("/admin/v1/ledger/leases", tags=["ledger"])
    def leases() -> shapes.Leases:
        return desk.leases()

    @app.post("/admin/v1/ledger/leases/{lease_id}/close", tags=["ledger"])
    def close(by: By, lease_id: Annotated[int, Path(ge=1, le=LEASE_ID_MAX)], asked: shapes.CloseAsked) -> shapes.Closed:
        """Of a lease whose worker is gone and whose journal nobody can read: what it holds is posted as unknown."""
        return desk.close(by, lease_id, asked)
