"""What the tests of the books are made of: prices, usages, holds, rows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from billing.books import AttemptRow, Hold, RequestRow
from billing.price import Price, Tier, Usage

AT_US = 1_764_000_000_000_000
PRICE = Price("gpt-5-mini 2026-11-01", 250_000, 2_000_000, 25_000, 312_500, 2_000_000, 250_000, 2_000_000)
USAGE = Usage(input_tokens=1200, cached_input_tokens=200, output_tokens=300, reasoning_tokens=50)

_rates = st.integers(0, 10**9)
tiers = st.builds(
    Tier,
    st.integers(0, 300_000),
    _rates,
    _rates,
    _rates,
    *[st.none() | _rates] * 4,
)
prices = st.builds(
    Price, st.text(max_size=20), *[_rates] * 7, st.integers(0, 10**9), st.lists(tiers, max_size=3).map(tuple)
)
_tokens = st.integers(0, 10**7)
any_usages = st.builds(Usage, *[_tokens] * 7)


@st.composite
def usages(draw: st.DrawFn, input_max: int = 10**7, output_max: int = 10**7) -> Usage:
    """Usages whose parts are parts."""
    whole_in, whole_out = draw(st.integers(0, input_max)), draw(st.integers(0, output_max))
    cached = draw(st.integers(0, whole_in))
    written = draw(st.integers(0, whole_in - cached))
    heard = draw(st.integers(0, whole_in - cached - written))
    reasoning = draw(st.integers(0, whole_out))
    spoken = draw(st.integers(0, whole_out - reasoning))
    return Usage(whole_in, cached, written, whole_out, reasoning, heard, spoken)


def hold(number: int = 1, attempt: int = 1, **other: Any) -> Hold:
    given = Hold(
        request_id=f"req_{number:026d}",
        attempt=attempt,
        opened_at_us=AT_US + number,
        key_id="key_1",
        team_id="team_1",
        user_id=None,
        end_user=None,
        provider="openai",
        model="gpt-5-mini",
        model_asked="chat",
        tags=("feature=search",),
        price=PRICE,
        amount_nano_usd=1_500_000,
    )
    return given._replace(**other)


def row(held: Hold, **other: Any) -> RequestRow:
    attempt = AttemptRow(
        held.attempt, held.provider, held.model, "the only one", 200, "answered", None, held.opened_at_us, 1, USAGE, 7
    )
    given: dict[str, Any] = {
        "request_id": held.request_id,
        "at_us": held.opened_at_us,
        "key_id": held.key_id,
        "team_id": held.team_id,
        "user_id": held.user_id,
        "model_asked": held.model_asked,
        "model": held.model,
        "provider": held.provider,
        "route": "pool",
        "why": "the only one",
        "cache": "miss",
        "stream": False,
        "status": 200,
        "error_code": None,
        "duration_us": 61_500,
        "first_content_us": None,
        "cost_nano_usd": 7,
        "attempts": (attempt,),
        "tags": held.tags,
        "end_user": held.end_user,
    }
    return RequestRow(**(given | other))
