"""A page's figures: short, and never a lie."""

import pytest

from gateway.admin.filters import compact, duration_text, status_tone


@pytest.mark.parametrize(
    ("duration_ms", "shown"), [(0.42, "0.4 ms"), (60, "60 ms"), (1234, "1.2 s"), (90_000, "1.5 min")]
)
def test_a_duration_has_its_fitting_unit(duration_ms: float, shown: str) -> None:
    assert duration_text(duration_ms) == shown


def test_a_status_has_a_tone() -> None:
    assert [status_tone(status) for status in (200, 404, 503)] == ["good", "warn", "bad"]


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0"), (999, "999"), (1_500, "1.50 k"), (911_233, "911 k"), (8_123_991, "8.12 M")]
)
def test_a_count_is_short(count: int, shown: str) -> None:
    assert compact(count).replace("\N{NARROW NO-BREAK SPACE}", " ") == shown
