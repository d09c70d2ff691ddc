"""Nobody sees a secret or an address of a provider, whatever the provider said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.redact import TAKEN_OUT, scrub


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdef123456",
        "sk_live_abcdef123456",
        "tp-abc123-XYZxyz",
        "gsk_abcdef12345",
        "xai-abcdef123",
        "AIzaSyA-1234567890abcdefghij",
        "Bearer eyJhbGciOi.J9",
        "10.1.2.3",
        "127.0.0.1:8080",
        "localhost:11434",
        "[::1]:80",
        "[2001:db8::7]",
    ],
)
def test_what_looks_like_a_key_or_an_address_is_taken_out(secret: str) -> None:
    assert scrub(f"refused for {secret}.", ()) in {f"refused for {TAKEN_OUT}.", f"refused for {TAKEN_OUT}"}


@pytest.mark.parametrize(
    "text",
    ["", "the model is overloaded", "version 1.2.3 of gpt-4o", "task-oriented", "a [list] of [3] things", "risky"],
)
def test_ordinary_words_stay(text: str) -> None:
    assert scrub(text, ("a-secret-not-there",)) == text


secrets = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="[]remov"), min_size=6, max_size=20
)


@given(st.text(max_size=30), secrets, st.text(max_size=30), st.text(max_size=30))
def test_a_providers_own_secrets_never_come_through(before: str, secret: str, between: str, after: str) -> None:
    assert secret not in scrub(before + secret + between + secret + after, (secret,))


def test_the_longest_secret_goes_first_and_empty_ones_are_nothing() -> None:
    assert scrub("at https://a.test/v1", ("https://a.test/v1", "a.test", "")) == f"at {TAKEN_OUT}"
