"""The page at `/admin`: can it serve, what does it spend, which budgets need a look, what happened last."""

from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin import health
from gateway.admin.pages.figures import local
from gateway.admin.pages.plot import NARROW, WIDE, Series, stacked_bars
from gateway.admin.pages.renderer import Pages, allowed, to, zone_chosen
from gateway.admin.pages.spent import this_month
from gateway.admin.pages.usage_table import days_between, total_of
from gateway.admin.requests import last_requests

REQUESTS_SHOWN: Final = 10
BUDGETS_SHOWN: Final = 5


def add(app: FastAPI, pages: Pages) -> None:
    local_models = pages.local

    @app.get("/admin", include_in_schema=False)
    @app.get("/admin/", include_in_schema=False)
    def home(request: Request) -> Response:
        return pages.page(request, "home.html", section="home", **_words(pages, request))

    @app.post("/admin/local/{model:path}/start", include_in_schema=False)
    async def start(request: Request, model: str) -> Response:
        local_models.start(model)
        return to(request, "/admin#local")

    @app.post("/admin/local/{model:path}/stop", include_in_schema=False)
    async def stop(request: Request, model: str) -> Response:
        local_models.stop(model)
        return to(request, "/admin#local")


def _words(pages: Pages, request: Request) -> dict[str, Any]:
    rooms, loader, zone = pages.rooms, pages.loader(request), zone_chosen(request)
    now_us = rooms.clock()
    budgets = loader.fullest_budgets(BUDGETS_SHOWN)
    lines = loader.usage(("day",), this_month(now_us, zone), zone, {})
    by_day = {str(group[0]): line.cost_nano_usd for group, line in lines.items()}
    today = local(now_us, zone).date()
    periods = days_between(today.replace(day=1), today)
    series = (Series("spent", tuple(by_day.get(period.name, 0) for period in periods)),)
    title = f"Spend by day in {today:%B %Y}"
    return {
        "missing": health.health_now(rooms).missing,
        "month": f"{today:%B}",
        "spent": total_of(lines.values()),
        "today": by_day.get(today.isoformat(), 0),
        "plots": tuple(stacked_bars(periods, series, width, title) for width in (WIDE, NARROW)) if by_day else (),
        "budgets": budgets,
        "names": loader.names_of(budgets),
        "deployments": health.deployments_now(rooms),
        "show_local": rooms.local is not None and allowed(request.state.caller, "GET", "/admin/v1/local"),
        "replicas": pages.local.states(),
        "any_key": bool(loader.keys(None, 1).data),
        "any_team": bool(loader.teams(None, 1).data),
        "requests": last_requests(rooms, request.state.caller.sight, REQUESTS_SHOWN, None).data,
    }
