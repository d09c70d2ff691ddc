"""A key is recognised by its digest, useless once expired or revoked, and limited to its models."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.keys import SECRET_BYTES, Key, KeyRing, digest, issue, may_use, mint, shown_prefix, well_formed

SECRET = bytes(range(SECRET_BYTES))
NOW_US = 1_764_000_000_000_000


def key(token: str = "tp-a", **other: object) -> Key:
    plain = Key("key_1", "one", "tp-a", digest(token.encode()), None, None, (), NOW_US)
    return replace(plain, **other)  # type: ignore[arg-type]


@given(st.from_regex(r"[0-9A-Za-z]{1,40}", fullmatch=True), st.binary(min_size=32, max_size=32))
def test_a_minted_key_is_well_formed_and_shows_its_prefix(public_id: str, secret: bytes) -> None:
    token = mint(public_id, secret)
    assert token.startswith(f"{shown_prefix(public_id)}-")
    assert well_formed(token.encode())


@given(st.integers(0, 61), st.characters(categories=["L", "N"], max_codepoint=127))
def test_one_wrong_letter_is_noticed(place: int, letter: str) -> None:
    token = mint("publicid1", SECRET)
    place %= len(token)
    mistyped = token[:place] + letter + token[place + 1 :]
    assert well_formed(mistyped.encode()) == (mistyped == token)


@given(st.binary(max_size=80))
def test_anything_may_be_asked_about(token: bytes) -> None:
    assert not well_formed(token)


def test_two_secrets_make_two_keys() -> None:
    assert mint("a", SECRET) != mint("a", SECRET[::-1])


@pytest.mark.parametrize(("public_id", "secret"), [("", SECRET), ("a-b", SECRET), ("ä", SECRET), ("a", b"short")])
def test_a_key_is_not_made_of_the_wrong_parts(public_id: str, secret: bytes) -> None:
    with pytest.raises(ValueError, match=r"use 1 to 40|exactly"):
        mint(public_id, secret)


def test_an_issued_key_opens_with_its_secret_alone() -> None:
    made, secret = issue("first", NOW_US, lambda size: bytes(range(size)), team_id="team_1")
    assert KeyRing([made]).find(digest(secret.encode()), NOW_US) == made
    assert secret.startswith(f"{made.prefix}-")
    assert made.id == f"key_{made.prefix.removeprefix('tp-')}"
    assert (made.name, made.team_id, made.created_at_us) == ("first", "team_1", NOW_US)


def test_a_minted_key_opens_with_its_secret_alone() -> None:
    secret = mint("publicid1", SECRET)
    made = key(secret, prefix=shown_prefix("publicid1"))
    ring = KeyRing([made])
    assert ring.find(digest(secret.encode()), NOW_US) == made
    assert secret.startswith(f"{made.prefix}-")
    assert ring.find(digest(made.prefix.encode()), NOW_US) is None


@pytest.mark.parametrize(
    ("globs", "model", "may"),
    [
        ((), "openai/gpt-4o", True),
        (("openai/*",), "openai/gpt-4o", True),
        (("openai/*",), "anthropic/claude", False),
        (("gpt-4o*",), "gpt-4o-mini", True),
        (("gpt-4o",), "gpt-4o-mini", False),
        (("a", "*mini"), "gpt-4o-mini", True),
        (("gpt.4o",), "gpt-4o", False),
        (("[a-z]*",), "gpt", False),
        (("[a-z]*",), "[a-z]1", True),
        (("*",), "line\nbreak", True),
    ],
)
def test_globs_say_which_models_a_key_may_use(globs: tuple[str, ...], model: str, may: bool) -> None:
    assert may_use(key(models_allowed=globs), model) is may


def test_an_expired_or_revoked_key_is_unknown() -> None:
    ring = KeyRing([key(expires_at_us=NOW_US + 1)])
    assert ring.find(digest(b"tp-a"), NOW_US) is not None
    assert ring.find(digest(b"tp-a"), NOW_US + 1) is None
    ring.put(key(revoked_at_us=NOW_US))
    assert ring.find(digest(b"tp-a"), NOW_US) is None


def test_what_is_put_or_dropped_counts_at_once() -> None:
    ring = KeyRing()
    ring.put(key())
    assert ring.find(digest(b"tp-a"), NOW_US) is not None
    ring.put(key("tp-b"))
    assert ring.find(digest(b"tp-a"), NOW_US) is None
    assert ring.find(digest(b"tp-b"), NOW_US) is not None
    assert len(ring) == 1
    ring.drop("key_1")
    ring.drop("key_1")
    assert ring.find(digest(b"tp-b"), NOW_US) is None
    assert len(ring) == 0


@pytest.mark.parametrize("expires_at_us", [None, NOW_US + 100])
def test_while_a_rotation_overlaps_both_secrets_open(expires_at_us: int | None) -> None:
    rotated = key("tp-b", old_digest=digest(b"tp-a"), old_until_us=NOW_US + 10, expires_at_us=expires_at_us)
    ring = KeyRing([rotated])
    assert ring.find(digest(b"tp-a"), NOW_US + 9) is not None
    assert ring.find(digest(b"tp-a"), NOW_US + 10) is None
    assert ring.find(digest(b"tp-b"), NOW_US + 10) is not None


def test_a_key_that_expires_within_the_overlap_takes_its_old_secret_along() -> None:
    rotated = key("tp-b", old_digest=digest(b"tp-a"), old_until_us=NOW_US + 10, expires_at_us=NOW_US + 5)
    assert KeyRing([rotated]).find(digest(b"tp-a"), NOW_US + 5) is None


def test_a_ring_tells_which_version_of_each_key_it_holds() -> None:
    rotated = key("tp-new", id="key_2", version=3, old_digest=digest(b"tp-old"), old_until_us=NOW_US + 100)
    ring = KeyRing([key(), rotated])
    assert ring.versions() == {"key_1": 1, "key_2": 3}
    ring.put(key(version=2))
    ring.drop("key_2")
    assert ring.versions() == {"key_1": 2}
