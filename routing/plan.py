"""In which order are a request's targets tried, and why each? Pure: health, time and the draw are the caller's.

Every target of the pool and of its fallbacks stands in a plan exactly once, those that rest at its end: a plan is
never empty, for a target that may refuse is better than no answer. A `Planner` holds what a configuration fixes.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from math import factorial, prod
from typing import Final

from routing.deployments import Deployment, Pool
from routing.health import US_PER_S, Health

# So many orders are laid out beforehand; a bigger pool draws its own each time.
ORDERS_READY_MAX: Final = 24


@dataclass(frozen=True, slots=True)
class Choice:
    """One step of a plan: whom to ask, by which route, and the sentence that the trace will show."""

    deployment: Deployment
    route: str
    why: str


@dataclass(frozen=True, slots=True)
class _Seat:
    """A deployment in its lane, with what would be said of it in each place."""

    deployment: Deployment
    first: Choice
    later: Choice


@dataclass(frozen=True, slots=True)
class _Lane:
    """The seats of the pool itself, or those that one fallback adds to it."""

    seats: tuple[_Seat, ...]
    route: str
    label: str


class Planner:
    """The plan of one pool and its fallbacks, with all that is known beforehand worked out once."""

    __slots__ = ("_edges", "_ids", "_lanes", "_ready")

    def __init__(self, pool: Pool, fallbacks: tuple[Pool, ...] = ()) -> None:
        self._lanes = _lanes(pool, fallbacks)
        self._ids = tuple(seat.deployment.id for lane in self._lanes for seat in lane.seats)
        self._edges: list[float] = []
        self._ready: list[tuple[Choice, ...]] = []
        if prod(factorial(len(lane.seats)) for lane in self._lanes) <= ORDERS_READY_MAX:
            self._lay_out()

    def _lay_out(self) -> None:
        orders = [(share, order) for share, order in _orders(self._lanes) if share > 0]
        below = 0.0
        for share, order in orders:
            below += share
            self._edges.append(below)
            self._ready.append(order)
        # The last edge is 1 but for rounding: without it every draw finds an order.
        self._edges.pop()

    def plan(self, health: Health, now_at_us: int, draw: float) -> tuple[Choice, ...]:
        """The order for this request; `draw` is uniform in [0, 1)."""
        if self._ready and not health.any_cooling(self._ids, now_at_us):
            return self._ready[bisect_right(self._edges, draw)]
        return self._weigh(health, now_at_us, draw)

    def _weigh(self, health: Health, now_at_us: int, draw: float) -> tuple[Choice, ...]:
        well: list[Choice] = []
        cooling: list[tuple[int, Choice]] = []
        for number, lane in enumerate(self._lanes):
            awake: list[_Seat] = []
            for seat in lane.seats:
                until_at_us = health.cooling_until(seat.deployment.id)
                if until_at_us > now_at_us:
                    cooling.append((until_at_us, _resting(seat, lane, until_at_us - now_at_us)))
                else:
                    awake.append(seat)
            order, draw = _drawn(awake, draw)
            well += [seat.first if number == 0 and not place else seat.later for place, seat in enumerate(order)]
        # A stable sort: of two that wake together the pool's own comes before the fallback's.
        cooling.sort(key=_wakes_at_us)
        return (*well, *(choice for _, choice in cooling))


def plan(pool: Pool, fallbacks: tuple[Pool, ...], health: Health, now_at_us: int, draw: float) -> tuple[Choice, ...]:
    """The same for a pool that is met once; a `Planner` that is kept answers from what it prepared."""
    return Planner(pool, fallbacks).plan(health, now_at_us, draw)


def after_failure(choice: Choice, failed: Deployment, said: str) -> str:
    """Why this choice was really taken, once the one before has failed; `said` is like "answered 503"."""
    return f"{choice.route}: {failed.id} {said}; {choice.why}"


def _lanes(pool: Pool, fallbacks: tuple[Pool, ...]) -> tuple[_Lane, ...]:
    seen: set[tuple[str, str]] = set()
    lanes = [_lane(_unseen(pool, seen), pool.route, f"of {pool.name}", first=True)]
    for fallback in fallbacks:
        label = f"of the fallback {fallback.name} for {pool.name}"
        lanes.append(_lane(_unseen(fallback, seen), "fallback", label, first=False))
    return tuple(lane for lane in lanes if lane.seats)


def _unseen(pool: Pool, seen: set[tuple[str, str]]) -> tuple[Deployment, ...]:
    fresh = []
    for deployment in pool.deployments:
        if deployment.target not in seen:
            seen.add(deployment.target)
            fresh.append(deployment)
    return tuple(fresh)


def _lane(deployments: tuple[Deployment, ...], route: str, label: str, *, first: bool) -> _Lane:
    total = sum(deployment.weight for deployment in deployments)
    seats = []
    for deployment in deployments:
        if route == "pinned":
            drawn = "the request names it"
        elif len(deployments) == 1:
            drawn = f"the only deployment {label}"
        else:
            drawn = f"drawn by weight {deployment.weight} of {total} {label}"
        later = f"next {label}, by weight {deployment.weight} of {total}" if first else f"next {label}"
        seats.append(_Seat(deployment, Choice(deployment, route, drawn), Choice(deployment, route, later)))
    return _Lane(tuple(seats), route, label)


def _resting(seat: _Seat, lane: _Lane, rest_us: int) -> Choice:
    why = f"last resort {lane.label}: it cools for {rest_us / US_PER_S:.1f} s more"
    return Choice(seat.deployment, lane.route, why)


def _wakes_at_us(entry: tuple[int, Choice]) -> int:
    return entry[0]


def _shares(seats: list[_Seat]) -> list[float]:
    """The chance of each to be drawn next; standbys share evenly once nothing heavier is left."""
    total = sum(seat.deployment.weight for seat in seats)
    if not total:
        return [1 / len(seats)] * len(seats)
    return [seat.deployment.weight / total for seat in seats]


def _drawn(seats: list[_Seat], draw: float) -> tuple[list[_Seat], float]:
    """Draw without putting back. What is left of a draw inside its share is uniform again, so one number is enough."""
    left = list(seats)
    order = []
    while len(left) > 1:
        shares = _shares(left)
        below = start = 0.0
        taken = 0
        for place, share in enumerate(shares):
            # Rounding may leave a draw above the sum: the last that has a share takes it, never a standby.
            if share:
                taken, start = place, below
                below += share
                if draw < below:
                    break
        draw = (draw - start) / shares[taken]
        order.append(left.pop(taken))
    return order + left, draw


def _orders(lanes: tuple[_Lane, ...]) -> Iterator[tuple[float, tuple[Choice, ...]]]:
    """Every order with its chance, in the order in which one rising draw meets them."""
    if not lanes:
        yield 1.0, ()
        return
    *before, last = lanes
    for share, head in _orders(tuple(before)):
        for own_share, order in _permutations(list(last.seats)):
            tail = tuple(seat.first if not before and not place else seat.later for place, seat in enumerate(order))
            yield share * own_share, head + tail


def _permutations(seats: list[_Seat]) -> Iterator[tuple[float, list[_Seat]]]:
    if len(seats) <= 1:
        yield 1.0, seats
        return
    for place, share in enumerate(_shares(seats)):
        for own_share, order in _permutations(seats[:place] + seats[place + 1 :]):
            yield share * own_share, [seats[place], *order]
