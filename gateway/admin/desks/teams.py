"""Teams: what keys and spend belong to, and who is a member."""

from typing import Any, Final

from billing.members import Member
from billing.store import Team
from gateway.admin import shown
from gateway.admin import tenancy_shapes as shapes
from gateway.admin.asked import TeamAsked, TeamChange
from gateway.admin.desks.counter import Counter, not_found, not_yours
from gateway.admin.desks.key_rules import rules_of, rules_shown
from gateway.admin.door import Caller
from gateway.admin.etag import version_seen
from gateway.admin.instant import instant_text
from gateway.admin.paging import seen
from gateway.admin.problem import Problem
from gateway.admin.rules import Reach


class TeamDesk:
    def __init__(self, counter: Counter) -> None:
        self._counter: Final = counter
        self._store: Final = counter.store

    def page(self, by: Caller, limit: int, after: str | None) -> shown.Teams:
        data, rest = seen(self._store.teams, lambda one: by.sight.team(one.id), lambda one: one.id, limit, after)
        return shown.Teams(data=[team_shown(one) for one in data], **rest._asdict())

    def get(self, by: Caller, team_id: str) -> shown.Team:
        found = self._store.team(team_id) if by.sight.team(team_id) else None
        if found is None:
            raise not_found("team", team_id, "/admin/v1/teams")
        return team_shown(found)

    def create(self, by: Caller, asked: TeamAsked, key: str | None) -> shown.Team:
        organization_id = self._organization(by, asked.organization_id)

        def make(by: Caller) -> shown.Team:
            team_id, now_us, rules = asked.id or self._counter.new_id("team"), self._counter.now(), rules_of(asked)
            made = self._store.create_team(team_id, asked.name, organization_id, by.actor, now_us, rules)
            self._counter.changed("tenancy")
            return team_shown(made)

        return self._counter.once(by, "teams", key, asked, make, shown.Team)

    def update(self, by: Caller, team_id: str, change: TeamChange, if_match: str | None) -> shown.Team:
        changes = change.model_dump(exclude_unset=True)
        with self._counter.lock:
            present = self.get(by, team_id)
            if "organization_id" in changes:
                changes["organization_id"] = self._organization(by, change.organization_id)
            version = version_seen(if_match, present)
            changed = self._store.update_team(team_id, changes, version, by.actor, self._counter.now())
        self._counter.changed("tenancy")
        return team_shown(changed)

    def delete(self, by: Caller, team_id: str, if_match: str | None) -> None:
        with self._counter.lock:
            version = version_seen(if_match, self.get(by, team_id))
            self._store.delete_team(team_id, version, by.actor, self._counter.now())
        self._counter.changed("tenancy")

    def members(self, by: Caller, team_id: str, limit: int, after: str | None) -> shapes.Members:
        """Of a team that one is merely in, oneself."""
        self.get(by, team_id)
        own = by.sight.reach is Reach.OWN
        found = [one for one in self._store.members.list(team_id=team_id) if not own or one.user_id == by.sight.user_id]
        found.sort(key=lambda one: (one.created_at_us, one.user_id))
        start = next((place + 1 for place, one in enumerate(found) if one.user_id == after), 0) if after else 0
        data = found[start : start + limit]
        more = start + limit < len(found)
        return shapes.Members(
            data=[self._member(one) for one in data], has_more=more, next=data[-1].user_id if more else None
        )

    def add_member(self, by: Caller, team_id: str, asked: shapes.MemberAsked, key: str | None) -> shapes.Member:
        team = self.get(by, team_id)

        def make(by: Caller) -> shapes.Member:
            self._demand_same_organization(by, team, asked.user_id)
            made = self._store.members.add(team_id, asked.user_id, by.actor, self._counter.now())
            self._counter.changed("tenancy")
            return self._member(made)

        return self._counter.once(by, "members", key, asked, make, shapes.Member, of=team_id)

    def remove_member(self, by: Caller, team_id: str, user_id: str) -> None:
        self.get(by, team_id)
        self._store.members.remove(team_id, user_id, by.actor, self._counter.now())
        self._counter.changed("tenancy")

    def _demand_same_organization(self, by: Caller, team: shown.Team, user_id: str) -> None:
        """Nobody is drawn into another organization's team, nor learns by trying whom there is elsewhere."""
        user = self._store.users.get(user_id)
        bound = by.sight.organization_id
        if user is None or (bound is not None and user.organization_id != bound):
            raise not_found("user", user_id, "/admin/v1/users")
        if None not in (user.organization_id, team.organization_id) and user.organization_id != team.organization_id:
            raise Problem("conflict", "The user belongs to another organization than the team.")

    def _organization(self, by: Caller, asked: str | None) -> str | None:
        """Whoever belongs to an organization makes teams of that one alone."""
        bound = by.sight.organization_id
        if bound is not None and asked not in (None, bound):
            raise not_yours("That organization is not yours")
        return asked if bound is None else bound

    def _member(self, one: Member) -> shapes.Member:
        user = self._store.users.get(one.user_id)
        told: dict[str, Any] = {} if user is None else {"name": user.name, "email": user.email, "role": user.role}
        return shapes.Member(
            team_id=one.team_id, user_id=one.user_id, created_at=instant_text(one.created_at_us), **told
        )


def team_shown(team: Team) -> shown.Team:
    return shown.Team(
        id=team.id,
        name=team.name,
        organization_id=team.organization_id,
        **rules_shown(team),
        created_at=instant_text(team.created_at_us),
        version=team.version,
    )
