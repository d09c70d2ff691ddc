"""May a hold be taken, and how much of it? Pure: the caller brings the accounts as they stand in the database.

Of what is left on an account with k holds pending, one hold takes at most 1 / (2 (k + 1)), so that a huge request does
not shut everybody else out, and never less than the least that is of use to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True)
class Room:
    """An account while a worker stands before it: `free_nano_usd` is what nobody else holds, its own slice included."""

    limit_nano_usd: int
    posted_nano_usd: int
    free_nano_usd: int
    holds: int
    contended: bool
    others: bool  # somebody else has a lease on it that is not all held
    leased: bool = False  # somebody else has a lease on it, of whatever use


class Wish(NamedTuple):
    """A hold wanted: `most` if there is room, and no use below `least`."""

    most_nano_usd: int
    least_nano_usd: int


class Short(NamedTuple):
    """Which of the rooms did not suffice. `spent`: by what is posted alone; else by what is pending."""

    place: int
    spent: bool


def admit(rooms: Sequence[Room], wish: Wish) -> int | Short:
    """Takes the hold from every room at once, or from none. Answers its amount."""
    amount, least = wish
    for place, room in enumerate(rooms):
        if least > room.free_nano_usd:
            return Short(place, spent=room.posted_nano_usd + least > room.limit_nano_usd)
        amount = min(amount, max(least, share(room.free_nano_usd, room.holds)))
    for room in rooms:
        room.free_nano_usd -= amount
        room.holds += 1
    return amount


def share(left_nano_usd: int, holds: int) -> int:
    """What one more hold may take of what is left."""
    return left_nano_usd // (2 * (holds + 1))


def slice_of(room: Room, workers: int) -> int:
    """What a worker takes along beyond its holds, so that it need not come back for each."""
    if room.contended or room.free_nano_usd <= 0:
        return 0
    return room.free_nano_usd // (2 * workers)
