"""A budget as people give it, and what may not be given. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from billing.demands import demand_id
from billing.money import AMOUNT_NANO_USD_MAX, usd_text
from billing.refusals import Invalid
from billing.scopes import EACH, SCOPE_TYPES, Rule
from billing.windows import Window, known_timezone

OVER_BUDGET: Final = ("reject", "downgrade")
# What a budget counts stays: its accounts were counted by it. Another window is another budget.
CHANGES: Final = frozenset({"limit_nano_usd", "soft_limit_nano_usd", "over_budget"})
FIXED: Final = frozenset({"scope_type", "scope_id", "scope_team_id", "window", "timezone"})


@dataclass(frozen=True, slots=True)
class Budget:
    """`scope_id` is `*` for each of them separately; of a member it is the user, `scope_team_id` the team; of a tag it
    is `NAME=VALUE` or `NAME=*`. Without `limit_nano_usd` it warns alone. `over_budget` None: as `routing` says.
    """

    id: str
    scope_type: str
    scope_id: str
    scope_team_id: str | None = None
    limit_nano_usd: int | None = None
    soft_limit_nano_usd: int | None = None
    window: Window = Window.TOTAL
    timezone: str = "UTC"
    over_budget: str | None = None
    version: int = 1
    created_at_us: int = 0


def rule_of(budget: Budget) -> Rule:
    return Rule(
        budget.id,
        budget.scope_type,
        budget.scope_id,
        budget.scope_team_id,
        budget.limit_nano_usd,
        budget.soft_limit_nano_usd,
        budget.window,
        budget.timezone,
        budget.over_budget,
    )


def subject_of(budget: Budget) -> str | None:
    """The one subject that it counts; None of a budget for each separately."""
    if budget.scope_id == EACH or (budget.scope_type == "tag" and budget.scope_id.endswith(f"={EACH}")):
        return None
    return f"{budget.scope_team_id}/{budget.scope_id}" if budget.scope_type == "member" else budget.scope_id


def demand_sound(budget: Budget) -> None:
    """Raises `Invalid` for the first thing about it that cannot be."""
    demand_id("budget", budget.id)
    _demand_scope(budget)
    _demand_amounts(budget)
    if budget.window not in tuple(Window):
        raise Invalid(f"there is no window {budget.window!r}: use {', '.join(Window)}")
    if not known_timezone(budget.timezone):
        raise Invalid(f"time zone {budget.timezone!r} is not known here: send an IANA name as Europe/Berlin")
    if budget.over_budget is not None and budget.over_budget not in OVER_BUDGET:
        raise Invalid(f"over_budget cannot be {budget.over_budget!r}: use {' or '.join(OVER_BUDGET)}, or none at all")


def changed(budget: Budget, changes: Mapping[str, Any]) -> Budget:
    """The budget with what is asked, or `Invalid`."""
    for name, value in changes.items():
        if name in FIXED and value != getattr(budget, name):
            raise Invalid(f"{name} of a budget stays as it is: make another budget, then delete {budget.id!r}")
        if name not in CHANGES | FIXED:
            raise Invalid(f"{name!r} is not known here: use {', '.join(sorted(CHANGES))}")
    after = replace(budget, **changes)
    demand_sound(after)
    return after


def told(budget: Budget) -> dict[str, Any]:
    """A budget as the audit log has it."""
    return {
        "id": budget.id,
        "scope": {"type": budget.scope_type, "id": budget.scope_id, "team_id": budget.scope_team_id},
        "limit_usd": _usd(budget.limit_nano_usd),
        "soft_limit_usd": _usd(budget.soft_limit_nano_usd),
        "window": budget.window,
        "timezone": budget.timezone,
        "over_budget": budget.over_budget,
    }


def _usd(nano_usd: int | None) -> str | None:
    return None if nano_usd is None else usd_text(nano_usd)


def _demand_scope(budget: Budget) -> None:
    kind, name, team_id = budget.scope_type, budget.scope_id, budget.scope_team_id
    if kind not in SCOPE_TYPES:
        raise Invalid(f"there is no scope {kind!r}: use {', '.join(SCOPE_TYPES)}")
    if not name:
        raise Invalid(f"a budget needs the id of its {kind}: give one, or `*` for each of them separately")
    if kind == "tag" and name != EACH and (name.startswith("=") or "=" not in name or name.endswith("=")):
        raise Invalid(f"{name!r} is no tag: write NAME=VALUE, NAME=* for each of its values, or * for each tag")
    if kind == "member" and name != EACH and team_id is None:
        raise Invalid(f"user {name!r} is a member of some team: say of which, or budget the user itself")
    if kind not in {"member", "model"} and team_id is not None:
        raise Invalid(f"the scope of a {kind} has no team: leave it out, or budget a member or a model")


def _demand_amounts(budget: Budget) -> None:
    limit, soft = budget.limit_nano_usd, budget.soft_limit_nano_usd
    if limit is None and soft is None:
        raise Invalid("a budget without any limit does nothing: give it a limit, a soft limit, or both")
    for what, amount in (("limit", limit), ("soft limit", soft)):
        if amount is not None and amount < 0:
            raise Invalid(f"a {what} of {usd_text(amount)} USD cannot be: give 0 to let nothing through, or more")
        if amount is not None and amount > AMOUNT_NANO_USD_MAX:
            raise Invalid(f"a {what} above {usd_text(AMOUNT_NANO_USD_MAX)} USD cannot be counted: give less")
    if limit is not None and soft is not None and soft > limit:
        raise Invalid(
            f"a soft limit of {usd_text(soft)} USD above the limit of {usd_text(limit)} USD would never be told:"
            " lower it, or raise the limit"
        )
