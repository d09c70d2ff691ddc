"""A usage report: holds counted in the line of their settlement, money as text, a CSV that no spreadsheet runs."""

import csv
import io
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.store import UsageLine
from gateway.admin.usage_report import Group, Names, Span, added, csv_text, guarded, rows, with_pending

BERLIN = ZoneInfo("Europe/Berlin")


@dataclass(frozen=True, slots=True)
class FlyingHold:
    opened_at_us: int = 1_764_026_000_000_000  # 2025-11-24 23:13:20 UTC, already the 25th in Berlin
    key_id: str = "key_1"
    team_id: str | None = "team_a"
    user_id: str | None = None
    organization_id: str | None = "org_1"
    end_user: str | None = "erin"
    provider: str = "openai"
    model: str = "gpt-5-mini"
    tags: tuple[str, ...] = ("feature=search", "env=prod")
    amount_nano_usd: int = 1_000


def test_a_hold_joins_the_line_it_will_settle_in() -> None:
    lines: dict[Group, UsageLine] = {("team_a", "gpt-5-mini"): UsageLine(requests=2, cost_nano_usd=5)}
    merged = with_pending(lines, [FlyingHold(), FlyingHold()], ("team", "model"), BERLIN)
    assert merged == {("team_a", "gpt-5-mini"): UsageLine(requests=2, cost_nano_usd=5, pending_nano_usd=2_000)}


def test_a_hold_of_a_new_group_makes_a_line_of_its_own() -> None:
    columns = ("day", "tag:feature", "tag:absent", "key", "provider", "user", "organization", "end_user")
    merged = with_pending({}, [FlyingHold()], columns, BERLIN)
    group = ("2025-11-25", "search", None, "key_1", "openai", None, "org_1", "erin")
    assert merged == {group: UsageLine(pending_nano_usd=1_000)}


def test_the_lines_of_two_bounds_add_up_group_by_group() -> None:
    one: dict[Group, UsageLine] = {("a",): UsageLine(requests=1, cost_nano_usd=5), ("b",): UsageLine(requests=7)}
    other: dict[Group, UsageLine] = {("a",): UsageLine(requests=2, cost_nano_usd=6), ("c",): UsageLine(requests=9)}
    assert added(one, other) == {
        ("a",): UsageLine(requests=3, cost_nano_usd=11),
        ("b",): UsageLine(requests=7),
        ("c",): UsageLine(requests=9),
    }


def test_an_organization_has_its_name_beside_it() -> None:
    (row,) = rows({("org_1",): UsageLine()}, ("organization",), Names({}, {"org_1": "Acme"}))
    assert (row["organization_id"], row["organization_name"]) == ("org_1", "Acme")
    assert csv_text([row], ("organization",)).startswith("organization_id,organization_name,requests,")


def test_a_row_names_its_columns_and_writes_money_as_text() -> None:
    line = UsageLine(requests=1, input_tokens=7, cost_nano_usd=1_234_500)
    (row,) = rows({("team_a",): line}, ("team",), Names({"team_a": "A"}))
    assert row == {
        "team_id": "team_a",
        "team_name": "A",
        "requests": 1,
        "input_tokens": 7,
        "cached_input_tokens": 0,
        "output_tokens": 0,
        "reasoning_tokens": 0,
        "cost_usd": "0.001234500",
        "estimated_usd": "0.000000000",
        "pending_usd": "0.000000000",
        "saved_usd": "0.000000000",
    }


def test_rows_are_in_order_and_the_teamless_come_last() -> None:
    found = rows({(None,): UsageLine(), ("b",): UsageLine(), ("a",): UsageLine()}, ("team",), Names())
    assert [row["team_id"] for row in found] == ["a", "b", None]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(start: str) -> None:
    assert guarded(f"{start}1+1") == f"'{start}1+1"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=1, max_size=5, unique=True))
def test_csv_reads_back_what_was_written(names: list[str]) -> None:
    lines: dict[Group, UsageLine] = {(name,): UsageLine(requests=1) for name in names}
    text = csv_text(rows(lines, ("model",), Names()), ("model",))
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["model"] for row in read] == [guarded(name) for name in sorted(names)]


def test_csv_of_nothing_still_has_its_header() -> None:
    assert csv_text([], ("team", "tag:x")).startswith("team_id,team_name,tag:x,requests,input_tokens,")


def test_a_span_begins_with_from_and_ends_before_to() -> None:
    span = Span(10, 20)
    assert [span.holds(at) for at in (9, 10, 19, 20)] == [False, True, True, False]
    assert Span(None, None).holds(0)
