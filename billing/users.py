"""The people who live with it, each with one role. A key of a user acts for that user.

An e-mail address is one live user's, however it is written: it is kept in small letters.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from billing import queries
from billing.audit import Actor
from billing.changes import TENANCY, Change
from billing.database import writing
from billing.demands import demand_id, demand_known, demand_name, demand_version
from billing.organizations import demand_organization
from billing.pages import Page, paged
from billing.queries import people as q
from billing.refusals import AlreadyExists, Conflict, Invalid, NotFound
from billing.roles import Role

_CHANGES: Final = frozenset({"name", "email", "role", "organization_id"})
_FILTERS: Final = frozenset({"email", "role", "organization_id"})


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    email: str
    role: Role
    organization_id: str | None
    version: int
    created_at_us: int


class Users:
    def __init__(self, engine: Engine) -> None:
        self._reading = engine
        self._writing = writing(engine)

    def list(self, limit: int, after: str | None = None, filters: Mapping[str, str] | None = None) -> Page[User]:
        """Oldest first; by e-mail, role or organization."""
        demand_known(filters or {}, _FILTERS)
        with self._reading.begin() as tx:
            found = [_of(row) for row in q.list_users(tx, limit + 1, after, filters or {})]
        return paged(found, limit, lambda user: user.id)

    def get(self, user_id: str) -> User | None:
        with self._reading.begin() as tx:
            row = q.get_user(tx, user_id)
        return _of(row) if row else None

    def by_email(self, email: str) -> User | None:
        with self._reading.begin() as tx:
            row = q.user_by_email(tx, _address(email))
        return _of(row) if row else None

    def names(self) -> dict[str, str]:
        """Deleted ones included: reports still name them."""
        with self._reading.begin() as tx:
            return q.user_names(tx)

    def create(
        self,
        user_id: str,
        name: str,
        email: str,
        role: Role | str,
        organization_id: str | None,
        actor: Actor,
        now_at_us: int,
    ) -> User:
        demand_id("user", user_id)
        demand_name("user", name)
        user = User(user_id, name, _address(email), _role(role), organization_id, 1, now_at_us)
        try:
            with self._writing.begin() as tx:
                demand_organization(tx, organization_id)
                _demand_new_email(tx, user.email, user_id)
                q.insert_user(tx, asdict(user))
                Change(actor, now_at_us, "user.create", user_id).note(tx, None, _told(user), [TENANCY])
        except IntegrityError:
            raise AlreadyExists(f"a user {user_id!r} exists or existed: take another id") from None
        return user

    def update(
        self, user_id: str, changes: Mapping[str, object], version: int | None, actor: Actor, now_at_us: int
    ) -> User:
        """With `version`, only if nobody changed it since. What changes nothing leaves no trace."""
        values = _sound(changes)
        try:
            with self._writing.begin() as tx:
                before = _demand(tx, user_id, version)
                if all(getattr(before, name) == value for name, value in values.items()):
                    return before
                if "organization_id" in values and values["organization_id"] != before.organization_id:
                    demand_organization(tx, values["organization_id"])
                _demand_new_email(tx, values.get("email", before.email), user_id)
                q.update_user(tx, user_id, values)
                after = _demand(tx, user_id, None)
                Change(actor, now_at_us, "user.update", user_id).note(tx, _told(before), _told(after), [TENANCY])
                return after
        except IntegrityError:
            raise AlreadyExists(
                f"another user has taken {values.get('email')!r} just now: give each their own"
            ) from None

    def delete(self, user_id: str, version: int | None, actor: Actor, now_at_us: int) -> None:
        """Takes the user out of every list and every team. The row stays, for the reports that name it."""
        with self._writing.begin() as tx:
            before = _demand(tx, user_id, version)
            key_id = q.live_key_of_user(tx, user_id)
            if key_id is not None:
                raise Conflict(f"user {user_id!r} has keys that work, such as {key_id!r}: revoke or move them first")
            told = {**_told(before), "teams": q.forget_members(tx, user_id=user_id)}
            q.update_user(tx, user_id, {"deleted_at_us": now_at_us})
            Change(actor, now_at_us, "user.delete", user_id).note(tx, told, None, [TENANCY])


def demand_user(tx: Connection, user_id: str) -> None:
    _demand(tx, user_id, None)


def _demand(tx: Connection, user_id: str, version: int | None) -> User:
    row = q.get_user(tx, user_id, locked=True)
    if row is None:
        raise NotFound(f"no user {user_id!r}: list them to see which there are")
    found = _of(row)
    demand_version(found.version, version)
    return found


def _demand_new_email(tx: Connection, email: str, user_id: str) -> None:
    row = q.user_by_email(tx, email)
    if row is not None and row[0] != user_id:
        raise AlreadyExists(f"user {row[0]!r} has the e-mail {email!r}: give each user their own")


def _sound(changes: Mapping[str, Any]) -> dict[str, Any]:
    demand_known(changes, _CHANGES)
    values = dict(changes)
    if "name" in values:
        demand_name("user", values["name"])
    if "email" in values:
        values["email"] = _address(values["email"])
    if "role" in values:
        values["role"] = _role(values["role"])
    return values


def _address(email: str) -> str:
    """What has anything before and after one `@` may be one; whether it reaches anybody is not for here."""
    name, _, domain = email.strip().partition("@")
    if not name or not domain or "@" in domain or any(letter.isspace() for letter in name + domain):
        raise Invalid(f"{email[:100]!r} is no e-mail address: write it as name@example.org")
    return f"{name}@{domain}".lower()


def _role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise Invalid(f"there is no role {role!r}: use {', '.join(Role)}") from None


def _of(row: queries.Row) -> User:
    user_id, name, email, role, organization_id, version, created_at_us, _ = row
    return User(user_id, name, email, Role(role), organization_id, version, created_at_us)


def _told(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "role": user.role,
        "organization_id": user.organization_id,
    }
