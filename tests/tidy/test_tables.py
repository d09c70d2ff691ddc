"""Tables in the pages say what the code says: errors, outcomes, metrics, states, providers, configuration."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import pytest

from gateway.config import schema
from gateway.errors import _RETRY_AFTER_DEFAULT_S, SHAPES
from gateway.metrics import BUCKETS
from gateway.providers.registry import ROWS
from local_backend.flags import OURS, WITHHELD
from local_backend.install import BUILDS
from local_backend.state import NEXT, State
from routing.outcome import VERDICTS
from tests.tidy.repository import ROOT
from tests.tidy.test_docs import cells, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

LOCAL: Final = "docs/local-models.md"


def test_the_errors_are_those_of_the_table() -> None:
    shown = {
        row["raised as"]: (int(row["status"]), row["type"], row["code"], "retry-after" in row["also sent"])
        for row in table("docs/errors.md", "raised as")
    }
    assert shown == {
        kind.__name__: (shape.status, shape.type, shape.code, kind in _RETRY_AFTER_DEFAULT_S)
        for kind, shape in SHAPES.items()
    }
    for row in table("docs/errors.md", "raised as"):
        shape = next(shape for kind, shape in SHAPES.items() if kind.__name__ == row["raised as"])
        assert all(f"{name}: {value}" in row["also sent"] for name, value in shape.headers)


def test_the_reasons_of_attempts_are_those_of_the_table() -> None:
    shown = {row["reason"]: list(row.values())[2:] for row in table("docs/errors.md", "reason")}
    assert shown == {
        outcome.value: [
            "yes" if verdict.another_target else "no",
            "yes" if verdict.another_key else "no",
            verdict.effect.value.replace("_", " "),
        ]
        for outcome, verdict in VERDICTS.items()
    }


def test_the_codes_of_a_bad_request_are_those_in_the_code() -> None:
    shown = {row["code"] for row in table("docs/errors.md", "code")}
    source = [
        (ROOT / file).read_text()
        for file in ("gateway/attempts.py", "gateway/chat.py", "gateway/chat_request.py", "gateway/caller.py")
    ]
    assert shown == set(re.findall(r'code="(\w+)"', "".join(source)))


def test_what_never_became_a_request_is_refused_with_the_codes_of_the_table() -> None:
    shown = {(row["code"], status) for row in table("docs/errors.md", "status") for status in row["status"].split(", ")}
    assert {status for code, status in shown if code == "malformed_request"} == {"400", "414", "417"}
    source = (ROOT / "gateway/wire/server.py").read_text()
    assert {code for code, _ in shown} == set(re.findall(r'self\.refuse\([\w.]+, "(\w+)"', source))


def test_the_bounds_of_the_histograms_are_those_that_the_page_tells() -> None:
    text = (ROOT / "docs/metrics.md").read_text()
    sentence = re.search(r"histograms' bounds are (.*) ms and (.*) s\.", text)
    assert sentence
    told = [float(n) / 1000 for n in sentence[1].split(", ")] + [float(n) for n in sentence[2].split(", ")]
    assert told == list(BUCKETS)


def test_every_question_to_the_metrics_asks_for_one_that_exists() -> None:
    known = {row["name"] for row in table("docs/metrics.md", "name")}
    for row in table("docs/metrics.md", "question"):
        asked = re.findall(r"turnpike_\w+", row["PromQL"])
        assert asked
        assert {re.sub(r"_bucket$", "", name) for name in asked} <= known


def test_the_states_of_a_replica_are_those_of_the_table() -> None:
    shown = {
        row["state"]: set(re.findall(r"\b(" + "|".join(s.value for s in State) + r")\b", row["then"]))
        for row in table(LOCAL, "state")
    }
    leads: dict[str, set[str]] = {state.value: set() for state in State}
    for (before, _), then in NEXT.items():
        leads[before.value] |= {then.value} - {before.value}
    # Out of `failed` and `backing_off` a stop leads too; the page tells what happens by itself or by `start`.
    leads["failed"] -= {"stopped"}
    leads["crashed"] -= {"draining"}
    assert shown == leads


def test_what_the_page_says_of_the_installation_is_what_is_installed() -> None:
    shown = {row["device"]: (row["vLLM"], row["torch"], row["free disk needed"]) for row in table(LOCAL, "device")}
    assert shown == {
        device: (build.version, build.torch, f"{build.disk_bytes_min // 10**9} GB") for device, build in BUILDS.items()
    }
    text = (ROOT / LOCAL).read_text()
    assert all(f"`{pattern}`" in text for pattern in WITHHELD)
    assert all(f"`--{name}`" in text for name in OURS - {"model"})


def test_the_limits_that_pages_name_are_the_defaults() -> None:
    settings = schema.Settings()
    text = (ROOT / "docs/operations.md").read_text()
    assert f"`server.drain_delay_s` ({settings.server.drain_delay_s:g} s)" in text
    assert f"`server.drain_seconds_max` ({settings.server.drain_seconds_max:g} s)" in text


def test_the_providers_are_those_of_the_table() -> None:
    shown = {row["name"]: row for row in table("docs/providers.md", "name")}
    assert shown.keys() == ROWS.keys()
    for name, row in ROWS.items():
        said = shown[name]
        assert said["key"] == (", ".join((row.key_env, *row.key_env_also)) if row.key_env else "none")
        assert said["base URL"] in {row.base_url, "told by its supervisor"}
        assert set(filter(None, said["refused"].split(", "))) == row.unsupported
        taken_out = row.dropped if row.stream_usage else row.dropped | {"stream_options"}
        assert set(filter(None, said["taken out"].split(", "))) == taken_out
        assert dict(each.split(" → ") for each in filter(None, said["renamed"].split(", "))) == dict(row.renamed)


def test_the_price_table_is_as_large_as_the_pages_say() -> None:
    providers = json.loads((ROOT / "billing/price_table.json").read_text())["providers"]
    names = f"{sum(map(len, providers.values())):,}"
    for page in ("docs/prices.md", "CHANGELOG.md"):
        assert names in (ROOT / page).read_text(), f"{page} should say {names}"


def keys(model: type[BaseModel], before: str = "") -> dict[str, object]:
    return {f"{before}{name}": field.default for name, field in model.model_fields.items()}


SECTIONS: Final[Mapping[str, dict[str, object]]] = {
    "server": keys(schema.ServerSection),
    "state": keys(schema.StateSection),
    "auth": keys(schema.AuthSection),
    "providers": keys(schema.ProviderRow),
    "local": {**keys(schema.LocalSection), **keys(schema.LocalModelRow, "models.NAME.")},
    "models": keys(schema.DeploymentRow),
    "routing": keys(schema.RoutingSection),
    "cache": keys(schema.ExactCacheSection, "exact."),
    "limits": keys(schema.LimitsSection),
    "billing": keys(schema.BillingSection),
    "alerts": {**keys(schema.AlertsSection), **keys(schema.WebhookRow, "webhooks.N.")},
    "retention": keys(schema.RetentionSection),
    "telemetry, metrics": {**keys(schema.TelemetrySection, "telemetry."), **keys(schema.MetricsSection, "metrics.")},
}


def sections() -> Iterator[tuple[str, dict[str, str]]]:
    """The tables of docs/configuration.md by their headings: each key with its default as the page has it."""
    for part in (ROOT / "docs/configuration.md").read_text().split("\n### ")[1:]:
        rows = [cells(line) for line in part.splitlines() if line.startswith("| `")]
        yield part.partition("\n")[0], {row[0]: row[1] for row in rows}


def test_every_section_of_the_configuration_is_told() -> None:
    assert [name for name, _ in sections()] == list(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_keys_of_a_section_and_their_defaults_are_those_of_the_schema(name: str) -> None:
    told = dict(sections())[name]
    assert told.keys() == SECTIONS[name].keys()
    for key, default in SECTIONS[name].items():
        if isinstance(default, bool | int | float | str):
            assert told[key].lower() == f"{default:g}".lower() if type(default) is float else str(default).lower(), key
