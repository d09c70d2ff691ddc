"""Spend so far as opening balances. Pure: whole nano-dollars in and out.

What a key has spent its team, user and organization have spent too, so it is charged once, to all of them, as far as
LiteLLM counts it in the present periods of those with a budget; what they have beyond their keys' is charged to them
alone. Whoever has a budget ends with exactly what LiteLLM says, everybody else with at least that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet


class Charge(NamedTuple):
    key_id: str | None = None
    team_id: str | None = None
    user_id: str | None = None
    organization_id: str | None = None
    end_user: str | None = None
    tag: tuple[str, str] | None = None


class Opening(NamedTuple):
    charge: Charge
    amount_nano_usd: int


class KeySpend(NamedTuple):
    key_id: str
    team_id: str | None
    user_id: str | None
    organization_id: str | None
    spent_nano_usd: int


class MemberSpend(NamedTuple):
    team_id: str
    user_id: str
    spent_nano_usd: int
    has_budget: bool  # else nobody counts it, and it only says whose a team's spend was


Scope = tuple[str, str]
"""`team`, `user` or `organization`, and which."""


@dataclass(slots=True)
class Spends:
    keys: Sequence[KeySpend]
    members: Sequence[MemberSpend]
    scopes: Mapping[Scope, int]
    # Which of them have a budget: what they are charged must be what they have spent, no more.
    bound: AbstractSet[Scope]
    team_organizations: Mapping[str, str]
    # Of end users and tags, who have no key that could be told: each for itself.
    apart: Sequence[Opening] = ()


def beyond(spends: Spends, posted: Iterable[Opening]) -> Spends:
    """What there is to charge after what was charged before: nothing twice, however it was shared out then."""
    keys: Counter[str] = Counter()
    scopes: Counter[Scope] = Counter()
    seats: Counter[tuple[str, str]] = Counter()
    apart: Counter[Charge] = Counter()
    for charge, amount in posted:
        keys[charge.key_id or ""] += amount
        seats[_seat(charge)] += amount
        apart[charge] += amount
        for scope in _scopes(charge):
            scopes[scope] += amount
    return replace(
        spends,
        keys=[key._replace(spent_nano_usd=max(0, key.spent_nano_usd - keys[key.key_id])) for key in spends.keys],
        members=[
            one._replace(spent_nano_usd=max(0, one.spent_nano_usd - seats[one.team_id, one.user_id]))
            for one in spends.members
        ],
        scopes={scope: max(0, amount - scopes[scope]) for scope, amount in spends.scopes.items()},
        apart=[one._replace(amount_nano_usd=max(0, one.amount_nano_usd - apart[one.charge])) for one in spends.apart],
    )


def openings(spends: Spends) -> tuple[tuple[Opening, ...], dict[tuple[str, str], int]]:
    """The charges, and of members with budgets what could not be charged without charging team or user too much."""
    rooms = _Rooms(spends)
    found = [*_of_keys(spends, rooms), *_of_members(spends, rooms), *_of_the_rest(spends, rooms)]
    short = {
        (one.team_id, one.user_id): left
        for one in spends.members
        if one.has_budget and (left := rooms.members[one.team_id, one.user_id]) > 0
    }
    found += [one for one in spends.apart if one.amount_nano_usd]
    return tuple(found), short


class _Rooms:
    """How much each scope still has to be charged."""

    def __init__(self, spends: Spends) -> None:
        self.scopes = dict(spends.scopes)
        self.members = {(one.team_id, one.user_id): one.spent_nano_usd for one in spends.members}
        self._bound = spends.bound
        self._bound_members = {(one.team_id, one.user_id) for one in spends.members if one.has_budget}

    def fitting(self, charge: Charge) -> Charge:
        """Without the scopes whose budgets have been charged all; a member is a team and a user at once."""
        full = {scope[0] for scope in _scopes(charge) if self.room_of(scope) == 0}
        charge = charge._replace(
            team_id=None if "team" in full else charge.team_id,
            user_id=None if "user" in full else charge.user_id,
            organization_id=None if "organization" in full else charge.organization_id,
        )
        seat = _seat(charge)
        if seat in self._bound_members and not self.members[seat]:
            charge = charge._replace(user_id=None)
        return charge

    def room(self, charge: Charge) -> int | None:
        """The least that any of its scopes still takes; None where none has a budget."""
        rooms = [room for scope in _scopes(charge) if (room := self.room_of(scope)) is not None]
        seat = _seat(charge)
        if seat in self._bound_members:
            rooms.append(self.members[seat])
        return min(rooms, default=None)

    def room_of(self, scope: Scope) -> int | None:
        return self.scopes.get(scope, 0) if scope in self._bound else None

    def take(self, charge: Charge, amount: int) -> None:
        """What nobody counts may be charged more than LiteLLM says of it: its keys have spent that."""
        for scope in _scopes(charge):
            self.scopes[scope] = max(0, self.scopes.get(scope, 0) - amount)
        seat = _seat(charge)
        if seat in self.members:
            self.members[seat] = max(0, self.members[seat] - amount)

    def charged(self, whole: Charge, amount: int) -> Iterator[Opening]:
        """All of the amount, to as many of the scopes as can take each part of it."""
        while amount > 0:
            charge = self.fitting(whole)
            room = self.room(charge)
            part = amount if room is None else min(amount, room)
            self.take(charge, part)
            yield Opening(charge, part)
            amount -= part


def _scopes(charge: Charge) -> Iterator[Scope]:
    for kind, one in (("team", charge.team_id), ("user", charge.user_id), ("organization", charge.organization_id)):
        if one is not None:
            yield kind, one


def _seat(charge: Charge) -> tuple[str, str]:
    return charge.team_id or "", charge.user_id or ""


def _of_keys(spends: Spends, rooms: _Rooms) -> Iterator[Opening]:
    for key in spends.keys:
        organization = key.organization_id or spends.team_organizations.get(key.team_id or "")
        yield from rooms.charged(Charge(key.key_id, key.team_id, key.user_id, organization), key.spent_nano_usd)


def _of_members(spends: Spends, rooms: _Rooms) -> Iterator[Opening]:
    """Through keys that are gone: as far as team and user have spent that much, or need not have."""
    for one in spends.members:
        scopes = (("team", one.team_id), ("user", one.user_id))
        left = [rooms.room_of(scope) if one.has_budget else rooms.scopes.get(scope, 0) for scope in scopes]
        amount = min([rooms.members[one.team_id, one.user_id], *(room for room in left if room is not None)])
        whole = Charge(None, one.team_id, one.user_id, spends.team_organizations.get(one.team_id))
        yield from rooms.charged(whole, amount)


def _of_the_rest(spends: Spends, rooms: _Rooms) -> Iterator[Opening]:
    for kind, one in spends.scopes:
        organization = spends.team_organizations.get(one) if kind == "team" else None
        whole = {"team": Charge(team_id=one, organization_id=organization), "user": Charge(user_id=one)}
        charge = whole.get(kind, Charge(organization_id=one))
        yield from rooms.charged(charge, rooms.scopes[kind, one])
