"""Requests as the data plane would have booked them, through the real books."""

from billing.books import AttemptRow, Books, EntryKind, Hold, RequestRow
from billing.price import Price, Usage

PRICE = Price("openai/gpt-5-mini@2025-11-01", 250_000, 2_000_000, 25_000, 0, 2_000_000, 0, 0)
USAGE = Usage(input_tokens=100, cached_input_tokens=40, output_tokens=50, reasoning_tokens=10)
COST_NANO_USD = 116_000


def hold(
    request_id: str,
    at_us: int,
    attempt: int = 1,
    *,
    key_id: str = "key_a",
    team_id: str | None = None,
    provider: str = "openai",
    model: str = "gpt-5-mini",
    tags: tuple[str, ...] = (),
) -> Hold:
    return Hold(
        request_id, attempt, at_us, key_id, team_id, None, None, provider, model, "chat", tags, PRICE, 5 * COST_NANO_USD
    )


def answered(books: Books, one: Hold) -> None:
    """One request, one attempt, answered and settled exactly."""
    books.reserve(one)
    books.dispatch(one)
    books.settle(one, USAGE, COST_NANO_USD, EntryKind.ACTUAL)
    books.request(row(one, (attempt_row(one),)))


def fell_back(books: Books, first: Hold, second: Hold) -> None:
    """The first attempt was sent and never heard of again, the second answered."""
    books.reserve(first)
    books.dispatch(first)
    books.settle(first, Usage(), 0, EntryKind.UNKNOWN)
    books.reserve(second)
    books.dispatch(second)
    books.settle(second, USAGE, COST_NANO_USD, EntryKind.ACTUAL)
    lost = AttemptRow(
        1,
        first.provider,
        first.model,
        "weight 1 of 4",
        None,
        "timed_out",
        "no byte for 2 s",
        first.opened_at_us,
        2_000_000,
        Usage(),
        first.amount_nano_usd,
    )
    books.request(row(second, (lost, attempt_row(second)), route="fallback", why="fallback: chat[1] timed out"))


def attempt_row(one: Hold) -> AttemptRow:
    return AttemptRow(
        one.attempt,
        one.provider,
        one.model,
        "weight 3 of 4",
        200,
        "answered",
        None,
        one.opened_at_us,
        812_345,
        USAGE,
        COST_NANO_USD,
    )


def row(one: Hold, attempts: tuple[AttemptRow, ...], *, route: str = "pool", why: str = "weight 3 of 4") -> RequestRow:
    return RequestRow(
        one.request_id,
        one.opened_at_us,
        one.key_id,
        one.team_id,
        one.user_id,
        "chat",
        one.model,
        one.provider,
        route,
        why,
        "miss",
        False,
        200,
        None,
        sum(attempt.duration_us for attempt in attempts),
        None,
        sum(attempt.cost_nano_usd for attempt in attempts),
        attempts,
        one.tags,
        None,
    )
