"""The failure table: every outcome has a verdict, every status an outcome."""

import pytest

from routing.outcome import VERDICTS, Effect, Outcome, classify


def test_every_outcome_has_a_verdict() -> None:
    assert set(VERDICTS) == set(Outcome)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.ANSWERED),
        (201, Outcome.ANSWERED),
        (301, Outcome.SERVER_ERROR),
        (400, Outcome.CLIENT_ERROR),
        (401, Outcome.AUTH_REFUSED),
        (402, Outcome.AUTH_REFUSED),
        (403, Outcome.AUTH_REFUSED),
        (404, Outcome.CLIENT_ERROR),
        (408, Outcome.SERVER_ERROR),
        (409, Outcome.CLIENT_ERROR),
        (413, Outcome.CLIENT_ERROR),
        (422, Outcome.CLIENT_ERROR),
        (429, Outcome.RATE_LIMITED),
        (500, Outcome.SERVER_ERROR),
        (503, Outcome.SERVER_ERROR),
        (520, Outcome.SERVER_ERROR),
        (529, Outcome.OVERLOADED),
        (99, Outcome.SERVER_ERROR),
        (999, Outcome.SERVER_ERROR),
    ],
)
def test_a_status_means_what_the_table_says(status: int, outcome: Outcome) -> None:
    assert classify(status) is outcome


def test_the_callers_own_mistake_is_never_tried_elsewhere_and_cools_nothing() -> None:
    verdict = VERDICTS[Outcome.CLIENT_ERROR]
    assert not verdict.another_target
    assert not verdict.another_key
    assert verdict.effect is Effect.SAYS_NOTHING


def test_a_refused_credential_tries_another_key_and_another_target_and_cools_nothing() -> None:
    verdict = VERDICTS[Outcome.AUTH_REFUSED]
    assert verdict.another_key
    assert verdict.another_target
    assert verdict.effect is Effect.SAYS_NOTHING


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.CONNECT_FAILED,
        Outcome.TIMED_OUT,
        Outcome.RESET,
        Outcome.RATE_LIMITED,
        Outcome.OVERLOADED,
        Outcome.SERVER_ERROR,
        Outcome.BAD_ANSWER,
    ],
)
def test_a_target_that_failed_is_replaced(outcome: Outcome) -> None:
    assert VERDICTS[outcome].another_target


def test_what_reached_the_provider_and_was_not_refused_may_be_billed() -> None:
    billed = {outcome for outcome in Outcome if VERDICTS[outcome].may_be_billed}
    assert billed == {Outcome.ANSWERED, Outcome.TIMED_OUT, Outcome.RESET, Outcome.BAD_ANSWER, Outcome.CANCELLED}
