"""Why a budget does not let a hold in, in words for whoever asked."""

from datetime import UTC, datetime

from billing.money import usd_text
from billing.scopes import Account, Rule


class BudgetRefused(Exception):
    """A budget leaves no room for the hold; `rule` and `account` say which and when it resets."""

    def __init__(self, message: str, rule: Rule, account: Account) -> None:
        super().__init__(message)
        self.rule = rule
        self.account = account


class BudgetExhausted(BudgetRefused):
    """What is posted leaves no room: asking again helps only when the window ends or the limit is raised."""


class BudgetBusy(BudgetRefused):
    """Only what requests in flight hold stands between: asking again soon helps."""


class BudgetBackendUnavailable(Exception):
    """The database that knows the budgets does not answer, and what is leased does not suffice."""


def refusal(
    rule: Rule, account: Account, limit_nano_usd: int, posted_nano_usd: int, least_nano_usd: int, *, spent: bool
) -> BudgetRefused:
    """What whoever asks is told: which budget, what is left of it, when it resets, what the request needs."""
    left = max(limit_nano_usd - posted_nano_usd, 0)
    resets = "never" if account.end_us is None else datetime.fromtimestamp(account.end_us // 10**6, UTC).isoformat()
    name = f"budget {rule.id!r} of {rule.scope_type} {account.subject!r}"
    facts = f"limit {usd_text(limit_nano_usd)} USD per {rule.window}, left {usd_text(left)} USD, resets {resets}"
    needs = f"this request needs at least {usd_text(least_nano_usd)} USD"
    if spent:
        return BudgetExhausted(f"{name} is spent: {facts}; {needs}", rule, account)
    return BudgetBusy(
        f"{name} is not spent, but what is left is held by requests in flight: {facts}; {needs}; try again shortly",
        rule,
        account,
    )
