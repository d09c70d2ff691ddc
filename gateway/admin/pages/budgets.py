"""Budgets: how much is left and when it resets, the burn-down against an even pace; made, changed, deleted."""

from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin.pages.burn_down import pace_of, picture_of
from gateway.admin.pages.choices import OVER_BUDGET, SCOPES, WINDOWS, Choices, named, scope_ids
from gateway.admin.pages.fields import BudgetChangeForm, BudgetForm
from gateway.admin.pages.figures import usd
from gateway.admin.pages.plot import NARROW, WIDE, burn_down
from gateway.admin.pages.renderer import ConfirmPage, Field, FormPage, Pages, path_of, said, zone_chosen
from gateway.admin.pages.scope_words import scope_words, subject_words
from gateway.admin.pages.views import Account, Budget, Names
from gateway.admin.pages.zone import UTC, known_zones, zone_of

SECTION = "budgets"
UP = ("Budgets", "/admin/budgets")
# Of a budget without an end: how far back its plot begins.
_TOTAL_US: Final = 90 * 24 * 3600 * 1_000_000

_LIMIT_FIELDS: Final = (
    Field("limit_usd", "Limit", "In US dollars. Requests beyond it are refused. Empty: it warns alone.", mono=True),
    Field(
        "soft_limit_usd",
        "Soft limit",
        "In US dollars. Reaching it is told once a window; nothing is refused.",
        mono=True,
    ),
    Field("over_budget", "When the limit is reached", kind="select", options=OVER_BUDGET),
)


def add(app: FastAPI, pages: Pages) -> None:
    _lists(app, pages)
    _making(app, pages)
    _changing(app, pages)
    _deleting(app, pages)


def _lists(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/budgets", include_in_schema=False)
    def listed(request: Request, after: str | None = None) -> Response:
        found = pages.loader(request).budgets(after)
        names = pages.loader(request).names_of(found.data)
        return pages.page(request, "budgets.html", section=SECTION, found=found, names=names)

    @app.get("/admin/budgets/{budget_id}", include_in_schema=False)
    def one(request: Request, budget_id: str, subject: str | None = None) -> Response:
        budget = pages.loader(request).budget(budget_id)
        names = pages.loader(request).names_of([budget])
        account = pages.loader(request).account(budget, subject)
        return pages.page(
            request,
            "budget.html",
            section=SECTION,
            crumbs=(UP,),
            one=budget,
            title=scope_words(budget, names),
            account=account,
            who="" if account is None else subject_words(budget, account.subject, names),
            names=names,
            **_burned(pages, request, budget, account),
        )


def _burned(pages: Pages, request: Request, budget: Budget, account: Account | None) -> dict[str, Any]:
    if account is None or not account.limit_nano_usd:
        return {"plots": (), "pace": None, "points": ()}
    now_us = pages.rooms.clock()
    from_us = account.start_us if account.end_us is not None else max(budget.created_at_us, now_us - _TOTAL_US)
    points = pages.loader(request).history(budget.id, account.subject, from_us, min(now_us, account.end_us or now_us))
    if account.end_us is None and points:
        # What was spent before the plot begins is in the account's sum already.
        before = account.posted_nano_usd - points[-1].posted_nano_usd
        history = tuple((point.at_us, before + point.posted_nano_usd) for point in points)
    else:
        history = tuple((point.at_us, point.posted_nano_usd) for point in points)
    picture = picture_of(budget, account, history, now_us, zone_of(budget.timezone) or UTC)
    left = usd(account.limit_nano_usd - account.posted_nano_usd)
    title = f"{left} of {usd(account.limit_nano_usd)} is left; the dashed line is the even pace to the reset."
    return {
        "plots": tuple(burn_down(picture, width, title) for width in (WIDE, NARROW)),
        "pace": pace_of(account, now_us),
        "points": picture.points,
    }


def _making(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/new/budget", include_in_schema=False)
    def new(request: Request, scope_type: str = "team", scope_id: str = "") -> Response:
        values = {
            "scope_type": scope_type,
            "scope_id": scope_id,
            "window": "month",
            "timezone": zone_chosen(request).key,
        }
        return pages.new_form_page(request, _new_page(pages, request), values)

    @app.post("/admin/new/budget", include_in_schema=False)
    def create(request: Request) -> Response:
        def act(form: BudgetForm) -> str:
            return said(path_of("budgets", pages.changes(request).make_budget(form)), "budget-made")

        return pages.submit(request, BudgetForm, lambda: _new_page(pages, request), act)


def _words(pages: Pages, request: Request, budget: Budget) -> str:
    return scope_words(budget, pages.loader(request).names_of([budget]))


def _changing(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/budgets/{budget_id}/edit", include_in_schema=False)
    def edit(request: Request, budget_id: str) -> Response:
        present = pages.loader(request).budget_to_change(budget_id)
        values = {
            "limit_usd": _typed(present.limit_nano_usd),
            "soft_limit_usd": _typed(present.soft_limit_nano_usd),
            "over_budget": present.over_budget or "",
        }
        return pages.edit_form_page(request, _edit_page(pages, request, budget_id), values)

    @app.post("/admin/budgets/{budget_id}/edit", include_in_schema=False)
    def change(request: Request, budget_id: str) -> Response:
        def act(form: BudgetChangeForm) -> str:
            pages.changes(request).change_budget(budget_id, form, pages.version(request))
            return said(path_of("budgets", budget_id), "budget-changed")

        return pages.submit(request, BudgetChangeForm, lambda: _edit_page(pages, request, budget_id), act)


def _typed(nano_usd: int | None) -> str:
    """As a person would type it: exactly, with two decimals at least."""
    if nano_usd is None:
        return ""
    text = usd(nano_usd, 9).removeprefix("$").replace(",", "")
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def _deleting(app: FastAPI, pages: Pages) -> None:
    @app.get("/admin/budgets/{budget_id}/delete", include_in_schema=False)
    def confirm(request: Request, budget_id: str) -> Response:
        return pages.confirm_page(request, _ask(pages, request, budget_id))

    @app.post("/admin/budgets/{budget_id}/delete", include_in_schema=False)
    def delete(request: Request, budget_id: str) -> Response:
        def act() -> str:
            pages.changes(request).delete_budget(budget_id)
            return said("/admin/budgets", "budget-gone")

        return pages.confirmed(request, lambda: _ask(pages, request, budget_id), act)


def _new_page(pages: Pages, request: Request) -> FormPage:
    names = Names(
        {one.id: one.name for one in pages.loader(request).organizations(None, 1000).data},
        {one.id: one.name for one in pages.loader(request).teams(None, 1000).data},
        {one.id: one.name for one in pages.loader(request).users(None, 1000).data},
        {one.id: one.name for one in pages.loader(request).keys(None, 1000).data if one.revoked_at_us is None},
    )
    fields = (
        Field("scope_type", "For", kind="select", options=_scopes(request), required=True),
        Field(
            "scope_id",
            "Which one",
            "An id, a model's or a provider's name, a tag as NAME=VALUE; * for each of them separately.",
            options=scope_ids(names),
            required=True,
            mono=True,
        ),
        Field(
            "scope_team_id",
            "In team",
            "Of a member or a model alone.",
            "select",
            named(names.teams, "Any"),
        ),
        *_LIMIT_FIELDS,
        Field("window", "It starts anew", kind="select", options=WINDOWS, required=True),
        Field(
            "timezone",
            "Time zone",
            "Whose midnights and month ends count.",
            options=[(zone, "") for zone in known_zones()],
            required=True,
        ),
    )
    intro = "Every budget that matches a request binds it. What was spent in the open window counts already."
    return FormPage(SECTION, "New budget", (UP,), "/admin/new/budget", fields, "Create budget", "/admin/budgets", intro)


def _scopes(request: Request) -> Choices:
    """Those that the caller stands above."""
    sight = request.state.caller.sight
    return [(scope_type, words) for scope_type, words in SCOPES if sight.above(scope_type)]


def _edit_page(pages: Pages, request: Request, budget_id: str) -> FormPage:
    present = pages.loader(request).budget(budget_id)
    here = path_of("budgets", budget_id)
    return FormPage(
        SECTION,
        "Change budget",
        (UP, (_words(pages, request, present), here)),
        f"{here}/edit",
        _LIMIT_FIELDS,
        "Save",
        here,
        "For whom it is and when it starts anew stays: its accounts are counted by that.",
        {"version": str(present.version)},
    )


def _ask(pages: Pages, request: Request, budget_id: str) -> ConfirmPage:
    present = pages.loader(request).budget_to_change(budget_id)
    words, here = _words(pages, request, present), path_of("budgets", budget_id)
    return ConfirmPage(
        SECTION,
        f"Delete the budget of {words}?",
        (UP, (words, here)),
        f"{here}/delete",
        ("It binds nothing any more from then on. What was spent stays in the ledger.",),
        "Delete budget",
        here,
    )
