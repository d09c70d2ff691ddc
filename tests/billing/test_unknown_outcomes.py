"""What an attempt costs of which nothing was heard: its hold, or by agreement its input where no hard budget binds."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import pytest

from billing.books import Books, EntryKind, Usage
from billing.holds import decode_hold, encode_hold, encode_price
from tests.billing.budget_rows import give_budget
from tests.billing.conftest import now_us
from tests.billing.ledger_rows import entries
from tests.billing.makers import PRICE, hold

if TYPE_CHECKING:
    from pathlib import Path

    from tests.billing.conftest import Opened

INPUT_NANO_USD: Final = 250_000  # 1,000 tokens


def test_a_hold_with_an_agreement_is_read_back_and_one_without_is_written_as_ever() -> None:
    price = encode_price(PRICE)
    assert decode_hold(encode_hold(hold(input_tokens=70_000), price)) == hold(input_tokens=70_000)
    assert decode_hold(encode_hold(hold(), price)) == hold()
    assert encode_hold(hold(), price)[0] == 0x94, "an array of four, which every release reads"


def test_an_unknown_outcome_charges_its_input_where_that_was_agreed(url: str, opened: Opened) -> None:
    with opened(url) as books:
        books.reserve_and_dispatch(hold(input_tokens=1000))
        assert books.settle_unknown(hold()) == (Usage(1000), INPUT_NANO_USD)
        # At most its hold, which a request's own cap may have made smaller.
        books.reserve_and_dispatch(hold(2, input_tokens=1000, amount_nano_usd=7))
        assert books.settle_unknown(hold(2)) == (Usage(1000), 7)
        books.reserve_and_dispatch(hold(3))
        assert books.settle_unknown(hold(3)) == (Usage(), 1_500_000)
    found = [(entry.kind, entry.amount_nano_usd) for entry in entries(url)]
    assert found == [(EntryKind.UNKNOWN, amount) for amount in (INPUT_NANO_USD, 7, 1_500_000)]


def test_a_hard_budget_that_binds_by_now_charges_an_unknown_outcome_whole(url: str, opened: Opened) -> None:
    with opened(url) as books:
        books.reserve_and_dispatch(hold(input_tokens=1000))
        give_budget(url)
        books.reload()
        assert books.settle_unknown(hold()) == (Usage(), 1_500_000)
    assert [entry.amount_nano_usd for entry in entries(url)] == [1_500_000]


@pytest.mark.parametrize(
    ("team", "limit", "charged"),
    [
        (None, None, INPUT_NANO_USD),
        ("team_1", 10**12, 1_500_000),
        ("team_1", None, INPUT_NANO_USD),  # it warns, and bounds nothing
        ("team_2", 10**12, INPUT_NANO_USD),
    ],
)
def test_recovery_charges_an_unknown_outcome_as_it_was_agreed(
    url: str, tmp_path: Path, team: str | None, limit: int | None, charged: int
) -> None:
    killed = Books(url, tmp_path / "journal", clock=now_us)
    killed.open()
    killed.reserve_and_dispatch(hold(input_tokens=1000))
    shutil.copytree(tmp_path / "journal", tmp_path / "left")
    killed.release(hold())
    killed.close()
    if team is not None:
        give_budget(url, scope_id=team, limit_nano_usd=limit)
    books = Books(url, tmp_path / "left", clock=now_us)
    books.open()
    books.flush()
    assert books.pending_nano_usd() == 0
    books.close()
    assert [(entry.kind, entry.amount_nano_usd) for entry in entries(url)] == [(EntryKind.UNKNOWN, charged)]
