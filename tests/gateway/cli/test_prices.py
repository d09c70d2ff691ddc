"""`turnpike prices` over the bare books, in the words that a person types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.gateway.cli.fake_gateway import words_of

if TYPE_CHECKING:
    from tests.gateway.cli.conftest import Home

CSV = "provider,model,input,output\nopenai,gpt-4o,2,8\nlab,llama-70b,0.5,0.9\n"


@pytest.fixture
def books(home: Home) -> Home:
    """No gateway runs: the port below is nobody's."""
    home.configure("server: {port: 1}\n")
    return home


def test_a_price_is_made_shown_listed_and_retired(books: Home) -> None:
    made = books.run(
        "prices", "create", "openai/gpt-4o", "--input", "2.00", "--output", "8", "--cached-input", "1",
        "--id", "price_1", "--effective-at", "2025-01-01", "--source", "contract 7", "--json",
    )  # fmt: skip
    assert json.loads(made.out)["version"] == "contract 7/openai/gpt-4o@2025-01-01#price_1"
    assert "contract 7" in books.run("prices", "show", "price_1").out
    listed = words_of(books.run("prices", "list").out)
    assert (listed[0][0], listed[1][:4]) == ("id", ["price_1", "openai", "gpt-4o", "–"])
    assert len(json.loads(books.run("prices", "list", "--model", "gpt-5", "--json").out)["data"]) == 0
    assert "price_1" in books.run("prices", "show", "openai/gpt-4o").out, "it is in force"
    assert "price_1" not in books.run("prices", "show", "openai/gpt-4o", "--at", "2024-12-31").out
    assert books.run("prices", "delete", "price_1").out == "retired price_1\n"
    assert len(words_of(books.run("prices", "list").out)) == 1
    assert "retired_at" in books.run("prices", "list", "--retired").out


def test_a_teams_own_price_is_given_and_asked_for_by_its_name(books: Home) -> None:
    books.run("teams", "create", "blue", "--id", "team_blue")
    books.run("prices", "create", "openai/gpt-4o", "--input", "1", "--output", "1", "--team", "blue", "--id", "price_b")
    assert "price_b" in books.run("prices", "show", "openai/gpt-4o", "--team", "blue").out
    assert "price_b" not in books.run("prices", "show", "openai/gpt-4o").out
    assert "team_blue" in books.run("prices", "list", "--team", "blue").out


def test_a_list_is_tried_and_brought_and_brought_again(books: Home) -> None:
    (books.folder / "list.csv").write_text(CSV)
    tried = books.run("prices", "import", "list.csv", "--dry-run", "--effective-at", "2026-01-01")
    assert (tried.status, tried.err) == (0, "2 would be imported, 0 stood there already\n")
    assert len(words_of(tried.out)) == 3
    assert len(words_of(books.run("prices", "list").out)) == 1
    assert books.run("prices", "import", "list.csv", "--effective-at", "2026-01-01").status == 0
    rows = json.loads(books.run("prices", "list", "--json").out)["data"]
    assert sorted((row["model"], row["source"]) for row in rows) == [("gpt-4o", "list.csv"), ("llama-70b", "list.csv")]
    again = books.run("prices", "import", "list.csv", "--effective-at", "2026-02-01")
    assert again.err == "0 imported, 2 stood there already\n"
    listing = books.run("prices", "list", "--json").out
    (books.folder / "export.json").write_text(listing)
    assert json.loads(books.run("prices", "import", "export.json", "--json").out)["unchanged"] == 2


def test_one_provider_of_litellms_map_is_brought_alone(books: Home) -> None:
    cost = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "mode": "chat"}
    entries = {"gpt-x": {**cost, "litellm_provider": "openai"}, "xai/grok": {**cost, "litellm_provider": "xai"}}
    (books.folder / "map.json").write_text(json.dumps(entries))
    done = json.loads(books.run("prices", "import", "map.json", "--provider", "xai", "--json").out)
    assert [(row["provider"], row["model"], row["output"]) for row in done["data"]] == [("xai", "grok", "2")]
    assert "no price of 'lab'" in books.run("prices", "import", "map.json", "--provider", "lab").err


def test_what_had_no_price_is_priced_by_command(books: Home) -> None:
    said = books.run("prices", "reprice", "--since", "2025-01-01", "--dry-run")
    assert said.out == "0 attempts would be repriced, by 0.000000000 USD; 0 still have no price\n"
    told = json.loads(books.run("prices", "reprice", "--since", "2025-01-01", "--until", "2025-02-01", "--json").out)
    assert told == {"attempts": 0, "amount_usd": "0.000000000", "unpriceable": 0, "dry_run": False}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "price_none"), "price_none"),
        (("show", "price_none", "--at", "2026-01-01"), "PROVIDER/MODEL"),
        (("show", "lab/x"), "Nobody knows what `lab/x` costs"),
        (("create", "gpt-4o", "--input", "1", "--output", "1"), "write PROVIDER/MODEL"),
        (("create", "lab/x", "--input", "one", "--output", "1"), "input"),
        (("import", "none.csv"), "cannot be read from none.csv"),
        (("import", "bad.csv"), "bad.csv: line 2: output: is missing"),
        (("delete", "price_none"), "price_none"),
    ],
)
def test_what_cannot_be_done_is_one_line_that_says_why(books: Home, words: tuple[str, ...], said: str) -> None:
    (books.folder / "bad.csv").write_text("provider,model,input,output\nlab,x,1,\n")
    done = books.run("prices", *words)
    assert done.status == 1
    assert said in done.err
    assert done.err.count("\n") == 1
