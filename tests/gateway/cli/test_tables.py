"""Rows as tables, CSV and JSON, whatever their names hold."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.tables import FORMULA_STARTS, csv_text, fields, listing_json, shown, table


def test_a_table_lines_its_columns_up_with_numbers_to_the_right() -> None:
    rows = [
        {"name": "a", "requests": 5, "cost_usd": "0.000000100"},
        {"name": "long", "requests": 12345, "cost_usd": "12.000000000"},
    ]
    assert table(rows, ["name", "requests", "cost_usd"]) == (
        "name  requests      cost_usd\na            5   0.000000100\nlong     12345  12.000000000"
    )


def test_no_rows_leave_the_names_of_the_columns() -> None:
    assert table([], ["id", "name"]) == "id  name"


def test_lists_truth_and_nothing_are_shown_as_words() -> None:
    row = {"a": ["x", "y"], "b": None, "c": True, "d": {"k": 1}}
    assert table([row], list(row)) == 'a     b  c    d\nx, y  –  yes  {"k": 1}'


def test_wide_letters_keep_the_columns_apart() -> None:
    assert table([{"a": "東京", "b": "x"}, {"a": "abcd", "b": "y"}], ["a", "b"]).splitlines()[1:] == [
        "東京  x",
        "abcd  y",
    ]


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "a\tb", "\u202etxt", "\x07"])
def test_a_name_cannot_steer_the_terminal(name: str) -> None:
    assert all(char.isprintable() for char in shown(name))
    assert table([{"n": name}], ["n"]).count("\n") == 1


def test_one_thing_is_told_a_field_a_line_without_the_empty_ones() -> None:
    assert (
        fields({"id": "key_1", "name": "n", "team_id": None, "models_allowed": [], "limits": {}})
        == "id    key_1\nname  n"
    )


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_a_cell_that_a_spreadsheet_would_run_gets_a_quote(start: str) -> None:
    text = csv_text([{"name": f"{start}1+1"}], ["name"])
    assert next(csv.reader(io.StringIO(text.split("\r\n", 1)[1])))[0] == f"'{start}1+1"


@given(st.lists(st.fixed_dictionaries({"a": st.text(max_size=8), "b": st.none() | st.integers(0, 10**12)}), max_size=4))
def test_csv_reads_back_as_it_was_and_no_cell_is_a_formula(rows: list[dict[str, object]]) -> None:
    read = list(csv.reader(io.StringIO(csv_text(rows, ["a", "b"]), newline="")))
    assert read[0] == ["a", "b"]
    for row, cells in zip(rows, read[1:], strict=True):
        assert [cell.removeprefix("'") for cell in cells] == [
            str(row["a"]).removeprefix("'"),
            "" if row["b"] is None else str(row["b"]),
        ]
        assert not any(cell.startswith(FORMULA_STARTS) for cell in cells)


def test_json_has_the_shape_of_the_admin_api() -> None:
    assert json.loads(listing_json([{"a": "é"}])) == {"data": [{"a": "é"}], "has_more": False, "next": None}
