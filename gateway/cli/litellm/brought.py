"""A LiteLLM database as a file for `apply` and opening balances. Pure; what is not converted is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from billing.money import usd_text
from billing.scopes import EACH
from gateway.cli.litellm.budgets import Budgets
from gateway.cli.litellm.keys import Brought, keys_of, shown_name
from gateway.cli.litellm.names import our_id
from gateway.cli.litellm.openings import Charge, KeySpend, MemberSpend, Opening, Spends
from gateway.cli.litellm.people import People, people_of
from gateway.cli.litellm.rows import Row, Tables, flag, instant, instant_text, is_finer, listing, nano_usd, number, text
from gateway.cli.litellm.rules import tag_parts, tag_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from gateway.cli.litellm.notes import Notes


@dataclass(frozen=True, slots=True)
class Converted:
    tree: dict[str, list[dict[str, Any]]]
    spends: Spends
    rounded: int


def converted(tables: Tables, groups: Mapping[str, list[str]], timezone: str, now: datetime, notes: Notes) -> Converted:
    groups = {**groups, **_access_groups(tables)}
    people = people_of(tables, groups, notes)
    keys = tuple(keys_of(tables, groups, now, notes))
    budgets = Budgets(timezone, notes)
    _budgets(tables, people, keys, budgets)
    spent = _Spent(now, notes)
    spends = _spends(tables, people, keys, budgets, spent)
    for row in tables["ProxyModelTable"]:
        notes.add(f"model {row.get('model_name')}", "is kept encrypted in LiteLLM's database; add it to turnpike.yaml")
    tree = {
        "organizations": people.organizations,
        "teams": people.teams,
        "users": people.users,
        "members": people.members,
        "keys": [key.fields for key in keys],
        "budgets": budgets.found,
    }
    return Converted(tree, spends, budgets.rounded + spent.rounded)


def _access_groups(tables: Tables) -> dict[str, list[str]]:
    """A key and a team name them by id, and a list of models by name."""
    found = {}
    for row in tables["AccessGroupTable"]:
        models = listing(row, "access_model_names")
        found[row["access_group_id"]] = models
        if name := text(row, "access_group_name"):
            found[name] = models
    return found


def _budgets(tables: Tables, people: People, keys: tuple[Brought, ...], budgets: Budgets) -> None:
    of = {row["budget_id"]: row for row in tables["BudgetTable"]}

    def beside(row: Row) -> Row:
        return of.get(text(row, "budget_id") or "", {})

    for row in tables["OrganizationTable"]:
        scope = {"type": "organization", "id": our_id(row["organization_id"])}
        budgets.of_row(f"organization {row['organization_id']}", scope, {}, beside(row))
    for row in tables["TeamTable"]:
        subject, team_id = f"team {row['team_id']}", our_id(row["team_id"])
        budgets.of_row(subject, {"type": "team", "id": team_id}, row)
        budgets.of_models(subject, team_id, row)
    personal = [
        row["user_id"]
        for row in tables["UserTable"]
        if budgets.of_row(f"user {row['user_id']}", {"type": "user", "id": our_id(row["user_id"])}, row)
    ]
    if any(key.fields.get("team_id") and text(key.row, "user_id") in personal for key in keys):
        budgets.notes.add(
            "budgets of users", "bind their keys in teams here as well; LiteLLM counts these against the team alone"
        )
    seats = {(member["team_id"], member["user_id"]) for member in people.members}
    for row in tables["TeamMembership"]:
        seat = our_id(row["team_id"]), our_id(row["user_id"])
        subject = f"member {row['user_id']} of team {row['team_id']}"
        if seat in seats:
            scope = {"type": "member", "id": seat[1], "team_id": seat[0]}
            budgets.of_row(subject, scope, {}, beside(row))
            _member_rules(subject, beside(row), budgets.notes)
    for key in keys:
        budgets.of_row(f"key {shown_name(key.row)}", {"type": "key", "id": key.id}, key.row, beside(key.row))
    _budgets_of_no_account(tables, beside, budgets)


def _member_rules(subject: str, budget: Row, notes: Notes) -> None:
    named = [name for name in ("rpm_limit", "tpm_limit", "max_parallel_requests") if number(budget, name) is not None]
    if named:
        notes.add(subject, f"{', '.join(named)}: members have no rate limits here; give their keys limits")
    if listing(budget, "allowed_models"):
        notes.add(subject, "allowed_models: members have no list of models here; give their keys one")


def _budgets_of_no_account(tables: Tables, beside: Callable[[Row], Row], budgets: Budgets) -> None:
    """Of end users and tags, which are whatever a request names."""
    for row in tables["EndUserTable"]:
        subject = f"end user {row['user_id']}"
        budgets.of_row(subject, {"type": "end_user", "id": row["user_id"]}, {}, beside(row))
        if flag(row, "blocked"):
            budgets.notes.add(subject, "is blocked: end users cannot be here; give it a budget of 0")
    for row in tables["TagTable"]:
        _tag_budget(row["tag_name"], beside(row), budgets)
    for row in tables["ProjectTable"]:
        budgets.notes.add(f"project {row['project_id']}", "projects have no counterpart here; its keys are its team's")
    for row in tables["ModelAccessGroupBudgetTable"]:
        if number(beside(row), "max_budget") is not None:
            budgets.notes.add(f"model group {row['access_group_name']}", "its budget: a group of models has none here")


def _tag_budget(tag: str, budget: Row, budgets: Budgets) -> None:
    subject, scope = f"tag {tag}", tag_scope(tag)
    if scope is None:
        if number(budget, "max_budget") is not None:
            budgets.notes.add(subject, "its budget: a tag has neither spaces in its name nor commas here")
    elif budgets.of_row(subject, scope, {}, budget) and scope["id"].endswith(EACH):
        budgets.notes.add(subject, f"its budget is that of {scope['id']}: a value behind it is counted apart, as far")


class _Spent:
    """What rows say of `spend`, in nano-dollars; none where the period that it belongs to is over."""

    def __init__(self, now: datetime, notes: Notes) -> None:
        self._now, self._notes = now, notes
        self.rounded = 0

    def of(self, subject: str, row: Row, budget: Row | None = None) -> int:
        spend = number(row, "spend")
        if not spend:
            return 0
        if spend < 0:
            self._notes.add(subject, f"spend ${spend}: cannot be less than nothing; begins at zero")
            return 0
        over = instant(row, "budget_reset_at") or instant(budget or {}, "budget_reset_at")
        if over is not None and over <= self._now:
            self._notes.add(
                subject,
                f"spend ${spend}: is of a period that ended on {instant_text(over)}; the new one begins at zero",
            )
            return 0
        self.rounded += is_finer(spend)
        return nano_usd(spend)


def _spends(tables: Tables, people: People, keys: tuple[Brought, ...], budgets: Budgets, spent: _Spent) -> Spends:
    of = {row["budget_id"]: row for row in tables["BudgetTable"]}
    bound = {(one["scope"]["type"], one["scope"]["id"], one["scope"].get("team_id")) for one in budgets.found}
    seats = {(member["team_id"], member["user_id"]) for member in people.members}
    members = [
        MemberSpend(team, user, amount, ("member", user, team) in bound)
        for row in tables["TeamMembership"]
        if (team := our_id(row["team_id"]), user := our_id(row["user_id"])) in seats
        and (
            amount := spent.of(
                f"member {row['user_id']} of team {row['team_id']}", row, of.get(text(row, "budget_id") or "")
            )
        )
    ]
    return Spends(
        keys=[
            KeySpend(
                key.id,
                key.fields.get("team_id"),
                key.fields.get("user_id"),
                our_id(organization) if (organization := text(key.row, "organization_id")) else None,
                amount,
            )
            for key in keys
            if (amount := spent.of(f"key {shown_name(key.row)}", key.row))
        ],
        members=members,
        scopes={
            **_by_id(tables["TeamTable"], "team", spent),
            **_by_id(tables["UserTable"], "user", spent),
            **_by_id(tables["OrganizationTable"], "organization", spent, of),
        },
        bound={(scope_type, scope_id) for scope_type, scope_id, _ in bound},
        team_organizations={
            team["id"]: team["organization_id"] for team in people.teams if team.get("organization_id")
        },
        apart=_apart(tables, budgets, spent, of),
    )


def _by_id(
    rows: list[dict[str, Any]], kind: str, spent: _Spent, budgets: Mapping[str, Row] | None = None
) -> dict[tuple[str, str], int]:
    found = {}
    for row in rows:
        beside = (budgets or {}).get(text(row, "budget_id") or "")
        if amount := spent.of(f"{kind} {row[f'{kind}_id']}", row, beside):
            found[kind, our_id(row[f"{kind}_id"])] = amount
    return found


def _apart(tables: Tables, budgets: Budgets, spent: _Spent, of: Mapping[str, Row]) -> tuple[Opening, ...]:
    """End users and tags with a budget. LiteLLM does not say whose keys that was, so the total counts it once more."""
    bound = {(one["scope"]["type"], one["scope"]["id"]) for one in budgets.found}
    found = []
    for row in tables["EndUserTable"]:
        budget = of.get(text(row, "budget_id") or "")
        if ("end_user", row["user_id"]) in bound and (amount := spent.of(f"end user {row['user_id']}", row, budget)):
            found.append(Opening(Charge(end_user=row["user_id"]), amount))
    for row in tables["TagTable"]:
        parts, scope = tag_parts(row["tag_name"]), tag_scope(row["tag_name"])
        if parts is None or scope is None or ("tag", scope["id"]) not in bound:
            continue
        if amount := spent.of(f"tag {row['tag_name']}", row, of.get(text(row, "budget_id") or "")):
            found.append(Opening(Charge(tag=parts), amount))
    if found:
        total = usd_text(sum(one.amount_nano_usd for one in found))
        budgets.notes.add(
            "end users and tags", f"${total} spent before stands in totals once more: LiteLLM does not say by whom"
        )
    return tuple(found)
