"""Pages of what a caller may see, cut out of pages of everything. Pure but for the fetching."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol, TypeVar

ROWS_AT_ONCE: Final = 1000

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Paged(Protocol[T_co]):
    """A page as the store has it."""

    @property
    def data(self) -> tuple[T_co, ...]: ...
    @property
    def has_more(self) -> bool: ...
    @property
    def next(self) -> str | None: ...


class Seen(NamedTuple):
    """Whether anything to be shown is left, and where it begins."""

    has_more: bool
    next: str | None


def everything(fetch: Callable[[int, str | None], Paged[T]]) -> Iterator[T]:
    after: str | None = None
    while True:
        page = fetch(ROWS_AT_ONCE, after)
        yield from page.data
        if not page.has_more:
            return
        after = page.next


def seen(
    fetch: Callable[[int, str | None], Paged[T]],
    keep: Callable[[T], bool],
    name: Callable[[T], str],
    limit: int,
    after: str | None,
) -> tuple[list[T], Seen]:
    """The next `limit` of those to keep, however many others stand between them."""
    kept: list[T] = []
    while True:
        page = fetch(min(ROWS_AT_ONCE, 2 * limit), after)
        for one in page.data:
            if not keep(one):
                continue
            if len(kept) == limit:
                return kept, Seen(True, name(kept[-1]))
            kept.append(one)
        if not page.has_more:
            return kept, Seen(False, None)
        after = page.next
