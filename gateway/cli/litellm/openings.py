"""Spend so far as opening balances. Pure: whole nano-dollars in and out.

What a key has spent its team, user and organization have spent too, so it is charged once, to all of them, as far as
LiteLLM counts it in their present periods; what they have beyond their keys' is charged to them alone. Each scope ends
with exactly what LiteLLM says it has spent, and the sum of all is not more than it must be for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


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


@dataclass(slots=True)
class Spends:
    keys: Sequence[KeySpend]
    members: Sequence[MemberSpend]
    teams: Mapping[str, int]
    users: Mapping[str, int]
    organizations: Mapping[str, int]
    team_organizations: Mapping[str, str]


def openings(spends: Spends) -> tuple[tuple[Opening, ...], dict[tuple[str, str], int]]:
    """The charges, and of members with budgets what could not be charged without charging their team too much."""
    rooms = _Rooms(spends)
    found = [*_of_keys(spends, rooms), *_of_members(spends, rooms), *_of_the_rest(spends, rooms)]
    short = {
        (one.team_id, one.user_id): left
        for one in spends.members
        if one.has_budget and (left := rooms.members[one.team_id, one.user_id]) > 0
    }
    return tuple(found), short


class _Rooms:
    """How much each scope still has to be charged."""

    def __init__(self, spends: Spends) -> None:
        self.teams = dict(spends.teams)
        self.users = dict(spends.users)
        self.organizations = dict(spends.organizations)
        self.members = {(one.team_id, one.user_id): one.spent_nano_usd for one in spends.members}
        self.bound = {(one.team_id, one.user_id) for one in spends.members if one.has_budget}

    def fitting(self, charge: Charge) -> Charge:
        """Without the scopes that have been charged all of theirs; a member is a team and a user at once."""
        team = charge.team_id if self.teams.get(charge.team_id or "", 0) else None
        user = charge.user_id if self.users.get(charge.user_id or "", 0) else None
        if team is not None and user is not None and (team, user) in self.bound and not self.members[team, user]:
            user = None
        organization = charge.organization_id if self.organizations.get(charge.organization_id or "", 0) else None
        return charge._replace(team_id=team, user_id=user, organization_id=organization)

    def room(self, charge: Charge) -> int | None:
        """The least that any of its scopes still takes; None where it has none."""
        found = []
        if charge.team_id is not None:
            found.append(self.teams[charge.team_id])
        if charge.user_id is not None:
            found.append(self.users[charge.user_id])
        if charge.organization_id is not None:
            found.append(self.organizations[charge.organization_id])
        if charge.team_id is not None and (member := (charge.team_id, charge.user_id or "")) in self.bound:
            found.append(self.members[member])
        return min(found) if found else None

    def take(self, charge: Charge, amount: int) -> None:
        if charge.team_id is not None:
            self.teams[charge.team_id] -= amount
        if charge.user_id is not None:
            self.users[charge.user_id] -= amount
        if charge.organization_id is not None:
            self.organizations[charge.organization_id] -= amount
        member = (charge.team_id or "", charge.user_id or "")
        if member in self.members:
            # One that nobody counts may have spent more through its keys than LiteLLM says of it.
            self.members[member] = max(0, self.members[member] - amount)

    def charged(self, whole: Charge, amount: int) -> Iterator[Opening]:
        """All of the amount, to as many of the scopes as can take each part of it."""
        while amount > 0:
            charge = self.fitting(whole)
            room = self.room(charge)
            part = amount if room is None else min(amount, room)
            self.take(charge, part)
            yield Opening(charge, part)
            amount -= part


def _of_keys(spends: Spends, rooms: _Rooms) -> Iterator[Opening]:
    for key in spends.keys:
        organization = key.organization_id or spends.team_organizations.get(key.team_id or "")
        yield from rooms.charged(Charge(key.key_id, key.team_id, key.user_id, organization), key.spent_nano_usd)


def _of_members(spends: Spends, rooms: _Rooms) -> Iterator[Opening]:
    """Through keys that are gone: as far as both the team and the user have spent that much."""
    for team_id, user_id, _, _ in spends.members:
        both = min(rooms.members[team_id, user_id], rooms.teams.get(team_id, 0), rooms.users.get(user_id, 0))
        while both > 0:
            charge = rooms.fitting(Charge(None, team_id, user_id, spends.team_organizations.get(team_id)))
            part = min(both, rooms.room(charge) or both)
            rooms.take(charge, part)
            yield Opening(charge, part)
            both -= part


def _of_the_rest(spends: Spends, rooms: _Rooms) -> Iterator[Opening]:
    for team_id in spends.teams:
        charge = Charge(team_id=team_id, organization_id=spends.team_organizations.get(team_id))
        yield from rooms.charged(charge, rooms.teams[team_id])
    for user_id in spends.users:
        yield from rooms.charged(Charge(user_id=user_id), rooms.users[user_id])
    for organization_id in spends.organizations:
        yield from rooms.charged(Charge(organization_id=organization_id), rooms.organizations[organization_id])
