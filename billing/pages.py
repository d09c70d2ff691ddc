"""A page of a list: its rows, whether more follow, and what to ask for them by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class Page(Generic[Shown]):
    data: tuple[Shown, ...]
    has_more: bool
    next: str | None


def paged(found: Sequence[Shown], limit: int, name: Callable[[Shown], str]) -> Page[Shown]:
    """Of `limit` + 1 rows that were asked for, the page, named by its last row."""
    data, more = tuple(found[:limit]), len(found) > limit
    return Page(data, more, name(data[-1]) if more else None)
