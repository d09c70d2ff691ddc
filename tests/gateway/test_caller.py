"""What a head says about its caller: which key, which wishes; each malformed wish is refused by its header's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.keys import digest
from gateway.caller import END_USER_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX, Facts, clean_tags, facts_of
from gateway.errors import BadRequest
from gateway.wire.http1 import parse_request_head


def facts(*lines: str) -> Facts:
    return facts_of(parse_request_head("\r\n".join(["POST / HTTP/1.1", "host: a", *lines, "", ""]).encode("latin-1")))


def refused(*lines: str) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        facts(*lines)
    return caught.value


@pytest.mark.parametrize(
    ("lines", "token"),
    [
        (("Authorization: Bearer secret",), b"secret"),
        (("authorization: bearer   secret ",), b"secret"),
        (("x-api-key: secret",), b"secret"),
        (("api-key: secret",), b"secret"),
        (("x-goog-api-key: secret",), b"secret"),
        (("x-turnpike-key: secret", "authorization: Bearer other"), b"secret"),
        (("authorization: Bearer secret", "x-api-key: other"), b"secret"),
        (("authorization: Basic abc", "x-api-key: secret"), b"secret"),
        (("authorization: Bearer ", "x-api-key: secret"), b"secret"),
        (("authorization: Bearer secret", "authorization: Bearer other"), b"secret"),
    ],
)
def test_the_key_is_taken_from_each_header_that_clients_use(lines: tuple[str, ...], token: bytes) -> None:
    assert facts(*lines).key_digest == digest(token)


@pytest.mark.parametrize("lines", [(), ("authorization: Bearer",), ("authorization: Basic abc",), ("x-api-key:",)])
def test_without_a_key_there_is_none(lines: tuple[str, ...]) -> None:
    assert facts(*lines).key_digest is None


def test_an_equal_head_is_read_once() -> None:
    head = parse_request_head(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert facts_of(head) is facts_of(head)


def test_the_wishes_are_read() -> None:
    said = facts("x-turnpike-cache: Refresh", "x-turnpike-timeout: 2.5", "x-turnpike-user: ada", "traceparent: 00-1")
    assert (said.cache, said.timeout_s, said.end_user, said.traceparent) == ("refresh", 2.5, "ada", b"00-1")
    assert facts() == Facts(None, None, None, (), None, b"", ((b"host", b"a"),), None)


@pytest.mark.parametrize(
    ("line", "param", "code"),
    [
        ("x-turnpike-cache: maybe", "x-turnpike-cache", "invalid_value"),
        ("x-turnpike-cache:", "x-turnpike-cache", "invalid_value"),
        ("x-turnpike-timeout: 0", "x-turnpike-timeout", "invalid_value"),
        ("x-turnpike-timeout: -1", "x-turnpike-timeout", "invalid_value"),
        ("x-turnpike-timeout: nan", "x-turnpike-timeout", "invalid_value"),
        ("x-turnpike-timeout: inf", "x-turnpike-timeout", "invalid_value"),
        ("x-turnpike-timeout: 86401", "x-turnpike-timeout", "invalid_value"),
        ("x-turnpike-timeout: soon", "x-turnpike-timeout", "invalid_value"),
        ("x-turnpike-user: " + "a" * (END_USER_BYTES_MAX + 1), "x-turnpike-user", "invalid_value"),
        ("x-turnpike-user: \xff", "x-turnpike-user", "invalid_value"),
        ("x-turnpike-tags: a=\xff", "x-turnpike-tags", "invalid_value"),
        ("x-litellm-tags: a=\xff", "x-litellm-tags", "invalid_value"),
        ("x-turnpike-tags: " + ",".join(f"a={n}" for n in range(TAGS_MAX + 1)), "x-turnpike-tags", "invalid_value"),
        ("x-turnpike-tags: " + "a" * (TAG_BYTES_MAX + 1), "x-turnpike-tags", "invalid_value"),
        ("x-turnpike-tags: " + "a" * (TAGS_MAX * TAG_BYTES_MAX + 1), "x-turnpike-tags", "invalid_value"),
        ("content-encoding: gzip", "content-encoding", "unsupported_encoding"),
    ],
)
def test_a_wish_that_means_nothing_is_refused_by_its_name(line: str, param: str, code: str) -> None:
    error = refused(line)
    assert (error.param, error.code) == (param, code)


def test_an_encoding_of_identity_is_none() -> None:
    facts("content-encoding: Identity")


def test_tags_of_both_headers_are_one_set_in_one_order() -> None:
    assert facts("x-turnpike-tags: b=2, a=1,,a=1", "x-litellm-tags: c, a=1").tags == ("a=1", "b=2", "c")
    assert facts("x-turnpike-user: ü".encode().decode("latin-1")).end_user == "ü"


@given(st.lists(st.text(max_size=20), max_size=TAGS_MAX))
def test_cleaned_tags_are_printable_distinct_and_stay_clean(tags: list[str]) -> None:
    try:
        kept = clean_tags(tags, "tags")
    except BadRequest:
        assert any(not tag.strip().isprintable() for tag in tags)
        return
    assert list(kept) == sorted(set(kept))
    assert all(tag and tag.isprintable() for tag in kept)
    assert clean_tags(kept, "tags") == kept


def test_a_tag_that_is_no_string_is_refused() -> None:
    with pytest.raises(BadRequest, match="must be a string"):
        clean_tags([7], "metadata.tags")


def test_only_the_betas_and_the_version_go_on() -> None:
    said = facts("anthropic-beta: b", "openai-beta: a", "cookie: c", "x-custom: d", "anthropic-version: e")
    assert said.forwarded == b"anthropic-beta: b\r\nanthropic-version: e\r\nopenai-beta: a\r\n"
