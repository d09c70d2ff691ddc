"""The usage page: any two columns, one sum in plot, table and CSV, and mistakes told in place."""

import csv
import html
import io
import re

import pytest

from gateway.admin.asked import GROUP_COLUMNS
from gateway.admin.pages.usage import GROUPS
from tests.gateway.admin.house import House
from tests.gateway.admin.pages.forms import sent
from tests.gateway.admin.scene import furnished
from tests.gateway.admin.test_sign_in import sign_in

CELL = re.compile(r"<t([hd])[^>]*>(.*?)</t\1>", re.DOTALL)
VALUE = re.compile(r'value="(-?[\d.]+)"')


def shown(text: str, part: str) -> list[list[str]]:
    """The table's cells as a person reads them, amounts exactly."""
    table = text[text.index('id="usage"') :]
    body = table[table.index(f"<{part}>") : table.index(f"</{part}>")]
    rows = []
    for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
        cells = []
        for _, cell in CELL.findall(row):
            exact = VALUE.search(cell) if "<data" in cell else None
            cells.append(exact[1] if exact else html.unescape(re.sub(r"<[^>]+>", "", cell)).replace(",", "").strip())
        rows.append(cells)
    return rows


def test_every_column_of_a_report_is_offered() -> None:
    assert {name for name, _ in GROUPS} == {*GROUP_COLUMNS, "tag"}


@pytest.mark.parametrize("by", [name for name, _ in GROUPS])
@pytest.mark.parametrize("then", ["none", "key"])
async def test_the_csv_is_exactly_what_is_shown(house: House, by: str, then: str) -> None:
    await furnished(house)
    await sign_in(house)
    query = f"by={by}&then={then}&by_tag=feature&then_tag=feature"
    page = await house.browser.get(f"/admin/usage?{query}")
    assert page.status_code == 200
    link = re.search(r'href="(/admin/usage\.csv\?[^"]+)"', page.text)
    assert link is not None
    answer = await house.browser.get(html.unescape(link[1]))
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="usage-')
    header, *rows = csv.reader(io.StringIO(answer.text))
    ((*labels,),) = shown(page.text, "thead")
    assert header == labels
    assert rows == shown(page.text, "tbody")
    ((*totals,),) = shown(page.text, "tfoot")
    cost = header.index("Cost USD") - len(header)
    assert totals[cost] == "0.497725578"  # all that was spent, however it is grouped


async def test_the_plot_is_by_day_and_by_the_first_column(house: House) -> None:
    await furnished(house)
    await sign_in(house)
    text = (await house.browser.get("/admin/usage?by=team&then=model")).text
    assert "Cost by day and team" in text
    assert "2025-11-24 · Support: $0.2500" in text
    assert "2025-11-16 · Search: $0.1235" in text


async def test_a_span_begins_and_ends_with_days_of_the_zone_the_last_included(house: House) -> None:
    await furnished(house)
    await sign_in(house)
    day = "first=2025-11-24&last=2025-11-24&timezone=UTC"
    rows = shown((await house.browser.get(f"/admin/usage?by=team&then=none&{day}")).text, "tbody")
    assert {row[0] for row in rows} == {"Support", "Search"}
    # At noon in London it is past midnight in Kiritimati: another day.
    text = (await house.browser.get(f"/admin/usage?by=team&{day.replace('UTC', 'Pacific/Kiritimati')}")).text
    assert "Support" not in text[text.index("<main") :].partition('<select id="f-team"')[0]
    assert (await house.browser.get("/admin/usage?first=2020-01-01&last=2020-01-31")).text.count(
        "Nothing was used"
    ) == 1


async def test_one_team_alone(house: House) -> None:
    await furnished(house)
    await sign_in(house)
    rows = shown((await house.browser.get("/admin/usage?by=key&then=none&team=team_b")).text, "tbody")
    assert [row[0] for row in rows] == ["bot"]


async def test_all_decimals_are_a_link_away(house: House) -> None:
    await furnished(house)
    await sign_in(house)
    assert ">0.250000000<" not in (await house.browser.get("/admin/usage")).text
    assert ">0.250000000<" in (await house.browser.get("/admin/usage?exact=1")).text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("first=2025-11-10&last=2025-11-09", "last"),
        ("first=yesterday", "first"),
        ("timezone=Mars/Olympus", "timezone"),
        ("by=tag", "by_tag"),
        ("first=1000-01-01", "first"),
    ],
)
async def test_a_mistake_is_told_beside_its_field(house: House, query: str, field: str) -> None:
    await sign_in(house)
    answer = await house.browser.get(f"/admin/usage?{query}")
    assert answer.status_code == 422
    assert f'id="f-{field}-error"' in answer.text
    refused = await house.browser.get(f"/admin/usage.csv?{query}")
    assert refused.status_code == 422


async def test_the_page_speaks_in_the_zone_that_was_chosen(house: House) -> None:
    await sign_in(house)
    await sent(house, "/admin/timezone", timezone="Asia/Tokyo")
    assert 'value="Asia/Tokyo"' in (await house.browser.get("/admin/usage")).text


async def test_a_team_s_name_is_no_formula_in_the_csv(house: House) -> None:
    await furnished(house)
    await house.admin.patch("/admin/v1/teams/team_a", json={"name": "=HYPERLINK(1)"})
    await sign_in(house)
    assert "'=HYPERLINK(1)" in (await house.browser.get("/admin/usage.csv?by=team")).text
