"""When a provider says to come back, in seconds, in milliseconds or as a date; what is unreadable says nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attempt import error_told, retry_after_of
from gateway.providers.row import ProviderDefaults
from gateway.roads import Provider, Timeouts
from gateway.wire.http1 import ResponseHead
from routing.credentials import KeySet

NOW_US = 1_445_412_420_000_000  # Wed, 21 Oct 2015 07:27:00 GMT


def waits(**headers: bytes) -> float | None:
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return retry_after_of(ResponseHead(429, named, 0, chunked=False, keep_alive=True), NOW_US)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"7", 7.0),
        (b"1.5", 1.5),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", 60.0),
        (b"Wed, 21 Oct 2015 07:28:00 +0000", 60.0),
        (b"Wed, 21 Oct 2015 07:20:00 GMT", 0.0),
        (b"-7", None),
        (b"", None),
        (b".", None),
        (b"soon", None),
        (b"\xb2", None),
        (b"1 2", None),
    ],
)
def test_seconds_or_a_date(value: bytes, seconds: float | None) -> None:
    assert waits(retry_after=value) == seconds


def test_milliseconds_are_more_precise_and_win() -> None:
    assert waits(retry_after_ms=b"250", retry_after=b"1") == 0.25
    assert waits(retry_after_ms=b"-1") == 0.0
    assert waits(retry_after_ms=b"soon") is None
    assert waits() is None


@given(
    st.one_of(
        st.binary(max_size=40),
        st.floats().map(lambda number: str(number).encode()),
        st.integers().map(lambda n: b"%d" % n),
    )
)
def test_whatever_it_says_it_is_a_wait_or_nothing(value: bytes) -> None:
    for found in (waits(retry_after=value), waits(retry_after_ms=value)):
        assert found is None or (found >= 0 and not math.isnan(found))


def provider(*secrets: str) -> Provider:
    row = ProviderDefaults("one", "", None)
    return Provider("one", None, (b"",), KeySet((1,)), Timeouts(), row, True, frozenset(), secrets, None)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            b'{"error":{"message":"m","type":"t","param":null,"code":7,"extra":1}}',
            {"message": "m", "type": "t", "param": None, "code": 7},
        ),
        (b'{"error":"plain words"}', {"message": "plain words"}),
        (b'{"message":"at the top","object":"error"}', {"message": "at the top"}),
        (b'{"error":{"message":{"nested":1},"code":"c"}}', {"code": "c"}),
        (b'{"error":[1]}', {}),
        (b"[]", {}),
        (b'"words"', {"message": "words"}),
        (b"upstream connect error", {"message": "upstream connect error"}),
        (b"<html>504</html>", {}),
        (b"", {}),
        (b"\xff\xfe", {"message": "\ufffd\ufffd"}),
    ],
)
def test_a_providers_error_is_read_in_each_shape(body: bytes, told: dict[str, object]) -> None:
    assert error_told(body, provider()) == told


def test_a_providers_error_tells_no_secret() -> None:
    said = error_told(
        b'{"error":{"message":"key hush-hush at 10.0.0.7 refused","code":"hush-hush"}}', provider("hush-hush")
    )
    assert said == {"message": "key [removed] at [removed] refused", "code": "[removed]"}
    assert error_told(b"no hush-hush", provider("hush-hush")) == {"message": "no [removed]"}
