"""Forms: read whole or given back whole, with what is wrong beside each field."""

from collections.abc import Mapping

import pytest

from gateway.admin.pages.fields import BudgetForm, KeyForm, OrganizationForm, UserForm, ZoneForm
from gateway.admin.pages.forms import Form, Wrong, read, refused
from gateway.admin.problem import FieldError, Problem

BUDGET = {"scope_type": "team", "scope_id": "team_a", "limit_usd": "100", "window": "month", "timezone": "UTC"}


def wrong(kind: type[Form], typed: Mapping[str, str]) -> Mapping[str, str]:
    with pytest.raises(Wrong) as caught:
        read(kind, typed)
    sheet = caught.value.sheet
    assert all(sheet.value(name) == text for name, text in typed.items() if name not in ("token", "once"))
    assert sheet.wrong
    return sheet.errors


@pytest.mark.parametrize(
    ("typed", "nano_usd"),
    [("100", 100 * 10**9), (" $1,234.50 ", 1_234_500_000_000), ("0.000000001", 1), ("0", 0)],
)
def test_an_amount_is_read_as_people_write_it(typed: str, nano_usd: int) -> None:
    assert read(BudgetForm, {**BUDGET, "limit_usd": typed}).limit_usd == nano_usd


@pytest.mark.parametrize("typed", ["a lot", "1.0000000001", "-1", "1e3", "10€"])
def test_what_is_no_amount_says_so_beside_the_field(typed: str) -> None:
    assert set(wrong(BudgetForm, {**BUDGET, "limit_usd": typed})) == {"limit_usd"}


def test_a_budget_needs_some_limit() -> None:
    assert "limit_usd" in wrong(BudgetForm, {**BUDGET, "limit_usd": ""})
    assert read(BudgetForm, {**BUDGET, "limit_usd": "", "soft_limit_usd": "5"}).limit_usd is None


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"soft_limit_usd": "100.01"}, "soft_limit_usd"),
        ({"scope_type": "tag", "scope_id": "feature"}, "scope_id"),
        ({"scope_team_id": "team_b"}, "scope_team_id"),
        ({"scope_type": "member", "scope_id": "user_a"}, "scope_team_id"),
        ({"scope_type": "country"}, "scope_type"),
        ({"timezone": "Berlin"}, "timezone"),
        ({"scope_id": ""}, "scope_id"),
    ],
)
def test_what_does_not_fit_together_is_marked_at_one_field(more: Mapping[str, str], field: str) -> None:
    assert set(wrong(BudgetForm, {**BUDGET, **more})) == {field}


def test_every_mistake_is_told_at_once() -> None:
    assert set(wrong(UserForm, {"email": "ada", "role": "king"})) == {"name", "email", "role"}


def test_blanks_are_no_name() -> None:
    assert wrong(OrganizationForm, {"name": "   "}) == {"name": "Fill this in."}
    assert read(OrganizationForm, {"name": "  Acme  "}).name == "Acme"


@pytest.mark.parametrize("typed", ["-x", "a b", "ä", "a/b"])
def test_an_id_is_of_letters_and_digits(typed: str) -> None:
    assert set(wrong(OrganizationForm, {"name": "Acme", "id": typed})) == {"id"}


def test_models_are_given_by_lines_or_commas() -> None:
    form = read(KeyForm, {"name": "ci", "models_allowed": "openai/*\r\nlab/llama-70b, demo/echo"})
    assert form.models_allowed == ("openai/*", "lab/llama-70b", "demo/echo")


def test_a_key_s_end_is_by_the_clock_of_the_zone() -> None:
    form = read(KeyForm, {"name": "ci", "expires_at": "2026-07-01T00:00"})
    assert form.expires_at_us("Europe/Berlin") == 1_782_856_800_000_000  # 2026-06-30T22:00:00Z
    assert read(KeyForm, {"name": "ci"}).expires_at_us("UTC") is None
    assert set(wrong(KeyForm, {"name": "ci", "expires_at": "soon"})) == {"expires_at"}
    assert set(wrong(KeyForm, {"name": "ci", "requests_per_minute": "many"})) == {"requests_per_minute"}
    assert set(wrong(KeyForm, {"name": "ci", "requests_per_minute": "-1"})) == {"requests_per_minute"}


def test_what_a_form_does_not_ask_is_not_read() -> None:
    assert read(ZoneForm, {"timezone": "Asia/Tokyo", "token": "x"}).timezone == "Asia/Tokyo"


def test_a_refusal_goes_beside_the_field_it_names_or_above_the_form() -> None:
    typed = {"name": "Acme", "token": "secret", "once": "1"}
    named = refused(typed, Problem("invalid", "both", errors=[FieldError("name", "taken")])).sheet
    assert (named.errors, named.general) == ({"name": "taken"}, "")
    other = refused(typed, Problem("conflict", "It cannot be.")).sheet
    assert (other.errors, other.general) == ({}, "It cannot be.")
    assert set(other.values) == {"name"}
