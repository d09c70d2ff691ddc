"""Usage over time as OpenAI's organization API has it: spans of equal width, each with its sums by group. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from billing.store import UsageLine
from gateway.admin.usage_report import Group

SECOND_US: Final = 1_000_000
WIDTHS_S: Final[Mapping[str, int]] = {"1m": 60, "1h": 3600, "1d": 86400}

Lines = Mapping[Group, UsageLine]
Sums = Callable[[int, int], Lines]
"""What was used from one second to before another."""


class Bucket(NamedTuple):
    start_s: int
    end_s: int
    lines: Lines


def edges(start_s: int, end_s: int, width_s: int, buckets_max: int) -> tuple[list[int], int | None]:
    """Where buckets begin and end, and where the next page begins. The first and the last may be cut."""
    found = [start_s]
    while found[-1] < end_s and len(found) <= buckets_max:
        following = found[-1] - found[-1] % width_s + width_s
        found.append(min(following, end_s))
    return found, found[-1] if found[-1] < end_s else None


def buckets(places: Sequence[int], sums: Sums) -> list[Bucket]:
    """A span in which nothing was used is asked about once, however many buckets it has."""
    if len(places) < 2:
        return []
    lines = sums(places[0], places[-1])
    if not lines or len(places) == 2:
        return [Bucket(start_s, end_s, lines) for start_s, end_s in pairwise(places)]
    middle = len(places) // 2
    return [*buckets(places[: middle + 1], sums), *buckets(places[middle:], sums)]


def regrouped(
    lines: Lines, columns: Sequence[str], kept: Sequence[str], wanted: Mapping[str, frozenset[str]]
) -> dict[Group, UsageLine]:
    """The lines whose columns have a wanted value, summed by those columns that are to be kept."""
    found: dict[Group, UsageLine] = {}
    for group, line in lines.items():
        cells = dict(zip(columns, group, strict=True))
        if all(cells[name] in values for name, values in wanted.items()):
            place = tuple(cells[name] for name in kept)
            before = found.get(place, UsageLine())
            found[place] = UsageLine(*map(sum, zip(before, line, strict=True)))
    return found


def in_order(lines: Lines) -> Iterable[tuple[Group, UsageLine]]:
    return sorted(lines.items(), key=lambda one: tuple(cell or "" for cell in one[0]))
