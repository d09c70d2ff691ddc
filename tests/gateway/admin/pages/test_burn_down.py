"""A budget against an even pace: how far ahead it is, and how long it lasts at this rate."""

from zoneinfo import ZoneInfo

from gateway.admin.pages.burn_down import marks, pace_of, picture_of
from gateway.admin.pages.figures import at_us_of
from gateway.admin.pages.views import Account, Budget

USD = 10**9
START, END = at_us_of("2025-11-01T00:00:00Z"), at_us_of("2025-12-01T00:00:00Z")
HALF = (START + END) // 2


def account(posted: int, *, limit: int | None = 100 * USD, end_us: int | None = END) -> Account:
    return Account("team_a", START, end_us, limit, posted, 0)


def budget(soft: int | None = None) -> Budget:
    return Budget("budget_a", "team", "team_a", None, 100 * USD, soft, "month", "UTC", None, 1, START)


def test_half_the_money_after_half_the_time_is_an_even_pace() -> None:
    pace = pace_of(account(50 * USD), HALF)
    assert pace is not None
    assert (pace.even_nano_usd, pace.ahead_nano_usd, pace.lasts_until_us) == (50 * USD, 0, None)


def test_who_spends_twice_as_fast_runs_out_at_half_time() -> None:
    quarter = START + (END - START) // 4
    pace = pace_of(account(50 * USD), quarter)
    assert pace is not None
    assert pace.ahead_nano_usd == 25 * USD
    assert pace.lasts_until_us == HALF


def test_who_spends_slower_lasts_beyond_the_reset() -> None:
    pace = pace_of(account(10 * USD), HALF)
    assert pace is not None
    assert pace.ahead_nano_usd == -40 * USD
    assert pace.lasts_until_us is None


def test_nothing_spent_foretells_nothing() -> None:
    pace = pace_of(account(0), HALF)
    assert pace is not None
    assert pace.lasts_until_us is None


def test_without_an_end_or_a_limit_there_is_no_pace() -> None:
    assert pace_of(account(USD, end_us=None), HALF) is None
    assert pace_of(account(USD, limit=None), HALF) is None
    assert pace_of(account(USD, limit=0), HALF) is None


def test_the_picture_ends_in_what_the_account_says_now() -> None:
    """The history is in quarter hours; the account is of this instant."""
    found = picture_of(budget(80 * USD), account(30 * USD), ((START, 0), (HALF, 29 * USD), (END, 29 * USD)), HALF, UTC)
    assert found.points == ((START, 100 * USD), (HALF, 71 * USD), (HALF, 70 * USD))
    assert found.soft_left_nano_usd == 20 * USD
    assert found.paced


UTC = ZoneInfo("UTC")


def test_a_month_is_marked_by_days_of_the_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start, end = at_us_of("2025-09-30T22:00:00Z"), at_us_of("2025-10-31T23:00:00Z")
    found = marks(start, end, berlin)
    assert [text for _, text in found][:2] == ["Oct 1", "Oct 2"]
    assert found[-1] == (end, "Nov 1")  # past the night that was an hour longer


def test_a_day_is_marked_by_hours_and_an_hour_by_quarters() -> None:
    day = marks(START, START + 24 * 3600 * 10**6, UTC)
    assert [text for _, text in day][:3] == ["00:00", "01:00", "02:00"]
    assert len(day) == 25
    assert [text for _, text in marks(START, START + 3600 * 10**6, UTC)] == [
        "00:00",
        "00:15",
        "00:30",
        "00:45",
        "01:00",
    ]
