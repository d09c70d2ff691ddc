"""`/admin/v1/budgets`: what may be spent by whom, in which window; what is spent of it, and what it has told."""

from typing import Annotated

from fastapi import FastAPI, Header, Query
from starlette.responses import Response

from gateway.admin import budget_shapes as shapes
from gateway.admin.asked import PageAsked
from gateway.admin.by import By
from gateway.admin.desks.budgets import BudgetDesk
from gateway.admin.etag import etag_of


def add(app: FastAPI, desk: BudgetDesk) -> None:
    @app.get("/admin/v1/budgets", tags=["budgets"])
    def list_budgets(by: By, asked: Annotated[shapes.BudgetsAsked, Query()]) -> shapes.Budgets:
        return desk.page(by, asked.limit, asked.after, asked.scope_type, asked.scope_id)

    @app.post("/admin/v1/budgets", status_code=201, tags=["budgets"])
    def create_budget(
        by: By,
        asked: shapes.BudgetAsked,
        answer: Response,
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> shapes.Budget:
        """Every budget that matches a request binds it; none replaces another."""
        made = desk.create(by, asked, idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made

    @app.get("/admin/v1/budgets/events", tags=["budgets"])
    def list_all_events(by: By, asked: Annotated[PageAsked, Query()]) -> shapes.Events:
        """Thresholds and soft limits that were crossed, of every budget, the last first."""
        return desk.events(by, None, asked.limit, asked.after)

    @app.get("/admin/v1/budgets/{budget_id}", tags=["budgets"])
    def get_budget(
        by: By, budget_id: str, answer: Response, asked: Annotated[shapes.BudgetAccountsAsked, Query()]
    ) -> shapes.Budget:
        found = desk.get(by, budget_id, asked.accounts)
        answer.headers["etag"] = etag_of(found)
        return found

    @app.patch("/admin/v1/budgets/{budget_id}", tags=["budgets"])
    def update_budget(
        by: By,
        budget_id: str,
        change: shapes.BudgetChange,
        answer: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> shapes.Budget:
        """It holds in every worker when this answers."""
        changed = desk.update(by, budget_id, change, if_match)
        answer.headers["etag"] = etag_of(changed)
        return changed

    @app.delete("/admin/v1/budgets/{budget_id}", status_code=204, tags=["budgets"])
    def delete_budget(by: By, budget_id: str, if_match: Annotated[str | None, Header()] = None) -> None:
        desk.delete(by, budget_id, if_match)

    @app.get("/admin/v1/budgets/{budget_id}/events", tags=["budgets"])
    def list_events(by: By, budget_id: str, asked: Annotated[PageAsked, Query()]) -> shapes.Events:
        return desk.events(by, budget_id, asked.limit, asked.after)

    @app.get("/admin/v1/budgets/{budget_id}/history", tags=["budgets"])
    def history(by: By, budget_id: str, asked: Annotated[shapes.HistoryAsked, Query()]) -> shapes.History:
        """What was spent since its window began, as it grew: the line of a burn-down."""
        return desk.history(by, budget_id, asked)
