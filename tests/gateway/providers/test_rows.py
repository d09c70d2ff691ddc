"""Provider rows: as many as files, each well formed, each fitting requests as its provider needs them."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

import gateway.providers
from gateway.providers.registry import ASKS_NOTHING, FITS, ROWS, Fit, fit, provider_of
from gateway.providers.row import ProviderDefaults

NO_ROWS = {"__init__", "registry", "row"}
EVERY_ROW = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())


def test_the_files_are_exactly_the_rows() -> None:
    folder = Path(gateway.providers.__file__).parent
    # `demo` answers by itself and has no endpoint to describe.
    assert {path.stem for path in folder.glob("*.py")} - NO_ROWS - {"demo", "echo"} == set(ROWS)


@EVERY_ROW
def test_a_row_is_reached_by_https_or_on_this_machine(row: ProviderDefaults) -> None:
    url = urlsplit(row.base_url)
    assert row.base_url == row.base_url.rstrip("/")
    assert url.scheme == "https" or url.hostname == "127.0.0.1" or row.name == "local"
    assert not url.query


@EVERY_ROW
def test_a_key_goes_out_over_https_alone(row: ProviderDefaults) -> None:
    assert (row.key_env is None) == (not row.base_url.startswith("https:"))
    assert all(name.endswith("_API_KEY") for name in (row.key_env or "_API_KEY", *row.key_env_also))


@EVERY_ROW
def test_a_field_has_one_fate(row: ProviderDefaults) -> None:
    fates = [row.unsupported, row.dropped, frozenset(row.renamed)]
    assert sum(map(len, fates)) == len(frozenset().union(*fates))
    assert not row.unsupported & frozenset(row.renamed.values())
    assert row.unsupported <= ASKS_NOTHING.keys()


@EVERY_ROW
def test_what_every_client_sends_is_taken_by_every_provider(row: ProviderDefaults) -> None:
    body = {"model": "m", "messages": [], "temperature": 0.5, "top_p": 0.9, "stop": ["x"], "tools": [], "stream": True}
    assert fit(row, body) is FITS


@EVERY_ROW
def test_what_is_refused_is_refused_by_name_and_its_default_is_left_out(row: ProviderDefaults) -> None:
    for name in row.unsupported:
        assert fit(row, {"model": "m", name: "something"}) == Fit(refused=name)
        for nothing in ASKS_NOTHING[name]:
            assert fit(row, {"model": "m", name: nothing}) == Fit(dropped=(name,))


@EVERY_ROW
def test_usage_of_a_stream_is_asked_for_only_where_that_is_understood(row: ProviderDefaults) -> None:
    body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    assert fit(row, body) == (FITS if row.stream_usage else Fit(dropped=("stream_options",)))


def test_a_renamed_field_keeps_its_value_unless_the_new_name_is_there_too() -> None:
    row = ROWS["mistral"]
    assert fit(row, {"max_completion_tokens": 5, "seed": 1}).renamed == (
        ("max_completion_tokens", "max_tokens"),
        ("seed", "random_seed"),
    )
    assert fit(row, {"max_completion_tokens": 5, "max_tokens": 6}) == Fit(dropped=("max_completion_tokens",))


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", "openai"),
        ("gpt-4o-2024-08-06", "openai"),
        ("o3-mini", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("ft:gpt-4o-mini:acme::x", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("gemini-2.5-flash", "gemini"),
        ("mistral-large-latest", "mistral"),
        ("codestral-2508", "mistral"),
        ("llama-3.3-70b-versatile", "groq"),
        ("deepseek-chat", "deepseek"),
        ("grok-4", "xai"),
        ("accounts/fireworks/models/kimi-k2", "fireworks"),
        ("gpt-oss-120b", None),
        ("llama-70b", None),
        ("", None),
    ],
)
def test_a_bare_name_finds_its_provider(model: str, provider: str | None) -> None:
    assert provider_of(model, ROWS) == provider


def test_only_a_configured_provider_is_found() -> None:
    assert provider_of("gpt-4o", ["lab", "anthropic"]) is None
    assert provider_of("gpt-4o", ["lab", "openai"]) == "openai"


def test_no_model_name_belongs_to_two_providers() -> None:
    beginnings = [(name, row) for row in ROWS.values() for name in row.known_models]
    for name, row in beginnings:
        assert [other.name for other in ROWS.values() if other.knows(name)] == [row.name]
