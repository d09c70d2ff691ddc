"""Budgets as the admin API takes and shows them: amounts as decimal text, a window with its own time zone."""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from billing.money import parse_usd
from billing.scopes import EACH, SCOPE_TYPES
from billing.windows import Window
from gateway.admin.asked import Asked, Id, PageAsked, known_timezone
from gateway.admin.shown import Instant, Listing, Usd

_TAG: Final = re.compile(r"[^\s,=]+=(\*|[^,*]+)")
# Which scopes may be within a team, and which must.
TEAM_MAY: Final = frozenset({"model", "member"})


def _amount(value: object) -> object:
    if isinstance(value, float | bool):
        raise PydanticCustomError("inexact", 'send the amount as text, as in `"100.00"`: a number may lose digits')
    if not isinstance(value, str | int):
        return value
    try:
        nano_usd = parse_usd(str(value))
    except ValueError as error:
        raise PydanticCustomError("no_amount", "{said}", {"said": str(error)}) from None
    if nano_usd < 0:
        raise PydanticCustomError("negative", "a limit is zero or more")
    return str(value)


ScopeType = Literal["organization", "team", "user", "member", "key", "tag", "model", "end_user", "provider"]
Amount = Annotated[str, BeforeValidator(_amount), Field(max_length=40)]
OverBudget = Literal["reject", "downgrade"]
Zone = Annotated[str, Field(max_length=60), AfterValidator(known_timezone)]

assert set(ScopeType.__args__) == set(SCOPE_TYPES)  # type: ignore[attr-defined]


class ScopeAsked(Asked):
    type: ScopeType
    id: Annotated[str, Field(min_length=1, max_length=256)]
    team_id: Id | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.team_id is not None and self.type not in TEAM_MAY:
            raise PydanticCustomError(
                "no_team_here", "only a `model` or a `member` is within a team", {"field": "team_id"}
            )
        if self.type == "tag" and self.id != EACH and not _TAG.fullmatch(self.id):
            raise PydanticCustomError(
                "no_tag", "a tag's id is `NAME=VALUE`, `NAME=*` for each value separately, or `*`", {"field": "id"}
            )
        return self


class BudgetAsked(Asked):
    scope: ScopeAsked
    id: Id | None = None
    limit_usd: Amount | None = None
    soft_limit_usd: Amount | None = None
    window: Window = Window.TOTAL
    timezone: Zone = "UTC"
    over_budget: OverBudget | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.limit_usd is None and self.soft_limit_usd is None:
            raise PydanticCustomError(
                "no_limit", "send `limit_usd`, `soft_limit_usd` or both: else it limits nothing", {"field": "limit_usd"}
            )
        return self


class BudgetChange(Asked):
    """Its scope, window and time zone are what it is: another of these is another budget."""

    limit_usd: Amount | None = None
    soft_limit_usd: Amount | None = None
    over_budget: OverBudget | None = None


class BudgetsAsked(PageAsked):
    scope_type: ScopeType | None = None
    scope_id: Annotated[str, Field(max_length=256)] | None = None


class BudgetAccountsAsked(Asked):
    accounts: Annotated[int, Field(ge=0, le=1000, description="How many subjects of a `*` scope, dearest first")] = 100


class Scope(BaseModel):
    type: ScopeType
    id: str
    team_id: str | None = None


class Account(BaseModel):
    """One subject of a budget in the window that is open now."""

    subject: str
    limit_usd: Usd | None = None
    spent_usd: Usd
    pending_usd: Usd
    remaining_usd: Usd | None = None
    window_starts_at: Instant
    resets_at: Instant | None = None


class Budget(BaseModel):
    id: str
    scope: Scope
    limit_usd: Usd | None = None
    soft_limit_usd: Usd | None = None
    window: Window
    timezone: str
    over_budget: OverBudget | None = None
    spent_usd: Annotated[Usd, Field(description="Of a `*` scope: of all its subjects together")]
    pending_usd: Annotated[Usd, Field(description="Held by requests in flight")]
    remaining_usd: Annotated[Usd | None, Field(description="Null where nothing is limited, or each subject apart")]
    resets_at: Instant | None = None
    accounts: Annotated[list[Account], Field(description="Of a `*` scope: each subject, dearest first")] = []
    accounts_total: int = 0
    created_at: Instant
    version: int


class Budgets(Listing):
    data: list[Budget]


class Event(BaseModel):
    id: str
    type: str
    budget_id: str
    subject: str
    threshold: str
    at: Instant
    spent_usd: Usd
    limit_usd: Usd | None = None
    document: Annotated[dict[str, Any], Field(description="As webhooks get it")]


class Events(Listing):
    data: list[Event]


class HistoryAsked(Asked):
    subject: Annotated[str, Field(max_length=600)] | None = None
    from_: Annotated[str | None, Field(alias="from", max_length=40)] = None
    to: Annotated[str, Field(max_length=40)] | None = None


class Point(BaseModel):
    at: Instant
    spent_usd: Usd


class History(BaseModel):
    """What was spent since the window began, as it grew."""

    budget_id: str
    subject: str
    limit_usd: Usd | None = None
    window_starts_at: Instant
    resets_at: Instant | None = None
    data: list[Point]
