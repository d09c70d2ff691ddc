"""Users: people with a role. Nobody hands out more than his own role, nor changes who has more."""

from collections.abc import Collection
from typing import Final

from billing.roles import Role
from billing.users import User
from gateway.admin import tenancy_shapes as shapes
from gateway.admin.desks.counter import Counter, not_found, not_yours
from gateway.admin.door import Caller
from gateway.admin.etag import version_seen
from gateway.admin.instant import instant_text
from gateway.admin.paging import seen
from gateway.admin.rules import Reach

# Of oneself; a role is given by others, and the e-mail is who one is.
OWN_CHANGES: Final = frozenset({"name"})


class UserDesk:
    def __init__(self, counter: Counter) -> None:
        self._counter: Final = counter
        self._rows: Final = counter.store.users

    def page(self, by: Caller, limit: int, after: str | None, email: str | None = None) -> shapes.Users:
        filters = {} if email is None else {"email": email.lower()}
        data, rest = seen(
            lambda rows, behind: self._rows.list(rows, behind, filters),
            lambda one: by.sight.user(one.id),
            lambda one: one.id,
            limit,
            after,
        )
        return shapes.Users(data=[user_shown(one) for one in data], **rest._asdict())

    def get(self, by: Caller, user_id: str) -> shapes.User:
        return user_shown(self._user(by, user_id))

    def create(self, by: Caller, asked: shapes.UserAsked, key: str | None) -> shapes.User:
        organization_id = self._organization(by, asked.organization_id)
        self._demand_rank(by, asked.role)

        def make(by: Caller) -> shapes.User:
            user_id = asked.id or self._counter.new_id("user")
            made = self._rows.create(
                user_id, asked.name, asked.email, asked.role, organization_id, by.actor, self._counter.now()
            )
            self._counter.changed("tenancy")
            return user_shown(made)

        return self._counter.once(by, "users", key, asked, make, shapes.User)

    def update(self, by: Caller, user_id: str, change: shapes.UserChange, if_match: str | None) -> shapes.User:
        changes = change.model_dump(exclude_unset=True)
        with self._counter.lock:
            present = self._user(by, user_id)
            self._demand_may_change(by, present, changes.keys())
            if change.role is not None:
                self._demand_rank(by, change.role)
            if "organization_id" in changes:
                changes["organization_id"] = self._organization(by, change.organization_id)
            version = version_seen(if_match, user_shown(present))
            changed = self._rows.update(user_id, changes, version, by.actor, self._counter.now())
        self._counter.changed("tenancy")
        return user_shown(changed)

    def delete(self, by: Caller, user_id: str, if_match: str | None) -> None:
        """The user's keys act as nobody's from then on."""
        with self._counter.lock:
            present = self._user(by, user_id)
            self._demand_rank(by, present.role)
            version = version_seen(if_match, user_shown(present))
            self._rows.delete(user_id, version, by.actor, self._counter.now())
        self._counter.changed("tenancy")

    def _user(self, by: Caller, user_id: str) -> User:
        found = self._rows.get(user_id) if by.sight.user(user_id) else None
        if found is None:
            raise not_found("user", user_id, "/admin/v1/users")
        return found

    def _demand_may_change(self, by: Caller, user: User, fields: Collection[str]) -> None:
        if by.sight.reach is Reach.OWN:
            own = by.user is not None and by.user.id == user.id
            if not own or not OWN_CHANGES.issuperset(fields):
                raise not_yours("Of yourself you may change the name; a role and the rest are given by others")
            return
        self._demand_rank(by, user.role)

    def _demand_rank(self, by: Caller, role: Role) -> None:
        if not by.sight.may_act_for(role):
            raise not_yours(f"The role `{by.sight.role}` neither makes nor changes a `{role}`")

    def _organization(self, by: Caller, asked: str | None) -> str | None:
        bound = by.sight.organization_id
        if bound is not None and asked not in (None, bound):
            raise not_yours("That organization is not yours")
        if asked is not None and self._counter.store.organizations.get(asked) is None:
            raise not_found("organization", asked, "/admin/v1/organizations")
        return asked if bound is None else bound


def user_shown(one: User) -> shapes.User:
    return shapes.User(
        id=one.id,
        name=one.name,
        email=one.email,
        role=one.role,
        organization_id=one.organization_id,
        created_at=instant_text(one.created_at_us),
        version=one.version,
    )
