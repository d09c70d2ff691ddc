"""A creation with a key of the caller's happens once, whichever worker it reaches."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from billing.audit import Actor, TakenOver
from billing.idempotency import KEPT_US, TAKEOVER_US, BeingMade, Claim, MadeUnanswered, OtherBody
from billing.store import Store
from tests.billing.ledger_rows import query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from billing.idempotency import Idempotency

NOW_US = 1_764_000_000_000_000


@pytest.fixture
def kept(url: str) -> Iterator[Idempotency]:
    with closing(Store(url)) as opened:
        yield opened.idempotency


def claim(token: str = "first", room: str = "teams") -> Claim:
    return Claim(room, "k", token)


def test_the_first_makes_it_and_the_others_get_its_answer(kept: Idempotency) -> None:
    assert kept.claim(claim(), b"body", NOW_US) is None
    with pytest.raises(BeingMade, match="still being made"):
        kept.claim(claim(), b"body", NOW_US + 1)
    kept.finish(claim(), '{"id": "team_1"}')
    assert kept.claim(claim(), b"body", NOW_US + 2) == '{"id": "team_1"}'
    assert kept.claim(claim(room="keys"), b"body", NOW_US) is None, "each room has keys of its own"


def test_another_body_under_the_same_key_is_refused(kept: Idempotency) -> None:
    kept.claim(claim(), b"body", NOW_US)
    with pytest.raises(OtherBody, match="new one"):
        kept.claim(claim(), b"other", NOW_US)


def test_what_was_refused_may_be_corrected_and_sent_again(kept: Idempotency) -> None:
    kept.claim(claim(), b"wrong", NOW_US)
    kept.drop(claim())
    assert kept.claim(claim(), b"right", NOW_US) is None


def test_a_key_is_forgotten_after_a_day(url: str, kept: Idempotency) -> None:
    kept.claim(claim(), b"body", NOW_US)
    kept.finish(claim(), "{}")
    assert kept.claim(claim(), b"body", NOW_US + KEPT_US) == "{}"
    assert kept.claim(claim(), b"other", NOW_US + KEPT_US + 1) is None
    assert query(url, "SELECT count(*) FROM idempotency") == [(1,)]


def test_of_many_at_once_one_makes_it(kept: Idempotency) -> None:
    outcomes: list[str] = []

    def ask() -> None:
        try:
            outcomes.append("mine" if kept.claim(claim(), b"body", NOW_US) is None else "answered")
        except BeingMade:
            outcomes.append("being made")

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["being made"] * 5 + ["mine"]


def test_what_made_nothing_is_taken_over_once_by_one_of_many(url: str, kept: Idempotency) -> None:
    late = NOW_US + TAKEOVER_US
    assert kept.claim(claim(), b"body", NOW_US) is None
    with pytest.raises(BeingMade):
        kept.claim(claim("early"), b"body", late - 1)
    outcomes: list[object] = []

    def ask(number: int) -> None:
        try:
            outcomes.append(kept.claim(claim(f"token {number}"), b"body", late))
        except BeingMade:
            outcomes.append("being made")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == [None, *["being made"] * 5]
    kept.drop(claim())
    kept.finish(claim(), "{}")
    assert query(url, "SELECT answer FROM idempotency") == [(None,)], "the first has no say in it any more"


def test_what_was_made_is_told_and_neither_taken_over_nor_dropped(url: str, kept: Idempotency) -> None:
    with closing(Store(url)) as store:
        assert kept.claim(claim(), b"body", NOW_US) is None
        store.create_team("team_1", "t", None, Actor("admin_key", claim=claim()), NOW_US)
        kept.drop(claim())
        with pytest.raises(BeingMade):
            kept.claim(claim("second"), b"body", NOW_US + 1)
        with pytest.raises(MadeUnanswered, match="'team_1' was made"):
            kept.claim(claim("second"), b"body", NOW_US + TAKEOVER_US)


def test_a_claim_that_is_another_s_makes_nothing(url: str, kept: Idempotency) -> None:
    with closing(Store(url)) as store:
        kept.claim(claim(), b"body", NOW_US)
        kept.claim(claim("second"), b"body", NOW_US + TAKEOVER_US)
        with pytest.raises(TakenOver):
            store.create_team("team_1", "t", None, Actor("admin_key", claim=claim()), NOW_US)
        assert store.team("team_1") is None
        assert store.audit.page(9).data == ()
