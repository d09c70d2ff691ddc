"""What those who run it rely on: health, metrics, the generated admin key, a stop that finishes what is in flight."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway, Key, chat, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.provider import Provider


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/health/liveliness", "/health/liveness", "/health/readiness"])
def test_health_is_answered_without_a_key_and_without_asking_a_provider(
    gateway: Gateway, one: Provider, path: str
) -> None:
    before = len(one.requests)
    assert gateway.client.get(path).status_code == 200
    assert len(one.requests) == before


def families(gateway: Gateway) -> dict[str, list[str]]:
    """The samples of each metric by its name."""
    text = gateway.client.get("/metrics").text
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            found.setdefault(re.split(r"[{ ]", line)[0], []).append(line)
    return found


@pytest.mark.parametrize("what", ["requests", "token", "cost", "duration", "first"])
def test_metrics_count_what_happened_by_model_and_provider(gateway: Gateway, key: Key, model: str, what: str) -> None:
    gateway.ask(key, chat(model, stream=True))

    def labelled() -> list[str]:
        samples = [
            line
            for name, lines in families(gateway).items()
            if name.startswith("turnpike_") and what in name
            for line in lines
        ]
        return [line for line in samples if f'"{model}"' in line and '"one"' in line]

    eventually(labelled, f"a turnpike_*{what}* metric names the model and the provider")


def test_metrics_tell_the_build_that_is_under_test(gateway: Gateway, pytestconfig: pytest.Config) -> None:
    compiled = str(pytestconfig.getoption("--compiled")).lower()
    assert families(gateway)["turnpike_build_info"] == [
        f'turnpike_build_info{{version="0.1.0",compiled="{compiled}"}} 1'
    ]


def test_metrics_never_carry_a_key(gateway: Gateway, key: Key, model: str) -> None:
    gateway.ask(key, chat(model), {"x-turnpike-user": "ada@example.org"})
    answer = gateway.client.get("/metrics")
    assert answer.headers["content-type"].startswith(("text/plain", "application/openmetrics-text"))
    assert all(secret not in answer.text for secret in (key.id, key.secret, "ada@example.org"))


def test_logs_hold_no_secret_and_no_prompt(gateway: Gateway, key: Key, model: str) -> None:
    answer = gateway.ask(key, chat(model, "a very private question"))
    eventually(lambda: answer.headers["x-request-id"] in gateway.logs(), "the request is logged")
    line = next(line for line in gateway.logs().splitlines() if answer.headers["x-request-id"] in line)
    assert isinstance(json.loads(line), dict)
    assert key.secret not in gateway.logs()
    assert "private question" not in gateway.logs()


def test_the_admin_key_is_made_when_none_is_given(directory: Path) -> None:
    with Gateway(directory, admin_key=None) as gateway:
        file = gateway.state / "admin.key"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(gateway.admin_key) >= 32
        gateway.admin("GET", "teams", 200)
        made = gateway.admin_key
    with Gateway(directory, admin_key=None) as again:
        assert again.admin_key == made
        again.admin("GET", "teams", 200)


def test_a_busy_port_is_one_line_that_says_so(directory: Path, gateway: Gateway) -> None:
    clash = Gateway(directory, {"server": {"port": gateway.port}})
    with pytest.raises(AssertionError, match="exited with 1") as caught:
        clash.start()
    assert str(gateway.port) in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_the_process_starts_soon_and_idles_small(directory: Path, one: Provider, two: Provider) -> None:
    with Gateway(directory, {"providers": {"one": {"base_url": one.base_url, "api_key": "sk-x"}}}) as first:
        first.create_key()
    started = time.monotonic()
    with Gateway(directory, {"providers": {"one": {"base_url": one.base_url, "api_key": "sk-x"}}}) as gateway:
        # 1.5 s are asked of a machine of its own; beside a whole test run there is some more.
        assert time.monotonic() - started < 5
        assert gateway.resident_bytes() < 120 * 1024 * 1024


def test_a_hangup_signal_is_answered_in_the_log_and_ends_nothing(gateway: Gateway, key: Key, model: str) -> None:
    os.kill(gateway.pid, signal.SIGHUP)
    eventually(lambda: "SIGHUP: reloading is not supported yet" in gateway.logs(), "the log says what to do instead")
    assert gateway.ask(key, chat(model)).status_code == 200
