"""Which users belong to which teams."""

from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from billing import queries
from billing.audit import Actor
from billing.changes import TENANCY, Change
from billing.database import writing
from billing.queries import people as q
from billing.refusals import AlreadyExists, NotFound
from billing.users import demand_user


@dataclass(frozen=True, slots=True)
class Member:
    team_id: str
    user_id: str
    created_at_us: int


class Members:
    def __init__(self, engine: Engine) -> None:
        self._reading = engine
        self._writing = writing(engine)

    def list(self, team_id: str | None = None, user_id: str | None = None) -> tuple[Member, ...]:
        """Oldest first: a team's, a user's, or all."""
        with self._reading.begin() as tx:
            return tuple(Member(*row) for row in q.list_members(tx, team_id, user_id))

    def add(self, team_id: str, user_id: str, actor: Actor, now_at_us: int) -> Member:
        member = Member(team_id, user_id, now_at_us)
        try:
            with self._writing.begin() as tx:
                if queries.get_team(tx, team_id, locked=True) is None:
                    raise NotFound(f"no team {team_id!r}: list them to see which there are")
                demand_user(tx, user_id)
                q.insert_member(tx, team_id, user_id, now_at_us)
                self._change("add", member, actor, now_at_us).note(tx, None, _told(member), [TENANCY])
        except IntegrityError:
            raise AlreadyExists(f"user {user_id!r} is of team {team_id!r} already") from None
        return member

    def remove(self, team_id: str, user_id: str, actor: Actor, now_at_us: int) -> None:
        """Their keys of that team go on working: they are revoked or moved one by one."""
        member = Member(team_id, user_id, now_at_us)
        with self._writing.begin() as tx:
            if not q.delete_member(tx, team_id, user_id):
                raise NotFound(f"user {user_id!r} is not of team {team_id!r}: list its members to see who is")
            self._change("remove", member, actor, now_at_us).note(tx, _told(member), None, [TENANCY])

    @staticmethod
    def _change(what: str, member: Member, actor: Actor, now_at_us: int) -> Change:
        return Change(actor, now_at_us, f"member.{what}", f"{member.team_id}/{member.user_id}")


def _told(member: Member) -> dict[str, str]:
    return {"team_id": member.team_id, "user_id": member.user_id}
