"""A signed-in browser, without a row anywhere: a cookie signed with a key that is derived from the admin key.

Changing the admin key ends every session; a session of a user's key ends with that secret. Pure: time and chance are
arguments.
"""

import hmac
from dataclasses import dataclass
from typing import Final

COOKIE: Final = "turnpike_admin"
SESSION_US_MAX: Final = 12 * 3600 * 1_000_000
# An open sign-in form is a session too, of nobody: its cookie is what the form's token is bound to.
SIGN_IN_FORM_US_MAX: Final = 3600 * 1_000_000
COOKIE_CHARACTERS_MAX: Final = 240
_NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Session:
    nonce: str
    expires_at_us: int
    signed_in: bool
    # SHA-256 of the secret that was signed in with, in hex; empty: the admin key. It opens nothing by itself.
    key_digest: str = ""


def signing_key(admin_key_digest: bytes) -> bytes:
    return hmac.digest(admin_key_digest, b"turnpike admin session, version 2", "sha256")


def begin(entropy: bytes, now_at_us: int, *, signed_in: bool, key_digest: str = "") -> Session:
    if len(entropy) != _NONCE_BYTES:
        raise ValueError(f"a session needs {_NONCE_BYTES} random bytes, not {len(entropy)}")
    lifetime_us = SESSION_US_MAX if signed_in else SIGN_IN_FORM_US_MAX
    return Session(entropy.hex(), now_at_us + lifetime_us, signed_in, key_digest)


def sealed(session: Session, key: bytes) -> str:
    text = _text(session)
    return f"{text}.{_mac(key, 'session', text)}"


def opened(cookie: str, key: bytes, now_at_us: int) -> Session | None:
    """The session in a cookie, or None: not ours, tampered with, or over."""
    if len(cookie) > COOKIE_CHARACTERS_MAX or not cookie.isascii():
        return None
    text, _, mac = cookie.rpartition(".")
    if not hmac.compare_digest(mac, _mac(key, "session", text)):
        return None
    nonce, expires, signed_in, key_digest = text.split(".")
    session = Session(nonce, int(expires), signed_in == "1", key_digest)
    return session if now_at_us < session.expires_at_us else None


def form_token(session: Session, key: bytes) -> str:
    """What a form carries, so that another site cannot send it: bound to the session and derivable by us alone."""
    return _mac(key, "form", _text(session))


def token_fits(token: str, session: Session, key: bytes) -> bool:
    return token.isascii() and hmac.compare_digest(token, form_token(session, key))


def _text(session: Session) -> str:
    return f"{session.nonce}.{session.expires_at_us}.{int(session.signed_in)}.{session.key_digest}"


def _mac(key: bytes, purpose: str, text: str) -> str:
    return hmac.digest(key, f"{purpose}:{text}".encode(), "sha256").hex()
