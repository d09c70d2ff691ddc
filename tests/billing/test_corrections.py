"""What is posted by hand balances, reaches its budgets, and stands in a chain and an audit log that prove it."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from billing.audit import Actor
from billing.books import EntryKind
from billing.corrections import WRITER, Corrections, Repriced, Transfer
from billing.database import open_engine
from billing.heads import read_heads
from billing.price import UNPRICED, Price, cost_nano_usd
from billing.refusals import AlreadyExists, Invalid, NotFound
from billing.scopes import Dimensions
from tests.billing.budget_rows import execute, give_budget
from tests.billing.ledger_rows import chain_is_whole, entries, query, usage_of
from tests.billing.makers import AT_US, PRICE, USAGE, hold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.billing.conftest import Opened

NOW_US = AT_US + 3_600_000_000
ACTOR = Actor("command", None)
CHARGE = Dimensions("org_1", "team_1", None, None, None, None, None, ("feature=search",))
OPENING = Transfer("opening-team_1", CHARGE, 5_000_000, EntryKind.OPENING, "spent before", AT_US)


@contextmanager
def correcting(url: str, state: Path) -> Iterator[Corrections]:
    engine = open_engine(url)
    try:
        yield Corrections(engine, state)
    finally:
        engine.dispose()


def posted(url: str) -> dict[str, int]:
    return dict(query(url, "SELECT budget_id, posted_nano_usd FROM budget_accounts"))


def audit(url: str) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in query(url, "SELECT action, object_id FROM audit ORDER BY id")]


def test_an_opening_balance_is_spend_of_its_team_and_budgets(url: str, tmp_path: Path) -> None:
    give_budget(url)
    with correcting(url, tmp_path) as corrections:
        entry_id = corrections.transfer(OPENING, ACTOR, NOW_US)
        assert entry_id % 4096 == WRITER
        with pytest.raises(AlreadyExists, match="take another id"):
            corrections.transfer(OPENING, ACTOR, NOW_US)
    assert usage_of(url, "team")["team_1",].cost_nano_usd == 5_000_000
    assert usage_of(url)[()].requests == 0
    assert posted(url) == {"b1": 5_000_000}
    assert audit(url) == [("ledger.transfer", "opening-team_1")]
    assert query(url, "SELECT side FROM accounts ORDER BY side") == [("cost",), ("opening",)]
    assert read_heads(tmp_path).keys() == {f"{WRITER}.json"}
    assert chain_is_whole(url, tmp_path)


def test_an_adjustment_stands_beside_what_it_corrects(url: str, tmp_path: Path, opened: Opened) -> None:
    give_budget(url)
    with opened(url, state=tmp_path) as books:
        books.reserve_and_dispatch(hold(tags=("feature=search", "plain")))
        books.settle(hold(), USAGE, 850_000, EntryKind.ESTIMATED)
    with correcting(url, tmp_path) as corrections:
        for kind, amount in ((EntryKind.ADJUSTMENT, 50_000), (EntryKind.REFUND, -200_000), (EntryKind.ADJUSTMENT, 1)):
            corrections.adjust(hold().request_id, 1, amount, kind, "the provider's bill", ACTOR, NOW_US)
        with pytest.raises(NotFound, match="no attempt 2"):
            corrections.adjust(hold().request_id, 2, 1, EntryKind.ADJUSTMENT, "why", ACTOR, NOW_US)
    assert sorted(entry.amount_nano_usd for entry in entries(url)) == [-200_000, 1, 50_000, 850_000]
    assert len(set(query(url, "SELECT debit, at_us FROM entries"))) == 1
    assert usage_of(url)[()].cost_nano_usd == posted(url)["b1"] == 700_001
    assert usage_of(url)[()].requests == 1
    assert chain_is_whole(url, tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reason": " "}, "say why"),
        ({"amount_nano_usd": 0}, "not nothing"),
        ({"amount_nano_usd": 2**62}, "in reason"),
        ({"amount_nano_usd": -1}, "without a minus"),
        ({"kind": EntryKind.REFUND}, "with a minus"),
        ({"kind": EntryKind.ACTUAL}, "not posted by hand"),
        ({"id": "x" * 49}, "has 49"),
        ({"at_us": 0}, "dated"),
    ],
)
def test_what_cannot_be_posted_is_refused(sqlite_url: str, tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with correcting(sqlite_url, tmp_path) as corrections, pytest.raises(Invalid, match=reason):
        corrections.transfer(replace(OPENING, **change), ACTOR, NOW_US)
    assert entries(sqlite_url) == []
    assert audit(sqlite_url) == []


def lease(url: str, amount: int) -> int:
    execute(
        url,
        "INSERT INTO budget_accounts (budget_id, subject, window_start_us, limit_nano_usd, posted_nano_usd,"
        f" pending_nano_usd, contended_until_us) VALUES ('b1', 'team_1', 0, 1000000000, 0, {amount}, 0)",
    )
    execute(
        url,
        "INSERT INTO leases (account_id, journal, boot_id, amount_nano_usd, open_nano_usd, holds, serial, taken_at_us)"
        f" VALUES (1, 'gone', 'boot9', {amount}, 5, 1, 1, {AT_US})",
    )
    ((lease_id,),) = query(url, "SELECT id FROM leases")
    return int(lease_id)


def test_a_closed_lease_is_posted_as_unknown_and_pends_no_longer(url: str, tmp_path: Path) -> None:
    give_budget(url)
    lease_id = lease(url, 700)
    with correcting(url, tmp_path) as corrections:
        assert corrections.close_lease(lease_id, "the disk burned", ACTOR, NOW_US) == 700
        with pytest.raises(NotFound):
            corrections.close_lease(lease_id, "again", ACTOR, NOW_US)
    assert query(url, "SELECT posted_nano_usd, pending_nano_usd FROM budget_accounts") == [(700, 0)]
    assert [(entry.kind, entry.amount_nano_usd) for entry in entries(url)] == [(EntryKind.UNKNOWN, 700)]
    assert usage_of(url) == {}, "it bounds what may have been lost; nobody's cost is known"
    assert audit(url) == [("ledger.close_lease", str(lease_id))]
    assert chain_is_whole(url, tmp_path)


def test_verify_misses_a_cent_of_a_budget(url: str, tmp_path: Path) -> None:
    give_budget(url)
    with correcting(url, tmp_path) as corrections:
        corrections.transfer(OPENING, ACTOR, NOW_US)
    execute(url, "UPDATE budget_accounts SET posted_nano_usd = posted_nano_usd - 10000000")
    assert not chain_is_whole(url, tmp_path)


def test_attempts_without_a_price_are_repriced_once(url: str, tmp_path: Path, opened: Opened) -> None:
    give_budget(url)
    kinds = (EntryKind.ACTUAL, EntryKind.ESTIMATED, EntryKind.ACTUAL)
    with opened(url, state=tmp_path) as books:
        for number, kind in enumerate(kinds, 1):
            held = hold(number, price=UNPRICED, model="new" if number < 3 else "unheard-of", amount_nano_usd=0)
            books.reserve_and_dispatch(held)
            books.settle(held, USAGE, 0, kind)
        books.reserve_and_dispatch(hold(9))
        books.settle(hold(9), USAGE, 7, EntryKind.ACTUAL)
    cost = cost_nano_usd(USAGE, PRICE)

    def find(_provider: str, model: str, _team_id: str | None, _at_us: int) -> Price | None:
        return PRICE if model != "unheard-of" else None

    span = (AT_US, AT_US + 10_000)
    with correcting(url, tmp_path) as corrections:
        expected = Repriced(2, 2 * cost, 1)
        assert corrections.reprice(span, find, ACTOR, NOW_US, dry_run=True) == expected
        assert len(entries(url)) == 4
        assert corrections.reprice(span, find, ACTOR, NOW_US, model="other") == Repriced(0, 0, 0)
        assert corrections.reprice(span, find, ACTOR, NOW_US) == expected
        assert corrections.reprice(span, find, ACTOR, NOW_US) == Repriced(0, 0, 1)
        assert corrections.reprice(span, find, ACTOR, NOW_US, everything=True) == Repriced(1, cost - 7, 1)
        assert corrections.reprice((0, 1), find, ACTOR, NOW_US) == Repriced(0, 0, 0)
    line = usage_of(url)[()]
    assert (line.cost_nano_usd, line.estimated_nano_usd, line.requests) == (3 * cost, cost, 4)
    assert line.output_tokens == 4 * USAGE.output_tokens, "tokens are counted once"
    assert posted(url) == {"b1": 3 * cost}
    assert audit(url) == [("ledger.reprice", entry) for _, entry in audit(url)]
    assert chain_is_whole(url, tmp_path)


def post_many(url: str, state: Path, first: int) -> None:
    with correcting(url, state) as corrections:
        for number in range(first, first + 10):
            corrections.transfer(replace(OPENING, id=f"t{number}"), ACTOR, NOW_US)


@pytest.mark.process
def test_processes_take_turns_at_the_chain(url: str, tmp_path: Path) -> None:
    give_budget(url)
    context = multiprocessing.get_context("spawn")
    crowd = [context.Process(target=post_many, args=(url, tmp_path, 100 * number)) for number in range(3)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(60)
        assert process.exitcode == 0
    assert len(entries(url)) == 30
    assert posted(url) == {"b1": 30 * 5_000_000}
    assert chain_is_whole(url, tmp_path)
