"""What Prometheus scrapes: right sums in the text format, bounded in series, with nothing that could break a line."""

from __future__ import annotations

import logging
import re

import msgspec
import pytest

import gateway.metrics as metrics_module
from billing.books import AttemptRow, RequestRow
from billing.price import Usage
from gateway.metrics import BUCKETS, OTHER, Metrics, resident_bytes


def request(model: str | None = "m", **fields: object) -> RequestRow:
    row = RequestRow(
        "req_1", 1, "key_1", None, None, "asked", model, "one", "pinned", "why", "miss", True, 200, None, 30_000, 4_000,
        1_234_500, (), (), None,
    )  # fmt: skip
    return msgspec.structs.replace(row, **fields)


def attempt(model: str = "m", **fields: object) -> AttemptRow:
    row = AttemptRow(1, "one", model, "why", 200, "answered", None, 1, 2, Usage(11, 3, 0, 7, 2), 5)
    return msgspec.structs.replace(row, **fields)


def samples(metrics: Metrics) -> dict[str, str]:
    text = metrics.render().decode()
    assert text.endswith("\n")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\.)*",?)*\})? [0-9.e+-]+', line), line
            name, _, value = line.rpartition(" ")
            assert name not in found, "a sample stands twice"
            found[name] = value
    return found


LABELS = 'model="m",provider="one",team="",status="200",cache="miss"'


def test_requests_are_counted_and_their_costs_summed() -> None:
    metrics = Metrics()
    metrics.request(request())
    metrics.request(request(cost_nano_usd=3_000_000_000_000_000_001))
    found = samples(metrics)
    assert found[f"turnpike_requests_total{{{LABELS}}}"] == "2"
    assert found[f"turnpike_cost_usd_total{{{LABELS}}}"] == "3000000000.001234501"


def test_durations_fall_into_their_buckets_and_buckets_add_up() -> None:
    metrics = Metrics()
    for duration_us in (0, 1_000, 1_001, 700_000_000):
        metrics.request(request(duration_us=duration_us, first_content_us=None))
    found = samples(metrics)
    name = "turnpike_request_duration_seconds"
    assert found[f'{name}_bucket{{{LABELS},le="0.001"}}'] == "2"
    assert found[f'{name}_bucket{{{LABELS},le="0.0025"}}'] == "3"
    assert found[f'{name}_bucket{{{LABELS},le="600"}}'] == "3"
    assert found[f'{name}_bucket{{{LABELS},le="+Inf"}}'] == found[f"{name}_count{{{LABELS}}}"] == "4"
    assert found[f"{name}_sum{{{LABELS}}}"] == "700.002001"
    assert not any(sample.startswith("turnpike_time_to_first_content") for sample in found)


def test_the_first_content_of_streams_has_its_own_histogram() -> None:
    metrics = Metrics()
    metrics.request(request())
    found = samples(metrics)
    counts = [
        value for name, value in found.items() if name.startswith("turnpike_time_to_first_content_seconds_bucket")
    ]
    assert len(counts) == len(BUCKETS) + 1
    assert found[f"turnpike_time_to_first_content_seconds_sum{{{LABELS}}}"] == "0.004000"


def test_attempts_and_tokens_are_counted_by_outcome() -> None:
    metrics = Metrics()
    metrics.attempt(attempt())
    metrics.attempt(attempt())
    metrics.attempt(attempt(outcome="reset"))
    found = samples(metrics)
    assert found['turnpike_attempts_total{model="m",provider="one",outcome="answered"}'] == "2"
    assert found['turnpike_tokens_total{model="m",provider="one",outcome="answered",type="input"}'] == "22"
    assert found['turnpike_tokens_total{model="m",provider="one",outcome="reset",type="reasoning"}'] == "2"


def test_a_label_cannot_break_out_of_its_line() -> None:
    metrics = Metrics()
    metrics.request(request('a"b\\c\nd'))
    assert any('model="a\\"b\\\\c\\nd"' in name for name in samples(metrics))


@pytest.mark.source
def test_there_are_no_more_series_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "SERIES_MAX", 2)
    metrics = Metrics()
    for number in range(5):
        metrics.request(request(f"m{number}"))
        metrics.attempt(attempt(f"m{number}"))
    found = samples(metrics)
    assert (
        found[f'turnpike_requests_total{{model="{OTHER}",provider="{OTHER}",team="{OTHER}",status="200",cache="miss"}}']
        == "3"
    )
    assert found[f'turnpike_attempts_total{{model="{OTHER}",provider="{OTHER}",outcome="answered"}}'] == "3"
    assert 'model="m1"' in "".join(found)
    assert 'model="m3"' not in "".join(found)


def test_gauges_are_read_when_scraped_and_surprises_are_logged_with_their_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()
    metrics.gauge("turnpike_x", "An x.", lambda: 1.5)
    with caplog.at_level(logging.ERROR, "turnpike"):
        metrics.surprise("req_7", ValueError("odd"))
    found = samples(metrics)
    assert (found["turnpike_x"], found["turnpike_internal_errors_total"]) == ("1.5", "1")
    assert "req_7" in caplog.text
    assert "ValueError: odd" in caplog.text


def test_resident_memory_is_that_of_this_process() -> None:
    assert 10_000_000 < resident_bytes() < 10_000_000_000
