"""Values out of LiteLLM's tables, however they were written down."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.litellm.names import digest_of, our_id
from gateway.cli.litellm.rows import document, flag, instant, instant_text, is_finer, listing, nano_usd, number
from gateway.cli.litellm.windows import window_of


@pytest.mark.parametrize(
    ("duration", "window"),
    [
        (None, "total"),
        ("1h", "hour"), ("60m", "hour"), ("hourly", "hour"),
        ("1d", "day"), ("24h", "day"), ("01d", "day"), ("Daily", "day"),
        ("7d", "week"), ("1w", "week"),
        ("30d", "month"), ("1mo", "month"), ("monthly", "month"),
        ("2d", None), ("31d", None), ("2mo", None), ("168h", None), ("90s", None), ("", None), ("soon", None),
    ],
)  # fmt: skip
def test_a_duration_is_the_window_that_resets_at_the_same_instants_or_none(
    duration: str | None, window: str | None
) -> None:
    assert window_of(duration) == window


@pytest.mark.parametrize(
    ("written", "nano"),
    [
        ("0.1", 100_000_000),
        ("1e-05", 10_000),
        ("12.3456789012345", 12_345_678_901),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("0.0000000025", 2),
        ("100", 100_000_000_000),
    ],
)
def test_an_amount_is_its_decimal_text_rounded_half_to_even(written: str, nano: int) -> None:
    amount = number({"spend": Decimal(written)}, "spend")
    assert amount is not None
    assert nano_usd(amount) == nano
    assert is_finer(amount) == (Decimal(nano).scaleb(-9) != Decimal(written))


@given(st.floats(0, 1e6))
def test_a_binary_fraction_is_read_by_its_shortest_text(spend: float) -> None:
    amount = number({"spend": spend}, "spend")
    assert amount == Decimal(repr(spend))


@pytest.mark.parametrize("written", [None, "", "NaN", "Infinity", "many", True])
def test_what_is_no_number_is_none(written: object) -> None:
    assert number({"spend": written}, "spend") is None


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6), max_size=4))
def test_an_array_is_read_as_postgresql_writes_it(items: list[str]) -> None:
    def quoted(item: str) -> str:
        return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'

    assert listing({"models": "{" + ",".join(map(quoted, items)) + "}"}, "models") == items
    assert listing({"models": items}, "models") == items


@pytest.mark.parametrize(
    "items", [[], ["a"], ["gpt-4o", "openai/*"], ['q"uote', "back\\slash", "com,ma", "spa ce", "NULL", "{x}", ""]]
)
def test_postgresql_itself_agrees(postgres_url: str, items: list[str]) -> None:
    with psycopg.connect(postgres_url) as connection:
        (written,) = connection.execute("SELECT %s::text[]::text", [items]).fetchone() or ("",)
    assert listing({"models": written}, "models") == items


def test_json_may_be_written_twice_over() -> None:
    assert document({"m": '[{"user_id": "u"}]'}, "m") == [{"user_id": "u"}]
    assert document({"m": '"{\\"a\\": 0.1}"'}, "m") == {"a": Decimal("0.1")}
    assert document({"m": "not json"}, "m") is None


def test_a_time_without_a_zone_is_utc() -> None:
    at = instant({"expires": "2027-01-01 08:00:00.5"}, "expires")
    assert at is not None
    assert instant_text(at) == "2027-01-01T08:00:00.500Z"
    assert instant({"expires": "never"}, "expires") is None


def test_a_flag_is_true_in_any_dump() -> None:
    assert [flag({"blocked": value}, "blocked") for value in (True, "t", "true", False, "f", None, "")] == [
        True, True, True, False, False, False, False,
    ]  # fmt: skip


def test_ids_stay_or_are_made_of_what_they_were() -> None:
    assert our_id("3f2c-team.A") == "3f2c-team.A"
    made = our_id("Ada Lovelace <ada@example.com>")
    assert made.startswith("ada-lovelace-ada-example.com-")
    assert made == our_id("Ada Lovelace <ada@example.com>") != our_id("Ada Lovelace  <ada@example.com>")


def test_a_token_is_a_hash_or_the_text_that_was_hashed_later() -> None:
    assert digest_of("AB" * 32) == "ab" * 32
    assert digest_of("sk-1234") == "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"
    assert digest_of("something else") is None
