"""When has a budget spent so much that somebody is to be told, and what is he told? Pure.

A soft limit and each share of a limit are told once for an account, which is one budget, one subject and one window.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from billing.money import usd_text
from billing.scopes import Rule

THRESHOLD: Final = "budget_threshold"
SOFT_LIMIT: Final = "budget_soft_limit"
EVENT_TYPES: Final = (THRESHOLD, SOFT_LIMIT)
SOFT: Final = "soft"  # what stands for a soft limit among thresholds
# A webhook is tried again after 1, 2, 4, … seconds, at most this long, each time a little less by chance.
BACKOFF_US_MAX: Final = 300_000_000
GIVE_UP_US: Final = 24 * 3600 * 1_000_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_US: Final = 1_000_000
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Threshold:
    """A share of a limit, exactly: `numerator` of `denominator` parts."""

    text: str
    numerator: int
    denominator: int

    def mark_nano_usd(self, limit_nano_usd: int) -> int:
        """The least spend that is not below the share."""
        return -(-limit_nano_usd * self.numerator // self.denominator)


class Spend(NamedTuple):
    """An account after a batch. `before_nano_usd` is None where its limit was changed: then all that it stands above
    counts.
    """

    account_id: int
    subject: str
    window_start_us: int
    window_end_us: int | None
    limit_nano_usd: int | None
    before_nano_usd: int | None
    posted_nano_usd: int


class BudgetEvent(NamedTuple):
    """One threshold crossed. `document` is what a webhook is sent, always the same bytes."""

    id: str
    type: str
    account_id: int
    threshold: str
    posted_nano_usd: int
    at_us: int
    document: str


def thresholds_of(shares: Iterable[Decimal]) -> tuple[Threshold, ...]:
    """In rising order, each once."""
    return tuple(
        Threshold(text, *Decimal(text).as_integer_ratio())
        for text in dict.fromkeys(format(share.normalize(), "f") for share in sorted(shares))
    )


def crossed_by(spend: Spend, soft_limit_nano_usd: int | None, thresholds: Iterable[Threshold]) -> tuple[str, ...]:
    """What was crossed between the two, in rising order. A limit of nothing is no news."""
    marks = []
    if soft_limit_nano_usd is not None:
        marks.append((soft_limit_nano_usd, SOFT))
    if spend.limit_nano_usd is not None:
        marks += [(each.mark_nano_usd(spend.limit_nano_usd), each.text) for each in thresholds]
    before = -1 if spend.before_nano_usd is None else spend.before_nano_usd
    crossed = [mark for mark in marks if mark[0] > 0 and before < mark[0] <= spend.posted_nano_usd]
    return tuple(text for _, text in sorted(crossed, key=lambda mark: mark[0]))


def event_of(rule: Rule, spend: Spend, threshold: str, now_at_us: int) -> BudgetEvent:
    """The event's id follows from what it tells, so that one told twice is known again."""
    named = f"{rule.id}\0{spend.subject}\0{spend.window_start_us}\0{threshold}"
    event_id = f"evt_{sha256(named.encode()).hexdigest()[:24]}"
    kind = SOFT_LIMIT if threshold == SOFT else THRESHOLD
    document: dict[str, Any] = {
        "id": event_id,
        "type": kind,
        "created_at": instant(now_at_us),
        "data": {
            "budget_id": rule.id,
            "scope": {"type": rule.scope_type, "id": rule.scope_id, "team_id": rule.scope_team_id},
            "subject": spend.subject,
            "threshold": None if threshold == SOFT else threshold,
            "limit_usd": _usd(spend.limit_nano_usd),
            "soft_limit_usd": _usd(rule.soft_limit_nano_usd),
            "spent_usd": usd_text(spend.posted_nano_usd),
            "window": str(rule.window),
            "timezone": rule.timezone,
            "window_start": instant(spend.window_start_us),
            "resets_at": None if spend.window_end_us is None else instant(spend.window_end_us),
        },
    }
    text = _encode(document).decode()
    return BudgetEvent(event_id, kind, spend.account_id, threshold, spend.posted_nano_usd, now_at_us, text)


def wait_us(failures: int, draw_millionths: int) -> int:
    """How long to wait after that many failures in a row; chance (0 to 999,999) takes up to half of it."""
    whole = min(_SECOND_US << min(failures - 1, 20), BACKOFF_US_MAX)
    return whole - whole * draw_millionths // (2 * _SECOND_US)


def given_up(event_at_us: int, tried_since_us: int, now_at_us: int) -> bool:
    """A receiver that was away for a day, while we were not, does not get the event any more."""
    return now_at_us - max(event_at_us, tried_since_us) >= GIVE_UP_US


def instant(at_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _usd(nano_usd: int | None) -> str | None:
    return None if nano_usd is None else usd_text(nano_usd)
