"""What attempts would cost at the prices in force for their time as these are known now, beside what they were charged.

Reads alone: `billing.corrections` posts the differences, a reconciliation explains a bill by them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

from billing.holds import EntryKind
from billing.price import UNPRICED, Price, Usage, cost_nano_usd
from billing.queries import corrections as q

ATTEMPTS_IN_ONE: Final = 500  # looked at in one transaction
BY_HAND: Final = Price("by hand", 0, 0, 0, 0, 0, 0, 0)  # no price made this amount

_KIND, _AMOUNT, _USAGE, _AT = 4, 8, slice(10, 17), 18
_TEAM, _PROVIDER, _MODEL = 4, 7, 8

FindPrice = Callable[[str, str, str | None, int], Price | None]
"""A price by provider, model, team and instant, as `PriceBook.find` has it."""


class Priced(NamedTuple):
    """An attempt, what was posted for it, and what it would cost more at that price."""

    first: q.Posted
    entries: Sequence[q.Posted]
    price: Price
    more_nano_usd: int


def differences(tx: Connection, stretch: Sequence[tuple[int, str]], find: FindPrice) -> tuple[list[Priced], int]:
    """Of attempts as `q.priceable` names them, those that would cost another amount; and how many nobody has a price
    for. What was posted by hand stays beside it.
    """
    wanted = frozenset(entry_id for entry_id, _ in stretch)
    attempts: dict[tuple[str, int], list[q.Posted]] = {}
    for each in q.entries_of_attempts(tx, [request_id for _, request_id in stretch]):
        if each.row[_KIND] != EntryKind.SAVING:
            attempts.setdefault((each.row[2], each.row[3]), []).append(each)
    found, without = list[Priced](), 0
    for entries in attempts.values():
        first = next((each for each in entries if each.row[0] in wanted), None)
        if first is None:
            continue
        price = find(first.account[_PROVIDER], first.account[_MODEL], first.account[_TEAM], first.row[_AT])
        if price is None or price.version == UNPRICED.version:
            without += 1
            continue
        charged = sum(each.row[_AMOUNT] for each in entries if each.price_version != BY_HAND.version)
        more = cost_nano_usd(Usage(*first.row[_USAGE]), price) - charged
        if more:
            found.append(Priced(first, entries, price, more))
    return found, without


def would_change(
    engine: Engine, spans: Iterable[tuple[int, int]], provider: str, find: FindPrice
) -> dict[tuple[int, str], int]:
    """In nano-USD, by a span's begin and a model: what `turnpike prices reprice` of all attempts would post."""
    found: dict[tuple[int, str], int] = {}
    for span in spans:
        with engine.begin() as tx:
            ids = q.span_of_entries(tx, *span)
        while ids is not None:
            with engine.begin() as tx:
                stretch = q.priceable(tx, ids, span, (provider, None), None, ATTEMPTS_IN_ONE)
                if not stretch:
                    break
                for one in differences(tx, stretch, find)[0]:
                    place = span[0], one.first.account[_MODEL] or ""
                    found[place] = found.get(place, 0) + one.more_nano_usd
            ids = stretch[-1][0] + 1, ids[1]
    return found
