"""What a journal says must still be posted. Pure: the same records always give the same postings.

Every attempt that was dispatched and not released gets exactly one, whatever byte the journal ends at.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import msgspec

from billing.holds import (
    EntryKind,
    Hold,
    Posting,
    charge_of,
    decode_hold,
    decode_name,
    decode_progress,
    decode_usage,
    unknown_charge,
)
from billing.journal_records import Mark, Record
from billing.price import Usage, cost_nano_usd
from billing.request_log import AttemptRow, RequestRow
from billing.scopes import Rulebook


class JournalUnreadable(Exception):
    """A whole record that this release does not understand; nothing is dropped, nothing starts."""


class State(Enum):
    RESERVED = auto()
    DISPATCHED = auto()
    PROGRESSED = auto()
    USED = auto()
    RELEASED = auto()


# What is absent changes nothing: a hold may be written again when its segment is given back, and a record whose hold
# is gone belongs to an attempt that is posted already.
NEXT: Final[dict[tuple[State, Mark], State]] = {
    (State.RESERVED, Mark.D): State.DISPATCHED,
    (State.RESERVED, Mark.X): State.RELEASED,
    (State.DISPATCHED, Mark.P): State.PROGRESSED,
    (State.DISPATCHED, Mark.U): State.USED,
    (State.DISPATCHED, Mark.X): State.RELEASED,
    (State.PROGRESSED, Mark.P): State.PROGRESSED,
    (State.PROGRESSED, Mark.U): State.USED,
    (State.PROGRESSED, Mark.X): State.RELEASED,
}
_ORDER: Final = (Mark.D, Mark.P, Mark.U, Mark.X)
_NOTHING: Final = Usage()
_NO_BUDGETS: Final = Rulebook()
_WHY: Final = "recovered: the gateway stopped before it could tell how this ended"


@dataclass(slots=True)
class _Attempt:
    hold: Hold
    state: State = State.RESERVED
    usage: Usage = _NOTHING
    cost_nano_usd: int = 0
    kind: int = EntryKind.UNKNOWN


def outstanding(journal: Iterable[Record], budgets: Rulebook = _NO_BUDGETS) -> tuple[Posting, ...]:
    """`budgets` are those in force now: what one of them bounds is charged whole where nothing is known of it."""
    attempts: dict[tuple[str, int], _Attempt] = {}
    for record in journal:
        try:
            _apply(attempts, record)
        except msgspec.DecodeError as error:
            raise JournalUnreadable(
                f"the journal holds a record of another release ({error}): start that release once, so that it posts"
                " what is in there, then this one"
            ) from error
    return tuple(
        _posting(attempt, budgets)
        for attempt in attempts.values()
        if attempt.state not in {State.RESERVED, State.RELEASED}
    )


def _apply(attempts: dict[tuple[str, int], _Attempt], record: Record) -> None:
    """A record's leading mark says how its payload is laid out; the marks after it happened in the same moment."""
    mark, payload = record
    usage, cost, kind = _NOTHING, 0, int(EntryKind.ESTIMATED)
    if Mark.R in mark:
        hold = decode_hold(payload)
        name = hold[:2]
        known = attempts.get(name)
        if known is None or known.state is State.RELEASED:
            attempts[name] = _Attempt(hold)
    elif Mark.U in mark:
        request_id, number, usage, cost, kind = decode_usage(payload)
        name = (request_id, number)
    elif Mark.P in mark:
        request_id, number, usage = decode_progress(payload)
        name = (request_id, number)
    else:
        name = decode_name(payload)
    attempt = attempts.get(name)
    if attempt is None:
        return
    for event in _ORDER:
        after = NEXT.get((attempt.state, event)) if event in mark else None
        if after is not None:
            attempt.state = after
            if after in {State.PROGRESSED, State.USED}:
                attempt.usage, attempt.cost_nano_usd, attempt.kind = usage, cost, kind


def _posting(attempt: _Attempt, budgets: Rulebook) -> Posting:
    hold = attempt.hold
    if attempt.state is State.USED:
        return Posting(hold, attempt.usage, attempt.cost_nano_usd, attempt.kind, 0)
    if attempt.state is State.PROGRESSED:
        # At least what was delivered, at most the hold: its exact usage never arrived.
        cost = min(cost_nano_usd(attempt.usage, hold.price), hold.amount_nano_usd)
        return Posting(hold, attempt.usage, cost, EntryKind.ESTIMATED, 0)
    accounts = budgets.accounts(charge_of(hold), hold.opened_at_us)
    bound = any(rule.limit_nano_usd is not None for rule, _ in accounts)
    return Posting(hold, *unknown_charge(hold, bound=bound), EntryKind.UNKNOWN, 0)


def told_by_recovery(postings: Iterable[Posting]) -> tuple[RequestRow, ...]:
    """A page for each request whose own end was lost with the process; one that was written stays as it is."""
    by_request: dict[str, list[Posting]] = {}
    for posting in postings:
        by_request.setdefault(posting.hold.request_id, []).append(posting)
    return tuple(_row(parts) for parts in by_request.values())


def _row(postings: list[Posting]) -> RequestRow:
    last = postings[-1].hold
    return RequestRow(
        request_id=last.request_id,
        at_us=postings[0].hold.opened_at_us,
        key_id=last.key_id,
        team_id=last.team_id,
        user_id=last.user_id,
        model_asked=last.model_asked,
        model=last.model,
        provider=last.provider,
        route="recovered",
        why=_WHY,
        cache="miss",
        stream=False,
        status=0,
        error_code="interrupted",
        duration_us=0,
        first_content_us=None,
        cost_nano_usd=sum(posting.amount_nano_usd for posting in postings),
        attempts=tuple(_attempt_row(posting) for posting in postings),
        tags=last.tags,
        end_user=last.end_user,
    )


def _attempt_row(posting: Posting) -> AttemptRow:
    hold = posting.hold
    return AttemptRow(
        attempt=hold.attempt,
        provider=hold.provider,
        model=hold.model,
        why=_WHY,
        status=None,
        outcome=EntryKind(posting.kind).name.lower(),
        error=None,
        started_at_us=hold.opened_at_us,
        duration_us=0,
        usage=posting.usage,
        cost_nano_usd=posting.amount_nano_usd,
    )
