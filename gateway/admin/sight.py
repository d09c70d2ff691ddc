"""What a caller may see and change at a route: decided for one thing at a time, from facts gathered once. Pure."""

from dataclasses import dataclass
from typing import Final

from billing.roles import Role
from gateway.admin.rules import BUDGETS_BELOW, Reach

# Whose keys and rows each role may make, change or hold in hand: never of one that may more than itself.
_ACTS_FOR: Final = {
    Role.OWNER: frozenset(Role),
    Role.ADMIN: frozenset(Role) - {Role.OWNER},
    Role.TEAM_ADMIN: frozenset({Role.MEMBER, Role.VIEWER}),
}


@dataclass(frozen=True, slots=True)
class Sight:
    """`team_ids` are the caller's teams (under ORGANIZATION: the organization's), `user_ids` the people seen."""

    role: Role
    reach: Reach
    organization_id: str | None = None
    user_id: str | None = None
    team_ids: frozenset[str] = frozenset()
    user_ids: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Nothing is hidden: an owner, admin, biller or viewer who belongs to no organization."""
        return self.reach in (Reach.GATEWAY, Reach.ORGANIZATION) and self.organization_id is None

    @property
    def of_organization(self) -> bool:
        return self.reach is Reach.ORGANIZATION and self.organization_id is not None

    def organization(self, organization_id: str | None) -> bool:
        return self.whole or (organization_id is not None and organization_id == self.organization_id)

    def team(self, team_id: str | None) -> bool:
        return self.whole or team_id in self.team_ids

    def teams_of(self, team_id: str | None) -> bool:
        """May it be looked into as a team, with what belongs to all of its people?"""
        return self.whole or (self.reach is not Reach.OWN and team_id in self.team_ids)

    def user(self, user_id: str | None) -> bool:
        return self.whole or user_id == self.user_id or user_id in self.user_ids

    def key(self, team_id: str | None, user_id: str | None, organization_id: str | None) -> bool:
        """Of whom is the key? Its team comes first; one without is its user's, or else its organization's."""
        if self.whole or (user_id is not None and user_id == self.user_id):
            return True
        if team_id is not None:
            return self.teams_of(team_id)
        if not self.of_organization:
            return False
        return organization_id == self.organization_id or user_id in self.user_ids

    def budget(self, scope_type: str, scope_id: str, team_id: str | None) -> bool:
        """All but a key's, whose key has to be looked up. What is for everybody's subjects is nobody's in between."""
        if self.whole:
            return True
        if scope_type == "organization":
            return self.of_organization and scope_id == self.organization_id
        if scope_type == "team":
            return self.teams_of(scope_id)
        if scope_type == "user":
            return scope_id == self.user_id or (self.of_organization and scope_id in self.user_ids)
        if scope_type == "member" and self.reach is Reach.OWN:
            return scope_id == self.user_id
        if scope_type in ("member", "model"):
            return team_id is not None and self.teams_of(team_id)
        return False

    def above(self, scope_type: str) -> bool:
        """Of a budget that is seen: does the caller stand above what it binds, and may set it?"""
        return self.whole or scope_type in BUDGETS_BELOW[self.reach]

    def may_act_for(self, role: Role) -> bool:
        return role in _ACTS_FOR.get(self.role, frozenset())


# Before anybody was asked: of nothing.
BLIND: Final = Sight(Role.VIEWER, Reach.OWN, "")
