"""Turns runs into tables: medians over rounds, ratios as the median of the rounds' own ratios to nginx."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.phases import Phase, Run

Measure = Callable[[Run], float]
# An added latency below this is noise; a ratio to it says nothing.
ADDED_US_MIN = 10.0


def median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.median(listed) if listed else None


def counted(runs: Iterable[Run]) -> list[Run]:
    """Without the warm-up round."""
    return [run for run in runs if run.round >= 0]


def by_round(runs: Iterable[Run], target: str) -> dict[int, Run]:
    return {run.round: run for run in counted(runs) if run.target == target}


def ratio(runs: Sequence[Run], target: str, measure: Measure, to: str = "nginx") -> float | None:
    mine, theirs = by_round(runs, target), by_round(runs, to)
    return median(measure(mine[n]) / measure(theirs[n]) for n in mine if n in theirs and measure(theirs[n]))


def added_us(runs: Sequence[Run], target: str, series: str, share: str) -> float | None:
    """Latency above that of no gateway in the same round."""
    mine, none = by_round(runs, target), by_round(runs, "direct")
    return median(mine[n].load[series][share] - none[n].load[series][share] for n in mine if n in none)


def number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def times(value: float | None) -> str:
    """A ratio with three figures that count, however small."""
    if value is None:
        return "–"
    return f"{value:.3g}" if value < 1 else f"{value:,.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown that reads well unrendered, too: the first column to the left, figures to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

    def shown(line: Sequence[str]) -> str:
        figures = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        return f"| {' | '.join([line[0].ljust(widths[0]), *figures])} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([shown(lines[0]), f"|{rule}|", *map(shown, lines[1:])])


def names(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.target for run in runs))


def _throughput(runs: Sequence[Run]) -> str:
    rows = []
    for name in names(runs):
        mine = list(by_round(runs, name).values())
        speeds = [run.per_s for run in mine]
        cpu = median(run.cpu_us for run in mine)
        rows.append(
            [
                name,
                number(median(speeds), 0 if max(speeds) >= 100 else 1),
                f"{min(speeds):,.0f}–{max(speeds):,.0f}",
                times(ratio(runs, name, lambda run: run.per_s)),
                number(cpu or None, 1),
                times(ratio(runs, name, lambda run: run.cpu_us)) if cpu else "–",
                number(median(run.load["latency_us"]["p50"] / 1e3 for run in mine), 2),
                number(median(run.load["latency_us"]["p99"] / 1e3 for run in mine), 2),
            ]
        )
    return table(["", "per s", "range", "× nginx", "CPU µs", "CPU × nginx", "p50 ms", "p99 ms"], rows)


def _latency(runs: Sequence[Run], phase: Phase) -> str:
    parts = (("first_chunk_us", "first chunk"), ("chunk_us", "chunk")) if phase.stream else (("latency_us", ""),)
    head, rows = ["", "answered per s"], []
    for _, label in parts:
        for share in ("p50", "p99"):
            head += [f"{label} added {share} ms".strip(), "× nginx"]
    for name in names(runs):
        if name == "direct":
            continue
        mine = list(by_round(runs, name).values())
        row = [
            f"{name} (overloaded)" if any(run.overloaded for run in mine) else name,
            number(median(run.per_s for run in mine), 1),
        ]
        for series, _ in parts:
            for share in ("p50", "p99"):
                mine_us, nginx_us = added_us(runs, name, series, share), added_us(runs, "nginx", series, share)
                row.append(number(mine_us / 1e3 if mine_us is not None else None, 2))
                comparable = mine_us is not None and nginx_us is not None and nginx_us >= ADDED_US_MIN
                row.append(times(mine_us / nginx_us) if comparable and mine_us is not None and nginx_us else "–")
        rows.append([*row, number(median(run.cpu_us for run in mine), 0)])
    return table([*head, "CPU µs"], rows)


def section(phase: Phase, runs: Sequence[Run]) -> str:
    foreign = max((run.foreign_cores for run in counted(runs)), default=0.0)
    middle = median(run.foreign_cores for run in counted(runs))
    body = _latency(runs, phase) if phase.rate else _throughput(runs)
    return f"**{phase.title}** (others used {number(middle, 2)} cores, at most {foreign:.2f})\n\n{body}\n"


def growth(phases: dict[str, Sequence[Run]]) -> str:
    """Does the cost of a request grow linearly with its body? CPU time per further KB, early and late."""
    if not {"requests", "body-20k", "body-200k"} <= phases.keys():
        return ""
    rows = []
    for name in names(phases["requests"]):
        one, twenty, many = (
            median(run.cpu_us for run in by_round(phases[phase], name).values()) or 0.0
            for phase in ("requests", "body-20k", "body-200k")
        )
        if not one:
            continue
        early, late = (twenty - one) / 19, (many - twenty) / 180
        figures = [number(cost, 1) for cost in (one, twenty, many)]
        figures += [number(early, 2), number(late, 2), times(late / early if early > 0 else None)]
        rows.append([name, *figures])
    head = ["", "CPU µs at 1 KB", "20 KB", "200 KB", "µs per KB, 1→20", "20→200", "late / early (1: linear)"]
    return f"**Cost by size of body**\n\n{table(head, rows)}\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """A bound the project has set itself, and what was measured."""

    what: str
    bound: float
    measured: float | None
    at_least: bool

    def row(self) -> list[str]:
        if self.measured is None:
            return [self.what, f"{self.bound:g}", "–", "not measured"]
        met = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return [
            self.what,
            f"{'≥' if self.at_least else '≤'} {self.bound:g}",
            f"{self.measured:.3f}",
            "yes" if met else "NO",
        ]


def bounds(phases: dict[str, Sequence[Run]], name: str = "turnpike") -> str:
    def added_ms(phase: str, series: str, share: str) -> float | None:
        value = added_us(phases.get(phase, ()), name, series, share)
        return None if value is None else value / 1e3

    def speed(phase: str) -> float | None:
        return ratio(phases.get(phase, ()), name, lambda run: run.per_s)

    asked = (
        Asked("requests a second, × nginx", 0.35, speed("requests"), at_least=True),
        Asked("streams a second, × nginx", 0.8, speed("streams"), at_least=True),
        Asked("added p50 at 200/s, ms", 0.5, added_ms("latency", "latency_us", "p50"), at_least=False),
        Asked("added p99 at 200/s, ms", 1.5, added_ms("latency", "latency_us", "p99"), at_least=False),
        Asked(
            "added time to first chunk p50, ms", 1.0, added_ms("first-chunk", "first_chunk_us", "p50"), at_least=False
        ),
    )
    return f"**What is asked of Turnpike**\n\n{table(['', 'asked', 'measured', 'met'], [a.row() for a in asked])}\n"
