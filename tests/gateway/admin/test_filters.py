"""A page's figures: short, and never a lie."""

import pytest

from gateway.admin.filters import clock_text, compact, duration_text, short_usd, status_tone


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0.000000000", "0.00"),
        ("0.000000001", "0.000000001"),
        ("0.000123456", "0.00012"),
        ("0.009900000", "0.0099"),
        ("0.010000000", "0.01"),
        ("1.239999999", "1.23"),
        ("12345.678900000", "12,345.67"),
        ("-0.000500000", "-0.00050"),
        ("-3.500000000", "-3.50"),
    ],
)
def test_an_amount_is_short_and_never_reads_as_nothing(amount: str, shown: str) -> None:
    assert short_usd(amount) == shown


@pytest.mark.parametrize(
    ("duration_ms", "shown"), [(0.42, "0.4 ms"), (60, "60 ms"), (1234, "1.2 s"), (90_000, "1.5 min")]
)
def test_a_duration_has_its_fitting_unit(duration_ms: float, shown: str) -> None:
    assert duration_text(duration_ms) == shown


def test_a_clock_is_cut_out_of_an_instant() -> None:
    assert clock_text("2026-11-25T01:18:16.123456Z") == "01:18:16"


def test_a_status_has_a_tone() -> None:
    assert [status_tone(status) for status in (200, 404, 503)] == ["good", "warn", "bad"]


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0"), (999, "999"), (1_500, "1.50 k"), (911_233, "911 k"), (8_123_991, "8.12 M")]
)
def test_a_count_is_short(count: int, shown: str) -> None:
    assert compact(count).replace("\N{NARROW NO-BREAK SPACE}", " ") == shown
