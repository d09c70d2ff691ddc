"""A session cookie is worth exactly what it was sealed for: this gateway, this key, this long."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.session import (
    COOKIE_CHARACTERS_MAX,
    SESSION_US_MAX,
    SIGN_IN_FORM_US_MAX,
    Session,
    begin,
    form_token,
    opened,
    sealed,
    signing_key,
    token_fits,
)

KEY = signing_key(hashlib.sha256(b"an admin key").digest())
OTHER_KEY = signing_key(hashlib.sha256(b"another admin key").digest())
NOW = 1_700_000_000_000_000


def signed_in() -> Session:
    return begin(bytes(range(16)), NOW, signed_in=True)


def test_a_sealed_session_opens_until_it_expires() -> None:
    session = signed_in()
    cookie = sealed(session, KEY)
    assert opened(cookie, KEY, NOW) == session
    assert opened(cookie, KEY, NOW + SESSION_US_MAX - 1) == session
    assert opened(cookie, KEY, NOW + SESSION_US_MAX) is None


def test_an_open_sign_in_form_lasts_an_hour_and_is_nobody() -> None:
    session = begin(bytes(16), NOW, signed_in=False)
    assert not session.signed_in
    assert session.expires_at_us == NOW + SIGN_IN_FORM_US_MAX


def test_changing_the_admin_key_ends_every_session() -> None:
    assert opened(sealed(signed_in(), KEY), OTHER_KEY, NOW) is None


def test_nobody_becomes_somebody_by_editing_the_cookie() -> None:
    cookie = sealed(begin(bytes(16), NOW, signed_in=False), KEY)
    nonce, expires, _, digest, mac = cookie.split(".")
    assert opened(f"{nonce}.{expires}.1.{digest}.{mac}", KEY, NOW) is None


def test_a_session_of_a_users_key_says_whose_it_is_and_nobody_changes_that() -> None:
    digest = hashlib.sha256(b"tp-a-users-key").hexdigest()
    cookie = sealed(begin(bytes(16), NOW, signed_in=True, key_digest=digest), KEY)
    assert len(cookie) <= COOKIE_CHARACTERS_MAX
    session = opened(cookie, KEY, NOW)
    assert session is not None
    assert session.key_digest == digest
    assert opened(cookie.replace(digest, ""), KEY, NOW) is None


@given(st.text(max_size=300))
def test_any_other_text_is_no_session(text: str) -> None:
    assert opened(text, KEY, NOW) is None


@given(st.data())
def test_one_changed_character_spoils_the_cookie(data: st.DataObject) -> None:
    cookie = sealed(signed_in(), KEY)
    at = data.draw(st.integers(0, len(cookie) - 1))
    other = data.draw(st.sampled_from("0123456789abcdef.x").filter(lambda character: character != cookie[at]))
    assert opened(cookie[:at] + other + cookie[at + 1 :], KEY, NOW) is None


def test_a_form_token_fits_its_own_session_only() -> None:
    session = signed_in()
    token = form_token(session, KEY)
    assert token_fits(token, session, KEY)
    assert not token_fits(token, begin(bytes(16), NOW, signed_in=True), KEY)
    assert not token_fits(token, session, OTHER_KEY)
    assert not token_fits("ü" * 64, session, KEY)


def test_the_cookie_does_not_hold_the_form_token() -> None:
    session = signed_in()
    assert form_token(session, KEY) not in sealed(session, KEY)


def test_a_session_is_not_begun_on_too_little_chance() -> None:
    with pytest.raises(ValueError, match="16 random bytes"):
        begin(b"short", NOW, signed_in=True)
