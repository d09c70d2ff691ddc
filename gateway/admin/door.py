"""Who stands before the admin app, and may they come in? The answer is decided before a byte of the body is read."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from gateway.admin import session as sessions
from gateway.admin.problem import Problem
from gateway.admin.rooms import AdminRooms
from gateway.admin.rules import Rule
from gateway.admin.session import Session

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105  (a header's name)


class Who(Enum):
    NOBODY = "no credential, or one that is not known"
    VIRTUAL_KEY = "a virtual key, which may use models and not administer"
    ADMIN_KEY = "the admin key"
    SESSION = "a signed-in browser"


class Caller(NamedTuple):
    who: Who
    session: Session | None = None


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

    def recognise(self, knock: Knock) -> Caller:
        scheme, _, token = knock.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return Caller(self._bearer(token.strip()))
        session = sessions.opened(knock.cookie or "", self.key, self._rooms.clock())
        if session is None or session.nonce in self._ended:
            return Caller(Who.NOBODY)
        return Caller(Who.SESSION if session.signed_in else Who.NOBODY, session)

    def admit(self, rule: Rule, knock: Knock) -> Caller:
        """The caller, or the refusal that fits the rule."""
        caller = self.recognise(knock)
        if rule in (Rule.OPEN, Rule.SIGN_IN):
            return caller
        if rule is Rule.PAGE and caller.who is Who.NOBODY:
            raise SentToSignIn
        if rule is Rule.FORM and caller.who is not Who.SESSION:
            raise SentToSignIn
        refuse(caller.who)
        if rule is Rule.ADMIN and caller.session is not None and knock.method not in SAFE_METHODS:
            self._prove_origin(caller.session, knock)
        return caller

    def form_fits(self, session: Session | None, form: Mapping[str, str]) -> bool:
        return session is not None and sessions.token_fits(form.get("token", ""), session, self.key)

    def end(self, session: Session) -> None:
        now_at_us = self._rooms.clock()
        for nonce in [nonce for nonce, expires_at_us in self._ended.items() if expires_at_us <= now_at_us]:
            del self._ended[nonce]
        self._ended[session.nonce] = session.expires_at_us

    def _bearer(self, token: str) -> Who:
        if self.is_admin_key(token):
            return Who.ADMIN_KEY
        known = self._rooms.keyring.find(_digest(token), self._rooms.clock())
        return Who.NOBODY if known is None else Who.VIRTUAL_KEY

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
            "This is a virtual key: it may use models under /v1, not administer. Send the admin key instead.",
        )


def same_origin(knock: Knock) -> bool:
    """True only when the browser itself says that our own page sent this."""
    if knock.headers.get("sec-fetch-site") == "same-origin":
        return True
    origin = knock.headers.get("origin", "")
    return origin.partition("://")[2] == knock.headers.get("host") and "://" in origin


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
