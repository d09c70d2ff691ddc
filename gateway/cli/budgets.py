"""`turnpike budgets`: how much may be spent, how much is left, and when it begins anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.cli.desk import Desk, address, rows
from gateway.cli.refusal import Refused
from gateway.cli.said import NONE, given, id_or_each, tell, tell_all, tell_gone
from gateway.cli.tables import fields, json_text, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.situation import Situation

ROOM: Final = "budgets"
COLUMNS: Final = (
    "id", "scope", "limit_usd", "soft_limit_usd", "spent_usd", "pending_usd", "remaining_usd", "window", "resets_at",
)  # fmt: skip
ACCOUNT_COLUMNS: Final = ("subject", "limit_usd", "spent_usd", "pending_usd", "remaining_usd", "resets_at")
# Which kind of thing a scope's id is one of; the others are what they are called.
KEPT: Final = {"organization": "organizations", "team": "teams", "user": "users", "member": "users", "key": "keys"}
SCOPES: Final = ("organization", "user", "member", "key", "tag", "model", "end_user", "provider")
WITHIN_TEAM: Final = ("member", "model")


def listing(here: Situation) -> None:
    found = list(rows(here.desk(), ROOM))
    tell_all(here, found if here.option("json") else [_flat(row) for row in found], COLUMNS)


def create(here: Situation) -> None:
    desk = here.desk()
    asked = {"scope": _scope(here, desk), "window": here.option("window")}
    asked |= {"timezone": here.option("timezone"), "id": here.option("id")}
    tell(here, desk.ask("POST", address(ROOM), given(asked | _change(here))))


def show(here: Situation) -> None:
    found = here.desk().ask("GET", address(ROOM, here.option("budget")))
    if here.option("json"):
        print(json_text(found))
        return
    accounts = found.get("accounts") or []
    print(fields({name: value for name, value in _flat(found).items() if name != "accounts"}))
    if len(accounts) > 1 or found["scope"]["id"] == "*":
        print(f"\n{table(accounts, ACCOUNT_COLUMNS)}")


def update(here: Situation) -> None:
    change = _change(here)
    if not change:
        raise Refused("nothing to change: give --limit, --soft-limit or --over-budget")
    tell(here, here.desk().ask("PATCH", address(ROOM, here.option("budget")), change))


def delete(here: Situation) -> None:
    budget_id: str = here.option("budget")
    tell_gone(here, budget_id, here.desk().ask("DELETE", address(ROOM, budget_id)))


def _scope(here: Situation, desk: Desk) -> dict[str, str]:
    team = here.option("team")
    kind = next((name for name in SCOPES if here.option(name) is not None), "team")
    if kind == "team" and team is None:
        raise Refused("whose budget is it? give --team, --organization, --user, --member, --key, --tag, --model, …")
    if team is not None and kind not in (*WITHIN_TEAM, "team"):
        raise Refused(f"a budget is for --{kind.replace('_', '-')} or for --team; leave one of them out")
    wanted = str(team if kind == "team" else here.option(kind))
    scope = {"type": kind, "id": id_or_each(desk, KEPT[kind], wanted) if kind in KEPT else wanted}
    if kind in WITHIN_TEAM and team is not None:
        scope["team_id"] = id_or_each(desk, "teams", team)
    return scope


def _change(here: Situation) -> dict[str, Any]:
    change: dict[str, Any] = {}
    for option, field in (("limit", "limit_usd"), ("soft_limit", "soft_limit_usd")):
        if (amount := here.option(option)) is not None:
            change[field] = None if amount == NONE else amount
    if (over := here.option("over_budget")) is not None:
        change["over_budget"] = None if over == "default" else over
    return change


def _flat(budget: Mapping[str, Any]) -> dict[str, Any]:
    scope = budget["scope"]
    team = f" in {scope['team_id']}" if scope.get("team_id") else ""
    return {**budget, "scope": f"{scope['type']} {scope['id']}{team}"}
