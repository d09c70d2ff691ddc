"""`turnpike ledger` on real books: proofs, looks, comparisons and closed leases, as they are typed."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import TYPE_CHECKING

import pytest

from billing.books import Books, EntryKind
from billing.database import open_engine, writing
from billing.migrating import migrate
from tests.billing.budget_rows import execute, give_budget
from tests.billing.makers import USAGE, hold

if TYPE_CHECKING:
    from tests.gateway.cli.conftest import Home

DAY_US = 86_400_000_000
AT_US = 1_764_030_000_000_000 - 1_764_030_000_000_000 % DAY_US + 3 * 3_600_000_000  # 03:00 of 2025-11-25


def now_us() -> int:
    return time.time_ns() // 1000  # noqa: TID251 - a test's composition root


@pytest.fixture
def url(home: Home) -> str:
    """Books with three attempts in them."""
    home.state.mkdir()
    url = f"sqlite:///{home.state}/turnpike.db"
    migrate(url)
    books = Books(url, home.state / "journal", clock=now_us, state=home.state)
    books.open()
    for number, model, cost, kind in (
        (1, "gpt-5-mini", 60_000_000, EntryKind.ACTUAL),
        (2, "gpt-5-mini", 40_000_000, EntryKind.ESTIMATED),
        (3, "o5", 5_000_000, EntryKind.ACTUAL),
    ):
        at_us = AT_US + number
        held = hold(number, provider="lab", model=model, opened_at_us=at_us, amount_nano_usd=100_000_000)
        books.reserve_and_dispatch(held)
        books.settle(held, USAGE, cost, kind)
    books.close()
    return url


def test_whole_books_are_said_to_be_whole(home: Home, url: str) -> None:
    said = home.run("ledger", "verify")
    assert (said.status, said.out) == (0, "3 entries in 1 batches: the ledger is whole\n")


def test_a_changed_row_is_told_with_the_ids_of_its_batch_and_rows(home: Home, url: str) -> None:
    execute(url, "DROP TRIGGER entries_no_update")
    execute(url, "UPDATE entries SET amount_nano_usd = 1 WHERE kind = 2")
    said = home.run("ledger", "verify", "--json")
    found = json.loads(said.out)
    assert (said.status, found["ok"]) == (1, False)
    (batch,) = [problem for problem in found["problems"] if problem["kind"] == "batch"]
    assert batch["entry_ids"] == [batch["batch_id"] + 4096 * place for place in range(3)]
    told = home.run("ledger", "verify").out
    assert f"batch {batch['batch_id']} is not as it was written" in told
    assert all(str(entry_id) in told for entry_id in batch["entry_ids"])
    shown = json.loads(home.run("ledger", "show", str(batch["batch_id"]), "--json").out)
    assert [entry["amount_nano_usd"] for entry in shown["entries"]] == [60_000_000, 1, 5_000_000]
    assert shown["batch"]["rows"] == 3


def test_show_finds_requests_entries_and_chains(home: Home, url: str) -> None:
    entry = json.loads(home.run("ledger", "show", hold(3).request_id, "--json").out)["entries"][0]
    assert (entry["kind"], entry["amount_usd"]) == ("actual", "0.005000000")
    assert home.run("ledger", "show", str(entry["id"])).out.count("req_") == 3
    chain = json.loads(home.run("ledger", "show", "--json").out)["chains"][0]
    assert (chain["writer"], chain["entries"], chain["head"]) == (0, 3, entry["id"])
    assert "leases:" in home.run("ledger", "show").out
    said = home.run("ledger", "show", "nothing")
    assert (said.status, said.err) == (1, "turnpike: the ledger has no request, batch or entry 'nothing'\n")


def test_a_bill_is_compared_and_its_difference_explained(home: Home, url: str) -> None:
    (home.folder / "bill.csv").write_text("date,model,cost_usd\n2025-11-25,gpt-5-mini,0.07\n2025-11-25,o5,0.005\n")
    said = home.run("ledger", "reconcile", "--provider", "lab", "bill.csv")
    assert said.status == 0, said.err
    assert "estimated" in said.out
    assert "agrees" in said.out
    found = json.loads(home.run("ledger", "reconcile", "--provider", "lab", "bill.csv", "--format", "json").out)
    assert (found["provider_usd"], found["ledger_usd"], found["estimated_usd"]) == (
        "0.075",
        "0.105000000",
        "-0.030000000",
    )
    rows = list(
        csv.DictReader(
            io.StringIO(home.run("ledger", "reconcile", "--provider", "lab", "bill.csv", "--format", "csv").out)
        )
    )
    assert [(row["model"], row["why"]) for row in rows] == [("gpt-5-mini", "estimated"), ("o5", "agrees")]
    (home.folder / "bill.csv").write_text("date,model,cost_usd\n2025-11-25,gpt-5-mini,7\n")
    assert home.run("ledger", "reconcile", "--provider", "lab", "bill.csv").status == 1, "something stays unexplained"


def repriced(home: Home, bill: str) -> tuple[int, dict[str, str], list[tuple[str, str, str]]]:
    (home.folder / "bill.csv").write_text(f"date,model,cost_usd\n2025-11-25,gpt-5-mini,0.1\n2025-11-25,o5,{bill}\n")
    said = home.run("ledger", "reconcile", "--provider", "lab", "bill.csv", "--format", "json")
    found = json.loads(said.out)
    parts = [(row["model"], row["why"], row["part_usd"]) for row in found["data"]]
    return said.status, found, parts


def test_a_price_given_later_explains_what_the_provider_charged(home: Home, url: str) -> None:
    status, _, parts = repriced(home, "0.0054")
    assert (status, parts[1]) == (1, ("o5", "unexplained", "0.000400000"))
    price = ("--input", "2", "--output", "10", "--cached-input", "2", "--effective-at", "2025-11-01")
    assert home.run("prices", "create", "lab/o5", *price).status == 0
    status, found, parts = repriced(home, "0.0054")
    assert (status, found["reprice_usd"]) == (0, "0.000400000")
    assert parts == [("gpt-5-mini", "agrees", "0"), ("o5", "reprice", "0.000400000")]
    assert repriced(home, "0.0056")[2][1:] == [("o5", "reprice", "0.000400000"), ("o5", "unexplained", "0.000200000")]
    posted = home.run("prices", "reprice", "--since", "2025-11-25", "--everything")
    assert posted.out.startswith("1 attempts repriced, by 0.000400000 USD")
    assert repriced(home, "0.0054")[2][1] == ("o5", "agrees", "0")


def test_the_configuration_s_price_explains_it_too(home: Home, url: str) -> None:
    home.configure(
        "providers: {lab: {base_url: 'http://127.0.0.1:9/v1', api_key: k}}\n"
        "models: {chat: [{provider: lab, model: o5, price: {input: 2, output: 10, cached_input: 2}}]}\n"
    )
    status, _, parts = repriced(home, "0.0054")
    assert (status, parts[1]) == (0, ("o5", "reprice", "0.000400000"))
    posted = home.run("prices", "reprice", "--since", "2025-11-25", "--everything")
    assert posted.out.startswith("1 attempts repriced, by 0.000400000 USD"), "without a gateway as with one"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere.json"], "cannot be read"),
        (["bill.csv", "--timezone", "Mars"], "is no time zone"),
        (["bill.csv", "--rate", "EUR"], "is no rate"),
        (["bill.csv", "--rate", "EUR=0"], "is no rate"),
        (["bad.csv"], "no column for the day"),
    ],
)
def test_a_bill_that_cannot_be_compared_is_refused(home: Home, url: str, words: list[str], reason: str) -> None:
    (home.folder / "bill.csv").write_text("date,cost\n2025-11-25,1\n")
    (home.folder / "bad.csv").write_text("a,b\n")
    said = home.run("ledger", "reconcile", "--provider", "lab", *words)
    assert said.status == 1
    assert reason in said.err


def give_lease(url: str, journal: str) -> None:
    give_budget(url)
    account = (
        "budget_id, subject, window_start_us, limit_nano_usd, posted_nano_usd, pending_nano_usd, contended_until_us"
    )
    execute(url, f"INSERT INTO budget_accounts ({account}) VALUES ('b1', 'team_1', 0, 1000000000, 105000000, 700, 0)")
    lease = "account_id, journal, boot_id, amount_nano_usd, open_nano_usd, holds, serial, taken_at_us"
    execute(url, f"INSERT INTO leases ({lease}) VALUES (1, '{journal}', 'boot', 700, 5, 1, 1, {AT_US})")


def test_a_lost_lease_is_closed_with_a_reason(home: Home, url: str) -> None:
    give_lease(url, "gone")
    assert "team_1" in home.run("ledger", "show").out
    said = home.run("ledger", "close", "1", "--reason", "its disk burned", "--json")
    assert json.loads(said.out) == {"lease": 1, "amount_usd": "0.000000700", "posted_as": "unknown"}
    assert home.run("ledger", "verify").status == 0
    assert "there is no lease 1" in home.run("ledger", "close", "1", "--reason", "again").err


def test_a_lease_of_a_worker_that_runs_is_not_closed(home: Home, url: str) -> None:
    books = Books(url, home.state / "journal", clock=now_us, state=home.state)
    books.open()
    books.flush()
    give_lease(url, books._journal.name)
    assert "stop the gateway first" in home.run("ledger", "close", "1", "--reason", "x").err
    books.reserve_and_dispatch(hold(9))
    books._flusher.close()
    books._journal.close()
    books._engine.dispose()
    assert "start the gateway once" in home.run("ledger", "close", "1", "--reason", "x").err
    assert home.run("ledger", "close", "1", "--reason", "x", "--force").status == 0


def test_an_older_schema_is_not_read(home: Home) -> None:
    home.state.mkdir()
    engine = writing(open_engine(f"sqlite:///{home.state}/turnpike.db"))
    with engine.begin() as tx:
        tx.exec_driver_sql("CREATE TABLE t (x)")
    engine.dispose()
    assert "run `turnpike migrate` first" in home.run("ledger", "verify").err
