"""Failed sign-ins: a few an address and minute, many addresses together bounded, memory bounded."""

from gateway.admin.sign_in_limit import ADDRESSES_MAX, FAILURES_MAX, FAILURES_OF_ALL_MAX, WINDOW_US, SignInLimit

NOW = 1_700_000_000_000_000


def test_after_five_failures_an_address_waits_out_the_minute() -> None:
    limit = SignInLimit()
    for _ in range(FAILURES_MAX):
        assert limit.wait_s("10.0.0.1", NOW) == 0
        limit.failed("10.0.0.1", NOW)
    assert limit.wait_s("10.0.0.1", NOW) == 60
    assert limit.wait_s("10.0.0.1", NOW + WINDOW_US - 1) == 1
    assert limit.wait_s("10.0.0.1", NOW + WINDOW_US) == 0


def test_another_address_is_not_held_up() -> None:
    limit = SignInLimit()
    for _ in range(FAILURES_MAX):
        limit.failed("10.0.0.1", NOW)
    assert limit.wait_s("10.0.0.2", NOW) == 0


def test_changing_addresses_does_not_help() -> None:
    limit = SignInLimit()
    for number in range(FAILURES_OF_ALL_MAX):
        limit.failed(f"10.0.{number}.1", NOW)
    assert limit.wait_s("10.9.9.9", NOW) == 60


def test_a_success_clears_the_address() -> None:
    limit = SignInLimit()
    for _ in range(FAILURES_MAX - 1):
        limit.failed("10.0.0.1", NOW)
    limit.succeeded("10.0.0.1")
    limit.failed("10.0.0.1", NOW)
    assert limit.wait_s("10.0.0.1", NOW) == 0


def test_what_is_remembered_is_bounded_and_keeps_the_bound_over_all() -> None:
    limit = SignInLimit()
    for number in range(ADDRESSES_MAX * 2):
        limit.failed(str(number), NOW)
    assert len(limit._failures) <= ADDRESSES_MAX
    assert limit.wait_s("somebody", NOW) > 0


def test_failures_of_another_minute_do_not_count() -> None:
    limit = SignInLimit()
    for minute in range(FAILURES_MAX * 2):
        limit.failed("10.0.0.1", NOW + minute * WINDOW_US)
        assert limit.wait_s("10.0.0.1", NOW + minute * WINDOW_US) == 0
