"""What requests in flight hold of each budget: what workers have at this instant, not what they told when they leased.

Pure. Leases of workers that are no more are the database's to tell: what they hold, nobody else knows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from billing.budget_store import AccountState, Standing
from billing.budgets import Budget, rule_of
from billing.holds import charge
from billing.scopes import Rulebook
from gateway.admin.rooms import PendingHold

Held = Counter[tuple[str, str, int]]  # by budget, subject and the start of the window, in nano-USD


def with_holds(states: Sequence[AccountState], holds: Iterable[PendingHold]) -> list[AccountState]:
    held, _ = _held({state.budget.id: state.budget for state in states}, holds)
    return [_with(state, held) for state in states]


def standing_with_holds(standings: Mapping[str, Standing], holds: Iterable[PendingHold]) -> dict[str, Standing]:
    """By budget, as they were, with what these hold of the window that is open."""
    held, counted = _held({budget_id: one.budget for budget_id, one in standings.items()}, holds)
    more: Counter[str] = Counter()
    holds_more: Counter[str] = Counter()
    for name, amount in held.items():
        if name[2] == standings[name[0]].window_start_us:
            more[name[0]] += amount
            holds_more[name[0]] += counted[name]
    return {
        budget_id: replace(
            one,
            pending_nano_usd=one.pending_nano_usd + more[budget_id],
            holds=one.holds + holds_more[budget_id],
            accounts=tuple(_with(state, held) for state in one.accounts),
        )
        for budget_id, one in standings.items()
    }


def _held(budgets: Mapping[str, Budget], holds: Iterable[PendingHold]) -> tuple[Held, Held]:
    """How much of each account, and by how many."""
    rulebook = Rulebook(tuple(map(rule_of, budgets.values())))
    held: Held = Counter()
    counted: Held = Counter()
    for hold in holds:
        charged = charge(
            *(hold.organization_id, hold.team_id, hold.user_id, hold.key_id),
            *(hold.end_user, hold.provider, hold.model, hold.tags),
        )
        for _, account in rulebook.accounts(charged, hold.opened_at_us):
            held[account[:3]] += hold.amount_nano_usd
            counted[account[:3]] += 1
    return held, counted


def _with(state: AccountState, held: Held) -> AccountState:
    more = held[state.budget.id, state.subject, state.window_start_us]
    return replace(state, pending_nano_usd=state.pending_nano_usd + more) if more else state
