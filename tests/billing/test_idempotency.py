"""A creation with a key of the caller's happens once, whichever worker it reaches."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from billing.idempotency import KEPT_US, BeingMade, OtherBody
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


def test_the_first_makes_it_and_the_others_get_its_answer(kept: Idempotency) -> None:
    assert kept.claim("teams", "k", b"body", NOW_US) is None
    with pytest.raises(BeingMade, match="still being made"):
        kept.claim("teams", "k", b"body", NOW_US + 1)
    kept.finish("teams", "k", '{"id": "team_1"}')
    assert kept.claim("teams", "k", b"body", NOW_US + 2) == '{"id": "team_1"}'
    assert kept.claim("keys", "k", b"body", NOW_US) is None, "each room has keys of its own"


def test_another_body_under_the_same_key_is_refused(kept: Idempotency) -> None:
    kept.claim("teams", "k", b"body", NOW_US)
    with pytest.raises(OtherBody, match="new one"):
        kept.claim("teams", "k", b"other", NOW_US)


def test_what_was_refused_may_be_corrected_and_sent_again(kept: Idempotency) -> None:
    kept.claim("teams", "k", b"wrong", NOW_US)
    kept.drop("teams", "k")
    assert kept.claim("teams", "k", b"right", NOW_US) is None


def test_a_key_is_forgotten_after_a_day(url: str, kept: Idempotency) -> None:
    kept.claim("teams", "k", b"body", NOW_US)
    kept.finish("teams", "k", "{}")
    assert kept.claim("teams", "k", b"body", NOW_US + KEPT_US) == "{}"
    assert kept.claim("teams", "k", b"other", NOW_US + KEPT_US + 1) is None
    assert query(url, "SELECT count(*) FROM idempotency") == [(1,)]


def test_of_many_at_once_one_makes_it(kept: Idempotency) -> None:
    outcomes: list[str] = []

    def ask() -> None:
        try:
            outcomes.append("mine" if kept.claim("teams", "k", b"body", NOW_US) is None else "answered")
        except BeingMade:
            outcomes.append("being made")

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["being made"] * 5 + ["mine"]
