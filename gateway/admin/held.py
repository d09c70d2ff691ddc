"""What requests in flight hold of each budget: what workers have at this instant, not what they told when they leased.

Pure. Leases of workers that are no more are the database's to tell: what they hold, nobody else knows.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from billing.budget_store import AccountState
from billing.budgets import rule_of
from billing.holds import charge
from billing.scopes import Rulebook
from gateway.admin.rooms import PendingHold


def with_holds(states: Sequence[AccountState], holds: Iterable[PendingHold]) -> list[AccountState]:
    budgets = {state.budget.id: state.budget for state in states}
    rulebook = Rulebook(tuple(map(rule_of, budgets.values())))
    held: Counter[tuple[str, str, int]] = Counter()
    for hold in holds:
        charged = charge(
            *(hold.organization_id, hold.team_id, hold.user_id, hold.key_id),
            *(hold.end_user, hold.provider, hold.model, hold.tags),
        )
        for _, account in rulebook.accounts(charged, hold.opened_at_us):
            held[account[:3]] += hold.amount_nano_usd
    return [
        replace(state, pending_nano_usd=state.pending_nano_usd + more)
        if (more := held[state.budget.id, state.subject, state.window_start_us])
        else state
        for state in states
    ]
