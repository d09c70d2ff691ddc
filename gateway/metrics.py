"""Counters and histograms in slots of our own, rendered as Prometheus text when scraped.

An `observe()` of the usual client costs 1.5 µs and several are needed for each request; a list slot costs 0.06. Labels
are model,
provider, team and outcome: never a key, a user or an address.
"""

import logging
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from billing.books import AttemptRow, RequestRow

SERIES_MAX: Final = 20_000
# Seconds; from a cache hit to a long generation.
BUCKETS: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
_BUCKETS_US: Final = tuple(int(bucket * 1_000_000) for bucket in BUCKETS)
OTHER: Final = "_other"

log = logging.getLogger("turnpike")


class _RequestSeries:
    """One combination of model, provider, team, status class and cache."""

    __slots__ = ("content", "content_us", "cost_nano_usd", "count", "duration", "duration_us")

    def __init__(self) -> None:
        self.count = 0
        self.cost_nano_usd = 0
        self.duration = [0] * (len(BUCKETS) + 1)
        self.duration_us = 0
        self.content = [0] * (len(BUCKETS) + 1)
        self.content_us = 0


class _AttemptSeries:
    """One combination of model, provider and outcome."""

    __slots__ = ("cached", "count", "input", "output", "reasoning")

    def __init__(self) -> None:
        self.count = self.input = self.cached = self.output = self.reasoning = 0


class Metrics:
    """All numbers of this process."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str | None, str | None, str | None, int, str], _RequestSeries] = {}
        self._attempts: dict[tuple[str, str, str], _AttemptSeries] = {}
        self._gauges: list[tuple[str, str, Callable[[], float], bool]] = []
        self._gathered: dict[str, tuple[str, float, bool]] = {}
        self._build = ""
        self.surprises = 0

    def build(self, version: str, *, compiled: bool) -> None:
        """Which build this is."""
        self._build = _labels(version=version, compiled=str(compiled).lower())

    def gauge(self, name: str, text: str, read: Callable[[], float], *, worst: bool = False) -> None:
        """A number that is read when scraped; one whose name ends in `_total` only grows.

        Over several workers it is their sum, or the largest of them where that says more (`worst`).
        """
        self._gauges.append((name, text, read, worst))

    def snapshot(self) -> dict[str, Any]:
        """All of it, as plain values that travel."""
        return {
            "build": self._build,
            "surprises": self.surprises,
            "requests": [
                (key, (each.count, each.cost_nano_usd, each.duration_us, each.content_us, each.duration, each.content))
                for key, each in self._requests.items()
            ],
            "attempts": [
                (key, (each.count, each.input, each.cached, each.output, each.reasoning))
                for key, each in self._attempts.items()
            ],
            "gauges": [
                *((name, text, float(read()), worst) for name, text, read, worst in self._gauges),
                *((name, *gathered) for name, gathered in self._gathered.items()),
            ],
        }

    def absorb(self, other: Mapping[str, Any], *, live: bool = True) -> None:
        """Adds what a worker has counted; of one that is no longer `live`, what only grows."""
        self._build = other["build"] or self._build
        self.surprises += other["surprises"]
        for key, figures in other["requests"]:
            self._absorb_requests(tuple(key), figures)
        for key, figures in other["attempts"]:
            name_of: Any = tuple(key)
            attempts = self._attempts.setdefault(name_of, _AttemptSeries())
            attempts.count += figures[0]
            attempts.input += figures[1]
            attempts.cached += figures[2]
            attempts.output += figures[3]
            attempts.reasoning += figures[4]
        for name, text, value, worst in other["gauges"]:
            if live or name.endswith("_total"):
                known = self._gathered.get(name)
                both = value if known is None else max(known[1], value) if worst else known[1] + value
                self._gathered[name] = (text, both, worst)

    def _absorb_requests(self, key: Any, figures: Any) -> None:
        series = self._requests.setdefault(key, _RequestSeries())
        series.count += figures[0]
        series.cost_nano_usd += figures[1]
        series.duration_us += figures[2]
        series.content_us += figures[3]
        series.duration = [mine + theirs for mine, theirs in zip(series.duration, figures[4], strict=True)]
        series.content = [mine + theirs for mine, theirs in zip(series.content, figures[5], strict=True)]

    def request(self, row: RequestRow) -> None:
        """One request has ended."""
        key = (row.model, row.provider, row.team_id, row.status, row.cache)
        series = self._requests.get(key)
        if series is None:
            if len(self._requests) >= SERIES_MAX:
                key = (OTHER, OTHER, OTHER, row.status, row.cache)
            series = self._requests.setdefault(key, _RequestSeries())
        series.count += 1
        series.cost_nano_usd += row.cost_nano_usd
        series.duration_us += row.duration_us
        series.duration[bisect_left(_BUCKETS_US, row.duration_us)] += 1
        if row.first_content_us is not None:
            series.content_us += row.first_content_us
            series.content[bisect_left(_BUCKETS_US, row.first_content_us)] += 1

    def attempt(self, row: AttemptRow) -> None:
        """One attempt has ended."""
        key = (row.model, row.provider, row.outcome)
        series = self._attempts.get(key)
        if series is None:
            if len(self._attempts) >= SERIES_MAX:
                key = (OTHER, OTHER, row.outcome)
            series = self._attempts.setdefault(key, _AttemptSeries())
        usage = row.usage
        series.count += 1
        series.input += usage.input_tokens
        series.cached += usage.cached_input_tokens
        series.output += usage.output_tokens
        series.reasoning += usage.reasoning_tokens

    def surprise(self, request_id: str, error: BaseException) -> None:
        """Something nobody foresaw: counted, and told to the log with its traceback, never to the client."""
        self.surprises += 1
        log.error("request %s failed unexpectedly", request_id, exc_info=error)

    def render(self) -> bytes:
        """Prometheus text format 0.0.4."""
        lines: list[str] = []
        self._render_requests(lines)
        self._render_attempts(lines)
        _family(lines, "turnpike_internal_errors_total", "counter", "Requests that failed in a way nobody foresaw.")
        lines.append(f"turnpike_internal_errors_total {self.surprises}")
        _family(lines, "turnpike_build_info", "gauge", "Always 1; the labels say which build this is.")
        lines.append(f"turnpike_build_info{{{self._build}}} 1")
        read_now = [(name, text, read()) for name, text, read, _ in self._gauges]
        read_now += [(name, text, value) for name, (text, value, _) in self._gathered.items()]
        for name, text, value in read_now:
            _family(lines, name, "counter" if name.endswith("_total") else "gauge", text)
            lines.append(f"{name} {value:g}")
        return ("\n".join(lines) + "\n").encode()

    def _render_requests(self, lines: list[str]) -> None:
        rows = [
            (_labels(model=model, provider=provider, team=team, status=str(status), cache=cache), series)
            for (model, provider, team, status, cache), series in sorted(self._requests.items(), key=_sortable)
        ]
        _family(lines, "turnpike_requests_total", "counter", "Requests answered, refusals included.")
        lines += [f"turnpike_requests_total{{{labels}}} {series.count}" for labels, series in rows]
        _family(lines, "turnpike_cost_usd_total", "counter", "What the attempts of these requests cost.")
        lines += [f"turnpike_cost_usd_total{{{labels}}} {_usd(series.cost_nano_usd)}" for labels, series in rows]
        _family(
            lines, "turnpike_request_duration_seconds", "histogram", "From the request's last byte to the answer's."
        )
        for labels, series in rows:
            _histogram(lines, "turnpike_request_duration_seconds", labels, series.duration, series.duration_us)
        _family(lines, "turnpike_time_to_first_content_seconds", "histogram", "Until the first content of a stream.")
        for labels, series in rows:
            if any(series.content):
                _histogram(lines, "turnpike_time_to_first_content_seconds", labels, series.content, series.content_us)

    def _render_attempts(self, lines: list[str]) -> None:
        rows = sorted(self._attempts.items())
        _family(lines, "turnpike_attempts_total", "counter", "Calls made to providers.")
        for (model, provider, outcome), series in rows:
            lines.append(
                f"turnpike_attempts_total{{{_labels(model=model, provider=provider, outcome=outcome)}}} {series.count}"
            )
        _family(
            lines,
            "turnpike_tokens_total",
            "counter",
            "Tokens as providers counted them; cached and reasoning are parts.",
        )
        for (model, provider, outcome), series in rows:
            for kind in ("input", "cached", "output", "reasoning"):
                labels = _labels(model=model, provider=provider, outcome=outcome, type=kind)
                lines.append(f"turnpike_tokens_total{{{labels}}} {getattr(series, kind)}")


def _sortable(item: tuple[tuple[object, ...], object]) -> tuple[str, ...]:
    return tuple(str(part) for part in item[0])


def _family(lines: list[str], name: str, kind: str, text: str) -> None:
    lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _labels(**labels: str | None) -> str:
    return ",".join(f'{name}="{_escaped(value or "")}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _usd(nano_usd: int) -> str:
    return f"{nano_usd // 1_000_000_000}.{nano_usd % 1_000_000_000:09d}"


def _histogram(lines: list[str], name: str, labels: str, counts: Iterable[int], sum_us: int) -> None:
    total = 0
    bounds = [f"{bucket:g}" for bucket in BUCKETS] + ["+Inf"]
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
    lines.append(f"{name}_sum{{{labels}}} {sum_us / 1_000_000:.6f}")
    lines.append(f"{name}_count{{{labels}}} {total}")


def resident_bytes() -> float:
    """Resident memory of this process (Linux; 0 elsewhere)."""
    if sys.platform != "linux":
        return 0.0
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123  # read at each scrape
        return float(int(statm.read().split()[1]) * 4096)
