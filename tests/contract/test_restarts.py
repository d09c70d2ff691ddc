"""Stopping, killing, starting again: nothing in flight is dropped without need, nothing served is forgotten."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import Gateway, Key, chat, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.bill import usd_text
from tests.fakes.script import FOREVER_S, Pause, Says, broken_stream, reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.provider import Provider


pytestmark = pytest.mark.slow


def serving(model: str, one: Provider, two: Provider) -> dict[str, object]:
    return {"providers": hosted(one, two), "models": {model: [deployment("one", model)]}}


def test_sigterm_lets_what_is_in_flight_finish_and_settles_it(
    directory: Path, one: Provider, two: Provider, model: str
) -> None:
    config = {**serving(model, one, two), "server": {"drain_delay_s": 0.7, "drain_seconds_max": 20}}
    with Gateway(directory, config) as gateway:
        key = gateway.create_key()
        one.queue(model, reply(Says(), gap_s=0.4))
        with RawClient(gateway.port) as client:
            client.send(request_bytes(json.dumps(chat(model, stream=True)).encode(), key.secret))
            client.read_until(b"Hello")
            gateway.terminate()
            eventually(lambda: _readyz(gateway) == 503, "it says at once that it is not ready", within_s=0.6)
            assert gateway.ask(key, chat(model)).status_code == 200, "a load balancer needs time to notice"
            rest = client.read_until(b"[DONE]\n\n")
        assert b"world" in rest
        assert gateway.wait() == 0
    with Gateway(directory, config) as gateway:
        [row] = gateway.usage_of(key, requests=2)
        assert row["estimated_usd"] == "0.000000000"
        assert row["requests"] == 2


def _readyz(gateway: Gateway) -> int:
    try:
        return httpx.get(f"{gateway.base_url}/readyz", trust_env=False).status_code
    except httpx.TransportError:
        return 0


def test_after_kill_nothing_that_was_served_is_missing(
    directory: Path, one: Provider, two: Provider, model: str
) -> None:
    config = serving(model, one, two)
    gateway = Gateway(directory, config)
    gateway.start()
    key = gateway.create_key()
    before = one.bill_nano_usd()
    for _ in range(20):
        assert gateway.ask(key, chat(model)).status_code == 200
    gateway.kill()
    with Gateway(directory, config) as again:
        [row] = again.usage_of(key, requests=20)
        assert row["requests"] == 20
        assert round(float(str(row["cost_usd"])) * 10**9) == one.bill_nano_usd() - before
        assert again.ask(key, chat(model)).status_code == 200


def begin_stream(gateway: Gateway, key: Key, model: str) -> RawClient:
    """A stream of which the first word has arrived."""
    client = RawClient(gateway.port)
    client.send(request_bytes(json.dumps(chat(model, stream=True, max_tokens=100)).encode(), key.secret))
    client.read_until(b"Hello")
    return client


def test_a_stream_in_flight_at_a_kill_is_charged_and_marked(
    directory: Path, one: Provider, two: Provider, model: str
) -> None:
    """Its usage never arrived: at most its hold is charged, never nothing."""
    config = serving(model, one, two)
    one.always(model, broken_stream(Says(), Pause(FOREVER_S), after=3))
    gateway = Gateway(directory, config)
    gateway.start()
    key = gateway.create_key()
    with begin_stream(gateway, key, model):
        gateway.kill()
    with Gateway(directory, config) as again:
        [row] = again.usage_of(key)
        assert row["requests"] == 1
        assert Decimal(str(row["cost_usd"])) > 0
        assert row["estimated_usd"] == row["cost_usd"]
        assert row["pending_usd"] == "0.000000000"


def test_a_stop_waits_no_longer_than_it_may(directory: Path, one: Provider, two: Provider, model: str) -> None:
    config = {**serving(model, one, two), "server": {"drain_delay_s": 0, "drain_seconds_max": 1}}
    one.always(model, broken_stream(Says(), Pause(FOREVER_S), after=3))
    with Gateway(directory, config) as gateway:
        key = gateway.create_key()
        with begin_stream(gateway, key, model) as client:
            gateway.terminate()
            started = time.monotonic()
            assert b"[DONE]" not in client.rest()
            assert gateway.wait() == 0
            assert time.monotonic() - started < 8
    with Gateway(directory, config) as again:
        [row] = again.usage_of(key)
        assert Decimal(str(row["estimated_usd"])) > 0


def test_two_gateways_do_not_share_a_state_directory(directory: Path, one: Provider, two: Provider, model: str) -> None:
    with Gateway(directory, serving(model, one, two)) as first:
        second = Gateway(directory, serving(model, one, two))
        with pytest.raises(AssertionError, match="exited with 1") as caught:
            second.start()
        assert "Traceback" not in str(caught.value)
        assert first.alive()
        assert first.ask(first.create_key(), chat(model)).status_code == 200


def test_keys_and_spend_outlive_a_restart(directory: Path, one: Provider, two: Provider, model: str) -> None:
    config = serving(model, one, two)
    with Gateway(directory, config) as gateway:
        key = gateway.create_key(team_id=gateway.create_team("kept"))
        for _ in range(3):
            assert gateway.ask(key, chat(model)).status_code == 200
    with Gateway(directory, config) as again:
        assert again.ask(key, chat(model)).status_code == 200
        [row] = again.usage_of(key, "team", requests=4)
        assert row["team_name"] == "kept"
        assert row["cost_usd"] == usd_text(one.bill_nano_usd(model))
