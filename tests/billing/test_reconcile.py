"""A provider's bill beside the ledger: read exactly, and every difference explained to the last decimal."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.cost_export import Charge, Export, ExportUnreadable, read_export
from billing.reconcile import Cell, NoRate, Reconciliation, Why, base_name, reconcile
from billing.usage_span import day_span

DAY_S = 86_400
START_S = 1_764_028_800  # 2025-11-25T00:00Z
DAY = (START_S * 10**6, (START_S + DAY_S) * 10**6)
NEXT = (DAY[1], DAY[1] + DAY_S * 10**6)


def page(*buckets: list[dict[str, Any]], has_more: bool = False) -> dict[str, Any]:
    """A page as the API documents it: buckets of a day."""
    return {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": START_S + place * DAY_S,
                "end_time": START_S + (place + 1) * DAY_S,
                "results": results,
            }
            for place, results in enumerate(buckets)
        ],
        "has_more": has_more,
        "next_page": None,
    }


def result(value: object, item: str | None = None, currency: str = "usd") -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": value, "currency": currency},
        "line_item": item,
        "project_id": "proj_abc",
        "organization_id": "org-1",
    }


def charge(amount: str, item: str | None = "gpt-5-mini", span: tuple[int, int] = DAY, currency: str = "usd") -> Charge:
    return Charge(*span, None, item, None, Decimal(amount), Decimal("0.5e-9"), currency)


def cell(cost: int, span: tuple[int, int] = DAY, model: str = "gpt-5-mini", **other: int) -> Cell:
    return Cell(*span, model, cost, **{"requests": 1, **other})


def reasons(charges: list[Charge], cells: list[Cell], **rates: Decimal) -> list[dict[str, str]]:
    """By row: each reason with its amount."""
    found = reconcile(Export(tuple(charges), ()), cells, rates)
    return [{part.why.value: f"{part.amount_usd.normalize():f}" for part in row.parts} for row in found.rows]


def test_pages_of_the_costs_api_are_read_without_losing_a_digit() -> None:
    text = json.dumps(page([result(1, "gpt-5-mini, input"), result("2")], [result(3)]))
    exact = text.replace('"value": 1', '"value": 0.060000000000000012345678').replace('"value": 3', '"value": 1.5e-07')
    export = read_export(exact.encode())
    assert [charge.amount for charge in export.charges] == [
        Decimal("0.060000000000000012345678"),
        Decimal(2),
        Decimal("1.5e-7"),
    ]
    assert export.spans == (DAY, NEXT)
    assert export.charges[0].item == "gpt-5-mini, input"
    assert export.charges[0].project == "proj_abc"
    assert export.charges[2].half_step == Decimal("0.5e-8")


@pytest.mark.parametrize("shape", ["list", "lines", "bom"])
def test_several_pages_may_stand_in_a_list_or_one_a_line(shape: str) -> None:
    first, second = page([result(1)]), page([], [result(2)])
    second["data"] = second["data"][1:]
    text = {
        "list": json.dumps([first, second]),
        "lines": f"{json.dumps(first)}\n{json.dumps(second)}\n",
        "bom": "\ufeff" + json.dumps([first, second]),
    }[shape]
    assert [charge.amount for charge in read_export(text.encode()).charges] == [1, 2]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (json.dumps(page([result(1)], has_more=True)), "fetch the pages that follow"),
        (json.dumps([page([result(1)]), page([result(1)])]), "give each page once"),
        (json.dumps(page([result("1e999999")])), "no amount of money"),
        (json.dumps(page([result("NaN")])), "no amount of money"),
        (json.dumps(page([result("words")])), "no costs as OpenAI's API gives them"),
        (json.dumps({"object": "page"}), "no costs as OpenAI's API gives them"),
        ("{", "no costs as OpenAI's API gives them"),
        ('{"data": [{"start_time": 5, "end_time": 5}]}', "is no span"),
        ("when,how much\n", "no column for the day"),
        ("date,model\n", "no column for the amount"),
        ("date,cost\n2026-11-31,1\n", "row 2: '2026-11-31' is no day"),
        ("date,cost\n11/25/2026,1\n", "is no day"),
        ("date,cost\n9999-12-31,1\n", "is no day"),
        ("date,cost\n2026-11-25,1;5\n", "is no amount"),
        ("date;cost\n2026-11-25;1,5\n", "is no amount"),
        ("date,cost\n2026-11-25,\n", "is no amount"),
        ("date,cost\n2026-11-25,1e400\n", "no amount of money"),
        ("date,cost\n2000-01-01,1\n2190-01-01,1\n", "spans more than"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(document: str | bytes, reason: str) -> None:
    with pytest.raises(ExportUnreadable, match=reason):
        read_export(document if isinstance(document, bytes) else document.encode())


@pytest.mark.parametrize(
    "text",
    [
        "date,model,cost_usd\n2025-11-25,gpt-5-mini,1234.5\n",
        "\ufeffDate;Model;Cost (USD)\r\n2025-11-25;gpt-5-mini;$1,234.50\r\n\r\n",
        "Usage Date\tLine Item\tAmount\n2025/11/25\tgpt-5-mini\t'1.2345E3\n",
        "start_time,end_time,amount_value,amount_currency,line_item\n1764028800,1764115200,1234.5,usd,gpt-5-mini\n",
        "day,model,total,notes\n2025-11-25T23:59:59Z,gpt-5-mini,1234.5,x\n",
    ],
)
def test_a_csv_is_read_by_its_headers(text: str) -> None:
    export = read_export(text.encode())
    (line,) = export.charges
    assert (line.from_at_us, line.to_at_us, line.item, line.amount, line.currency) == (
        *DAY,
        "gpt-5-mini",
        Decimal("1234.5"),
        "usd",
    )
    assert export.spans == (DAY,)


def test_a_csvs_days_are_those_of_its_time_zone_and_quiet_days_count() -> None:
    export = read_export(b"date,cost\n2026-10-24,1\n2026-10-26,2\n", "Europe/Berlin")
    hours = [(span[1] - span[0]) // 3_600_000_000 for span in export.spans]
    assert hours == [24, 25, 24], "the clocks go back on the 25th"
    assert export.charges[0].from_at_us == day_span(date(2026, 10, 24), ZoneInfo("Europe/Berlin"))[0]


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    try:
        export = read_export(document)
    except ExportUnreadable:
        return
    assert all(charge.amount.is_finite() for charge in export.charges)


@given(
    st.lists(
        st.tuples(st.decimals(-(10**6), 10**6, places=12), st.sampled_from(["gpt-5-mini, input", "o5", None])),
        max_size=6,
    )
)
def test_pages_keep_every_amount(lines: list[tuple[Decimal, str | None]]) -> None:
    text = json.dumps(page([result(f"{amount:f}", item) for amount, item in lines]))
    assert [(charge.amount, charge.item) for charge in read_export(text.encode()).charges] == lines


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("gpt-4o-mini-2024-07-18, input", "gpt-4o-mini"),
        ("GPT-4o mini, cached input", "gpt-4o-mini"),
        ("openai/gpt-5-mini", "gpt-5-mini"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("gpt-4.1 | output", "gpt-4.1"),
        ("web search tool calls", "web-search-tool-calls"),
        ("chatgpt-4o-latest", "chatgpt-4o"),
    ],
)
def test_a_line_item_names_its_model(item: str, name: str) -> None:
    assert base_name(item) == name


@pytest.mark.parametrize(
    ("charges", "cells", "expected"),
    [
        ([charge("1")], [cell(10**9)], [{}]),
        ([charge("1.0000000004")], [cell(10**9)], [{"rounding": "0.0000000004"}]),
        ([charge("1"), charge("2")], [cell(10**9), cell(2 * 10**9, model="gpt-5-mini-2025-08-07")], [{}]),
        ([charge("1")], [], [{"not_in_ledger": "1"}]),
        ([], [cell(10**9)], [{"only_in_ledger": "-1"}]),
        ([charge("2")], [cell(10**9)], [{"unexplained": "1"}]),
        ([charge("0.9")], [cell(10**9, estimated_nano_usd=3 * 10**8)], [{"estimated": "-0.1"}]),
        ([charge("0.5")], [cell(10**9, estimated_nano_usd=3 * 10**8)], [{"estimated": "-0.3", "unexplained": "-0.2"}]),
        ([charge("3")], [cell(10**9, unpriced_requests=2)], [{"unpriced": "2"}]),
        ([charge("3")], [cell(10**9, repriced_nano_usd=15 * 10**8)], [{"reprice": "1.5", "unexplained": "0.5"}]),
        ([charge("3")], [cell(10**9, repriced_nano_usd=-(10**9))], [{"unexplained": "2"}]),
        ([charge("0.5", currency="eur")], [cell(10**9)], [{"currency": "-1"}]),
        ([charge("1"), charge("2", None)], [cell(3 * 10**9), cell(0, model="o5")], [{}]),
    ],
)
def test_a_difference_is_explained(charges: list[Charge], cells: list[Cell], expected: list[dict[str, str]]) -> None:
    assert reasons(charges, cells) == expected


def test_another_currency_is_converted_at_the_rate_that_was_given() -> None:
    assert reasons([charge("10", currency="eur")], [cell(108 * 10**8)], EUR=Decimal("1.08")) == [{}]
    with pytest.raises(NoRate, match="is no rate"):
        reasons([], [], eur=Decimal(0))


def test_what_ran_over_midnight_is_found_on_the_other_side() -> None:
    later = [charge("1"), charge("1.5", span=NEXT)]
    assert reasons(later, [cell(13 * 10**8, last_nano_usd=4 * 10**8), cell(12 * 10**8, NEXT)]) == [
        {"day_boundary": "-0.3"},
        {"day_boundary": "0.3"},
    ]
    earlier = [charge("1.5"), charge("1", span=NEXT)]
    assert reasons(earlier, [cell(12 * 10**8), cell(13 * 10**8, NEXT, first_nano_usd=10**8)]) == [
        {"day_boundary": "0.1", "unexplained": "0.2"},
        {"day_boundary": "-0.1", "unexplained": "-0.2"},
    ]


spans = st.sampled_from([DAY, NEXT, (NEXT[1], NEXT[1] + DAY_S * 10**6)])
models = st.sampled_from(["gpt-5-mini", "gpt-5-mini-2025-08-07", "o5"])
nanos = st.integers(-(10**6), 10**13)
charges_made = st.tuples(
    spans, st.none() | models, st.decimals(-(10**6), 10**9, places=20), st.sampled_from(["usd", "usd", "eur", "gbp"])
).map(lambda made: Charge(*made[0], None, made[1], None, made[2], Decimal("0.5e-20"), made[3]))
cells_made = st.tuples(spans, models, *[nanos] * 2, *[st.integers(0, 3)] * 2, *[nanos] * 3).map(
    lambda made: Cell(*made[0], *made[1:])
)


@given(st.lists(charges_made, max_size=8), st.lists(cells_made, max_size=8))
def test_the_parts_add_up_exactly(charges: list[Charge], cells: list[Cell]) -> None:
    found = reconcile(Export(tuple(charges), ()), cells, {"eur": Decimal("1.0832")})
    with localcontext(prec=100):
        demand_exact_sums(found, charges, cells)


def demand_exact_sums(found: Reconciliation, charges: list[Charge], cells: list[Cell]) -> None:
    for row in found.rows:
        assert row.difference_usd == row.provider_usd - row.ledger_usd == sum(part.amount_usd for part in row.parts)
        assert all(part.amount_usd and part.sentence for part in row.parts)
    assert sum(found.by_reason.values()) == found.provider_usd - found.ledger_usd
    assert found.ledger_usd == sum(cell.cost_nano_usd for cell in cells) * Decimal("1e-9")
    usd = sum(charge.amount for charge in charges if charge.currency == "usd")
    assert found.provider_usd == usd + sum(c.amount for c in charges if c.currency == "eur") * Decimal("1.0832")
    assert found.by_reason.get(Why.DAY_BOUNDARY, Decimal(0)) == 0, "what crosses midnight leaves one day for the other"
