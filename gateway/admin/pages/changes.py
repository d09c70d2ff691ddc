"""What the forms of the pages do: at the desks of the admin API, in the caller's name, in one place."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from billing.money import usd_text
from billing.roles import Role
from billing.windows import Window
from gateway.admin import shown
from gateway.admin.asked import KeyAsked, KeyChange, Limits, RotationAsked, TeamAsked, TeamChange
from gateway.admin.budget_shapes import BudgetAsked, BudgetChange, ScopeAsked
from gateway.admin.desks.all_desks import Desks
from gateway.admin.door import Caller
from gateway.admin.pages.fields import BudgetChangeForm, BudgetForm, KeyForm, OrganizationForm, TeamForm, UserForm
from gateway.admin.pages.views import Key, Team, User
from gateway.admin.tenancy_shapes import MemberAsked, OrganizationAsked, OrganizationChange, UserAsked, UserChange

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
RATES: Final = ("requests_per_minute", "tokens_per_minute", "concurrency_max")


class Changes:
    def __init__(self, desks: Desks, by: Caller, once: str | None) -> None:
        self.desks: Final = desks
        self.by: Final = by
        self.once: Final = once  # the name of this creation: sent twice, it happens once

    def make_organization(self, form: OrganizationForm) -> str:
        asked = OrganizationAsked(**_filled(form.model_dump()))
        return self.desks.organizations.create(self.by, asked, self.once).id

    def change_organization(self, organization_id: str, form: OrganizationForm, version: int) -> None:
        change = OrganizationChange(name=form.name)
        self.desks.organizations.update(self.by, organization_id, change, _tag(version))

    def delete_organization(self, organization_id: str) -> None:
        self.desks.organizations.delete(self.by, organization_id, None)

    def make_team(self, form: TeamForm) -> str:
        return self.desks.teams.create(self.by, TeamAsked(**_filled(form.model_dump())), self.once).id

    def change_team(self, team: Team, form: TeamForm, version: int) -> None:
        wanted = {"name": form.name, "organization_id": form.organization_id}
        self.desks.teams.update(self.by, team.id, TeamChange(**_changed(team, wanted)), _tag(version))

    def delete_team(self, team_id: str) -> None:
        self.desks.teams.delete(self.by, team_id, None)

    def add_member(self, team_id: str, user_id: str) -> None:
        self.desks.teams.add_member(self.by, team_id, MemberAsked(user_id=user_id), self.once)

    def remove_member(self, team_id: str, user_id: str) -> None:
        self.desks.teams.remove_member(self.by, team_id, user_id)

    def make_user(self, form: UserForm) -> str:
        asked = UserAsked(**_filled({**form.model_dump(), "role": Role(form.role)}))
        return self.desks.users.create(self.by, asked, self.once).id

    def change_user(self, user: User, form: UserForm, version: int) -> None:
        changes = _changed(user, form.model_dump())
        if "role" in changes:
            changes["role"] = Role(changes["role"])
        self.desks.users.update(self.by, user.id, UserChange(**changes), _tag(version))

    def delete_user(self, user_id: str) -> None:
        self.desks.users.delete(self.by, user_id, None)

    def make_key(self, form: KeyForm, timezone: str) -> shown.NewKey:
        asked = {
            "name": form.name,
            "team_id": form.team_id,
            "user_id": form.user_id,
            "models_allowed": form.models_allowed,
            "expires_at": _instant(form.expires_at_us(timezone)),
            "limits": Limits(**{name: getattr(form, name) for name in RATES}),
        }
        return self.desks.keys.create(self.by, KeyAsked(**_filled(asked)), self.once)

    def change_key(self, key: Key, form: KeyForm, timezone: str, version: int) -> None:
        """What the form does not show, such as limits by model, stays as it is."""
        rates = {**key.limits, **{name: getattr(form, name) for name in RATES}}
        wanted = {
            "name": form.name,
            "team_id": form.team_id,
            "user_id": form.user_id,
            "models_allowed": form.models_allowed,
            "limits": {name: value for name, value in rates.items() if value is not None},
        }
        changes = _changed(key, wanted)
        expires_at_us = form.expires_at_us(timezone)
        if not _same_minute(expires_at_us, key.expires_at_us):
            changes["expires_at"] = _instant(expires_at_us)
        self.desks.keys.update(self.by, key.id, KeyChange(**changes), _tag(version))

    def rotate_key(self, key_id: str, overlap_s: int) -> shown.NewKey:
        return self.desks.keys.rotate(self.by, key_id, RotationAsked(overlap_seconds=overlap_s), self.once)

    def revoke_key(self, key_id: str) -> None:
        self.desks.keys.revoke(self.by, key_id, None)

    def make_budget(self, form: BudgetForm) -> str:
        asked = BudgetAsked(
            scope=ScopeAsked(type=form.scope_type, id=form.scope_id, team_id=form.scope_team_id),
            window=Window(form.window),
            timezone=form.timezone,
            **_amounts(form),
        )
        return self.desks.budgets.create(self.by, asked, self.once).id

    def change_budget(self, budget_id: str, form: BudgetChangeForm, version: int) -> None:
        self.desks.budgets.update(self.by, budget_id, BudgetChange(**_amounts(form)), _tag(version))

    def delete_budget(self, budget_id: str) -> None:
        self.desks.budgets.delete(self.by, budget_id, None)


def _amounts(form: BudgetForm | BudgetChangeForm) -> dict[str, Any]:
    return {
        "limit_usd": _usd(form.limit_usd),
        "soft_limit_usd": _usd(form.soft_limit_usd),
        "over_budget": form.over_budget,
    }


def _usd(nano_usd: int | None) -> str | None:
    return None if nano_usd is None else usd_text(nano_usd)


def _tag(version: int) -> str:
    """What an edit form was filled from must still be there when it is saved."""
    return f'"v{version}"'


def _filled(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _changed(present: object, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name != "id" and value != getattr(present, name)}


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else _EPOCH + timedelta(microseconds=at_us)


def _same_minute(one: int | None, other: int | None) -> bool:
    """A form shows minutes: saved as it was, it does not cut a key's seconds off."""
    if one is None or other is None:
        return one is other
    return one // 60_000_000 == other // 60_000_000
