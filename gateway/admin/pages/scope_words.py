"""Whom a budget is for, in words: `Team Search`, `Each key`, `Ada in Search`. Pure."""

from typing import Final

from billing.scopes import EACH
from gateway.admin.pages.views import Budget, Names

KINDS: Final = {
    "organization": "Organization",
    "team": "Team",
    "user": "User",
    "member": "Member",
    "key": "Key",
    "tag": "Tag",
    "model": "Model",
    "end_user": "End user",
    "provider": "Provider",
}
WINDOWS: Final = {"total": "in all", "hour": "an hour", "day": "a day", "week": "a week", "month": "a month"}


def scope_words(budget: Budget, names: Names) -> str:
    kind, one = budget.scope_type, budget.scope_id
    where = f" in {names.of('team', budget.scope_team_id)}" if budget.scope_team_id else ""
    if one == EACH:
        return f"Each {KINDS[kind].lower()}{where}"
    if kind == "tag" and one.endswith(f"={EACH}"):
        return f"Each value of tag {one.removesuffix(f'={EACH}')}"
    return f"{KINDS[kind]} {names.of('user' if kind == 'member' else kind, one)}{where}"


def subject_words(budget: Budget, subject: str, names: Names) -> str:
    if budget.scope_type == "member":
        team_id, _, user_id = subject.partition("/")
        return f"{names.of('user', user_id)} in {names.of('team', team_id)}"
    return names.of(budget.scope_type, subject)
