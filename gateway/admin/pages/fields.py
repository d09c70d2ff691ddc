"""The forms of the pages: what each asks for, and what makes a sensible answer. Messages stand beside the fields."""

import re
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from billing.money import parse_usd
from billing.scopes import EACH
from gateway.admin.instant import bound_at_us
from gateway.admin.pages.forms import Form, wrong
from gateway.admin.pages.zone import zone_of

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_MAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


def _id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise PydanticCustomError("form", "Letters, digits and . _ : - alone, beginning with a letter or a digit.")
    return text


def _email(text: str) -> str:
    if _MAIL.fullmatch(text) is None:
        raise PydanticCustomError("form", "An e-mail address, as ada@example.com.")
    return text


def _amount(typed: object) -> object:
    if not isinstance(typed, str):
        return typed
    text = typed.strip().removeprefix("$").strip().replace(",", "")
    try:
        nano_usd = parse_usd(text)
    except ValueError:
        raise PydanticCustomError("form", "An amount in dollars, as 100 or 12.50; nine decimals at most.") from None
    if nano_usd < 0:
        raise PydanticCustomError("form", "Zero or more.")
    return nano_usd


def _lines(typed: object) -> object:
    return tuple(filter(None, re.split(r"[\s,]+", typed))) if isinstance(typed, str) else typed


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("form", "A day and a time, as 2026-01-31 18:00.") from None
    return text


def _timezone(text: str) -> str:
    if zone_of(text) is None:
        raise PydanticCustomError("form", "A time zone's name, as Europe/Berlin. The list offers those known here.")
    return text


Name = Annotated[str, Field(max_length=200)]
Id = Annotated[str, Field(max_length=100), AfterValidator(_id)]
Amount = Annotated[int, BeforeValidator(_amount)]
PerMinute = Annotated[int, Field(ge=0, le=10**12)]
Timezone = Annotated[str, Field(max_length=60), AfterValidator(_timezone)]
ScopeType = Literal["organization", "team", "user", "member", "key", "tag", "model", "end_user", "provider"]
WindowName = Literal["total", "hour", "day", "week", "month"]


class OrganizationForm(Form):
    name: Name
    id: Id | None = None


class TeamForm(Form):
    name: Name
    id: Id | None = None
    organization_id: Id | None = None


class UserForm(Form):
    name: Name
    email: Annotated[str, Field(max_length=254), AfterValidator(_email)]
    role: Literal["owner", "admin", "billing", "team_admin", "member", "viewer"]
    organization_id: Id | None = None


class MemberForm(Form):
    user_id: Id


class KeyForm(Form):
    name: Name
    team_id: Id | None = None
    user_id: Id | None = None
    models_allowed: Annotated[tuple[str, ...], BeforeValidator(_lines), Field(max_length=1000)] = ()
    expires_at: Annotated[str, AfterValidator(_moment)] | None = None
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None
    concurrency_max: PerMinute | None = None

    def expires_at_us(self, timezone: str) -> int | None:
        """The field says a wall clock's time, in the zone that the page shows."""
        zone = zone_of(timezone)
        assert zone is not None
        return None if self.expires_at is None else bound_at_us(self.expires_at, zone)


class RotationForm(Form):
    overlap_s: Annotated[int, Field(ge=0, le=30 * 24 * 3600)] = 0


class _Limits(Form):
    limit_usd: Amount | None = None
    soft_limit_usd: Amount | None = None
    over_budget: Literal["reject", "downgrade"] | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.limit_usd is None and self.soft_limit_usd is None:
            raise wrong("limit_usd", "Fill in a limit, a soft limit, or both.")
        if self.limit_usd is not None and self.soft_limit_usd is not None and self.soft_limit_usd > self.limit_usd:
            raise wrong("soft_limit_usd", "Not above the limit: it warns before.")
        return self


class BudgetChangeForm(_Limits):
    pass


class BudgetForm(_Limits):
    scope_type: ScopeType
    scope_id: Annotated[str, Field(max_length=300)]
    scope_team_id: Id | None = None
    window: WindowName
    timezone: Timezone = "UTC"

    @model_validator(mode="after")
    def _scope(self) -> Self:
        if self.scope_type == "tag" and "=" not in self.scope_id and self.scope_id != EACH:
            raise wrong("scope_id", "A tag as NAME=VALUE, or NAME=* for each of its values.")
        if self.scope_team_id is not None and self.scope_type not in ("member", "model"):
            raise wrong("scope_team_id", "A team narrows a member's or a model's budget alone: leave it empty.")
        if self.scope_type == "member" and self.scope_team_id is None and self.scope_id != EACH:
            raise wrong("scope_team_id", "Choose the team in which the member is meant.")
        return self


class ZoneForm(Form):
    timezone: Timezone
