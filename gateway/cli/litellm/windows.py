"""LiteLLM's budget durations as windows of ours, where the two end at the very same instants. Pure.

There, `30d` is a calendar month, `7d` a week from Monday and `24h` a day, as its next reset is reckoned; other counts
of days and hours run from when they were set, which no calendar window does.
"""

from __future__ import annotations

import re
from typing import Final

WINDOWS: Final = {
    "1h": "hour",
    "60m": "hour",
    "3600s": "hour",
    "hourly": "hour",
    "1d": "day",
    "24h": "day",
    "daily": "day",
    "7d": "week",
    "1w": "week",
    "weekly": "week",
    "30d": "month",
    "1mo": "month",
    "monthly": "month",
}
_LEADING_ZEROS: Final = re.compile(r"^0+(?=\d)")


def window_of(duration: str | None) -> str | None:
    """None: there is none that is exactly it. Without a duration LiteLLM never resets."""
    if duration is None:
        return "total"
    return WINDOWS.get(_LEADING_ZEROS.sub("", duration.strip().lower()))
