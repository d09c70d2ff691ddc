"""Which price is in force: of a model at a provider, for a team, at an instant. Pure; an answer says how long it holds.

A team's own row goes before everybody's, a row of the list before the configuration, that before the shipped table.
Among rows the newest that is in force counts.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from billing.price import Price
from billing.price_rows import ListedPrice
from billing.price_table import PriceTable, names_of

# Beyond what a 64-bit instant can be: "always was" and "until further notice".
ALWAYS_US: Final = -(2**63)
NEVER_US: Final = 2**63 - 1


class Quote(NamedTuple):
    """The price from `valid_from_us` on and up to, but not at, `valid_until_us`. None: the list has none."""

    valid_from_us: int
    valid_until_us: int
    price: Price | None


class Schedule:
    """The listed prices of one model at one provider. What it answers it keeps, a quote a team that has rows of its
    own: between two changes a question is two look-ups and two comparisons.
    """

    __slots__ = ("_kept", "_rows")

    def __init__(self, rows: Iterable[ListedPrice]) -> None:
        teams: dict[str | None, dict[int, Price]] = {}
        # Of two rows for the same instant the one given last counts: a correction.
        for row in sorted(rows, key=lambda row: (row.created_at_us, row.id)):
            teams.setdefault(row.team_id, {})[row.effective_at_us] = row.price()
        self._rows = {team: tuple(sorted(starts.items(), key=lambda start: start[0])) for team, starts in teams.items()}
        self._kept: dict[str | None, Quote] = {}

    def price(self, team_id: str | None, at_us: int) -> Price | None:
        """HOT. None: no row is in force at that time."""
        if team_id not in self._rows:
            team_id = None
        kept = self._kept.get(team_id)
        if kept is not None and kept[0] <= at_us < kept[1]:
            return kept[2]
        quote = self._kept[team_id] = self.quote(team_id, at_us)
        return quote[2]

    def quote(self, team_id: str | None, at_us: int) -> Quote:
        """The price, and between which instants no other can be."""
        until_us = NEVER_US
        for team in (team_id, None) if team_id is not None else (None,):
            rows = self._rows.get(team, ())
            place = bisect_right(rows, at_us, key=lambda row: row[0])
            if place < len(rows):
                until_us = min(until_us, rows[place][0])
            if place:
                return Quote(rows[place - 1][0], until_us, rows[place - 1][1])
        return Quote(ALWAYS_US, until_us, None)


class PriceBook:
    """Every price there is, in the order in which one goes before another."""

    def __init__(
        self,
        table: PriceTable,
        rows: Iterable[ListedPrice] = (),
        configured: Mapping[tuple[str, str], Price] = MappingProxyType({}),
    ) -> None:
        """`configured` by provider and model: what the deployments of a configuration state."""
        self._table = table
        self._configured = configured
        found: dict[tuple[str, str], list[ListedPrice]] = {}
        for row in rows:
            if row.deleted_at_us is None:
                found.setdefault((row.provider, row.model), []).append(row)
        self._schedules = {name: Schedule(rows) for name, rows in found.items()}

    def schedule(self, provider: str, model: str) -> Schedule | None:
        """The listed prices that concern a model: its own, else, where the shipped table has no row of its own for it
        either, its family's.
        """
        for name in names_of(model) if self._schedules else ():
            found = self._schedules.get((provider, name))
            if found is not None:
                return found
            if self._table.lists(provider, name):
                return None
        return None

    def find(self, provider: str, model: str, team_id: str | None, at_us: int) -> Price | None:
        """None: nobody knows what it costs."""
        schedule = self.schedule(provider, model)
        price = None if schedule is None else schedule.price(team_id, at_us)
        if price is None:
            price = self._configured.get((provider, model))
        if price is None:
            listing = self._table.find(provider, model)
            price = None if listing is None else listing.price
        return price
