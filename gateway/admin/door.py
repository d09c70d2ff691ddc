"""Who stands before the admin app, and may they come in? The answer is decided before a byte of the body is read."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from billing.audit import Actor
from billing.idempotency import Claim
from billing.keys import Key
from billing.roles import Role
from billing.store import Team
from billing.users import User
from gateway.admin import session as sessions
from gateway.admin.paging import everything
from gateway.admin.problem import Problem
from gateway.admin.rooms import AdminRooms
from gateway.admin.rules import Gate, Reach, Rule
from gateway.admin.session import Session
from gateway.admin.sight import BLIND, Sight

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
# A key with scopes administers only with this one among them.
ADMIN_SCOPE: Final = "admin"
ADMIN: Final = Actor("admin_key")
TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105  (a header's name)


class Who(Enum):
    NOBODY = "no credential, or one that is not known"
    VIRTUAL_KEY = "a virtual key of nobody, which may use models and not administer"
    USER = "a user, by one of the user's keys"
    ADMIN_KEY = "the admin key"
    SESSION = "a signed-in browser, of the admin key or of a user"


class Caller(NamedTuple):
    """Who asks, and what is shown of each thing at the route that was asked for."""

    who: Who
    session: Session | None = None
    user: User | None = None  # None: the admin key, or nobody
    key: Key | None = None  # by which the user came
    sight: Sight = BLIND
    claim: Claim | None = None  # under which something is made once

    @property
    def role(self) -> Role | None:
        if self.user is not None:
            return self.user.role
        return Role.OWNER if self.who in (Who.ADMIN_KEY, Who.SESSION) else None

    @property
    def actor(self) -> Actor:
        actor = ADMIN if self.user is None else Actor("user", self.user.id)
        return actor._replace(claim=self.claim)


@dataclass(frozen=True, slots=True)
class Knock:
    """All that the door looks at."""

    method: str
    scheme: str
    headers: Mapping[str, str]
    cookie: str | None


class SentToSignIn(Exception):
    pass


class Door:
    def __init__(self, rooms: AdminRooms) -> None:
        self._rooms = rooms
        self.key: Final = sessions.signing_key(rooms.admin_key_digest)
        # Sessions live in cookies alone, so one that was signed out is remembered until it would have ended.
        self._ended: Final = rooms.ended_sessions

    def is_admin_key(self, token: str) -> bool:
        # Equal-length digests: the comparison tells nothing about the key, its length included.
        return hmac.compare_digest(_digest(token), self._rooms.admin_key_digest)

    def digest_of(self, secret: str) -> str | None:
        """What a session of this secret carries: nothing of the admin key, a user's key's digest; None: no sign-in."""
        if self.is_admin_key(secret):
            return ""
        digest = _digest(secret)
        return digest.hex() if self.of_key(digest).who is Who.USER else None

    def recognise(self, knock: Knock) -> Caller:
        """From a thread: whose key it is stands in the database."""
        scheme, _, token = knock.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            if self.is_admin_key(token.strip()):
                return Caller(Who.ADMIN_KEY)
            return self.of_key(_digest(token.strip()))
        session = sessions.opened(knock.cookie or "", self.key, self._rooms.clock())
        if session is None or session.nonce in self._ended:
            return Caller(Who.NOBODY)
        if not session.signed_in:
            return Caller(Who.NOBODY, session)
        if not session.key_digest:
            return Caller(Who.SESSION, session)
        caller = self.of_key(bytes.fromhex(session.key_digest))
        # The secret was revoked, rotated, or its user is no more: signed in no longer.
        signed_in = caller.who is Who.USER
        return caller._replace(who=Who.SESSION, session=session) if signed_in else Caller(Who.NOBODY, session)

    def of_key(self, digest: bytes) -> Caller:
        """Whoever holds the secret with this digest."""
        key = self._rooms.keyring.find(digest, self._rooms.clock())
        if key is None:
            return Caller(Who.NOBODY)
        narrowed = bool(key.scopes) and ADMIN_SCOPE not in key.scopes
        user = None if key.user_id is None or narrowed else self._rooms.store.users.get(key.user_id)
        return Caller(Who.VIRTUAL_KEY, key=key) if user is None else Caller(Who.USER, None, user, key)

    def admit(self, rule: Rule, knock: Knock) -> Caller:
        """The caller with what the rule lets him see, or the refusal that fits the rule."""
        caller = self.recognise(knock)
        gate = rule.gate
        if gate in (Gate.OPEN, Gate.SIGN_IN):
            return caller
        if gate is Gate.PAGE and caller.who is Who.NOBODY:
            raise SentToSignIn
        if gate is Gate.FORM and caller.who is not Who.SESSION:
            raise SentToSignIn
        refuse(caller.who)
        caller = caller._replace(sight=self._sight(rule, caller))
        if gate is Gate.API and caller.session is not None and knock.method not in SAFE_METHODS:
            self._prove_origin(caller.session, knock)
        return caller

    def form_fits(self, session: Session | None, form: Mapping[str, str]) -> bool:
        return session is not None and sessions.token_fits(form.get("token", ""), session, self.key)

    def end(self, session: Session) -> None:
        now_at_us = self._rooms.clock()
        for nonce in [nonce for nonce, expires_at_us in self._ended.items() if expires_at_us <= now_at_us]:
            del self._ended[nonce]
        self._ended[session.nonce] = session.expires_at_us

    def _sight(self, rule: Rule, caller: Caller) -> Sight:
        role, user = caller.role, caller.user
        assert role is not None
        reach = rule.may.get(role)
        if reach is None:
            raise Problem("not_allowed", f"The role `{role}` may not do this: {_roles_of(rule)} may.")
        if user is None:
            return Sight(role, reach)
        if reach is Reach.GATEWAY and user.organization_id is not None:
            raise Problem(
                "not_allowed", "This is every organization's, and you belong to one: ask who runs the gateway."
            )
        bound = user.organization_id
        if reach in (Reach.GATEWAY, Reach.ORGANIZATION):
            if bound is None:
                return Sight(role, reach, None, user.id)
            teams = {team.id for team in self._all_teams() if team.organization_id == bound}
            return Sight(role, reach, bound, user.id, frozenset(teams), self._people(bound))
        teams = {member.team_id for member in self._rooms.store.members.list(user_id=user.id)}
        people = (
            {member.user_id for team_id in teams for member in self._rooms.store.members.list(team_id=team_id)}
            if reach is Reach.TEAMS
            else set()
        )
        return Sight(role, reach, bound, user.id, frozenset(teams), frozenset(people))

    def _all_teams(self) -> Iterator[Team]:
        return everything(self._rooms.store.teams)

    def _people(self, organization_id: str) -> frozenset[str]:
        users = everything(self._rooms.store.users.list)
        return frozenset(user.id for user in users if user.organization_id == organization_id)

    def _prove_origin(self, session: Session, knock: Knock) -> None:
        if same_origin(knock) or sessions.token_fits(knock.headers.get(TOKEN_HEADER, ""), session, self.key):
            return
        raise Problem(
            "forged_form",
            f"A signed-in session may change things only from the gateway's own pages: send `{TOKEN_HEADER}` as the "
            "page's forms carry it, or use the admin key as `Authorization: Bearer`.",
        )


def refuse(who: Who) -> None:
    if who is Who.NOBODY:
        raise Problem("not_signed_in", "Send the admin key as `Authorization: Bearer …`, or sign in at /admin.")
    if who is Who.VIRTUAL_KEY:
        raise Problem(
            "not_an_admin",
            "This virtual key is no user's, or its scopes leave administration out: it may use models under /v1. Send "
            "the admin key, or a key whose user has a role.",
        )


def _roles_of(rule: Rule) -> str:
    return ", ".join(f"`{role}`" for role in rule.may)


def same_origin(knock: Knock) -> bool:
    """True only when the browser itself says that our own page sent this."""
    if knock.headers.get("sec-fetch-site") == "same-origin":
        return True
    origin = knock.headers.get("origin", "")
    return origin.partition("://")[2] == knock.headers.get("host") and "://" in origin


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
