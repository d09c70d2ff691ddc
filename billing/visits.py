"""What goes between a worker's wallets and the database: what a visit brings along, and what it brings home."""

from typing import Final, NamedTuple

from billing.admission import Short
from billing.scopes import Account, Rule

CONTENDED_US: Final = 2_000_000  # after a recall: so long nobody keeps a slice of the account


class Call(NamedTuple):
    """One account's part of a visit to the database: what is brought along and what stands behind it."""

    rule: Rule
    account: Account
    id: int
    carried: int  # comes out of the slice, to be given away or taken home again
    kept: int  # stays in the slice meanwhile, so that nobody need wait for the visit's end
    forced: int  # taken whether there is room or not: holds that are older than the budget
    open: int
    holds: int
    slice: bool  # whether more is wanted than the wishes themselves


class Want(NamedTuple):
    """A wish on its way; `places` are its accounts' in the visit."""

    places: tuple[int, ...]
    most: int
    least: int


class Told(NamedTuple):
    """What is in flight on an account of which nothing is wanted."""

    id: int
    open: int
    holds: int


class Visit(NamedTuple):
    calls: tuple[Call, ...]
    wants: tuple[Want, ...]
    told: tuple[Told, ...]
    now_at_us: int


class Found(NamedTuple):
    """What a visit brought home, place by place."""

    ids: tuple[int, ...]
    limits: tuple[int, ...]
    posted: tuple[int, ...]
    free: tuple[int, ...]
    contended_until_us: tuple[int, ...]
    overdrawn: tuple[bool, ...]  # posted and pending exceed the limit
    others: tuple[bool, ...]  # somebody else has a slice, of which a recall may bring some back
    answers: tuple[int | Short, ...]
