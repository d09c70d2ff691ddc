"""The process as those who run it see it: where it says it is, what keeps it from starting, how it goes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fixtures import deployment, hosted
from tests.e2e.gateway import ROOT, TURNPIKE, Gateway, chat, environment, eventually
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.script import FOREVER_S, Pause, Says, broken_stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.provider import Provider

pytestmark = pytest.mark.process


class Started:
    """`turnpike serve --port 0` in a directory of its own."""

    def __init__(self, directory: Path, workers: int = 1) -> None:
        self.state = directory / "state"
        words = [*TURNPIKE, "serve", "--port", "0", "--workers", str(workers)]
        more = {"TURNPIKE_STATE__DIRECTORY": str(self.state), "TURNPIKE_SERVER__DRAIN_DELAY_S": "30"}
        self.process = subprocess.Popen(
            words, cwd=ROOT, env=environment(more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def address(self) -> tuple[str, int]:
        file = self.state / "gateway.address"

        def told() -> str:
            assert self.process.poll() is None, self.process.communicate()[1]
            return file.read_text() if file.exists() else ""

        host, port = eventually(told, "gateway.address is written", within_s=30).split()
        return host, int(port)


@pytest.fixture(params=[1, 2])
def started(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Started]:
    made = Started(tmp_path, request.param)
    yield made
    if made.process.poll() is None:
        made.process.kill()
    made.process.communicate()


def test_on_a_free_port_of_its_own_it_says_where_it_is_and_greets_with_what_to_type(started: Started) -> None:
    host, port = started.address()
    assert host == "127.0.0.1"
    assert port > 0
    with RawClient(port) as client:
        client.send(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n")
        assert client.answer().json() == {"status": "ok", "missing": []}
    began = time.monotonic()
    started.process.send_signal(signal.SIGINT)
    out, _ = started.process.communicate(timeout=20)
    # SIGINT is somebody at a keyboard: the 30 s for load balancers are not waited out.
    assert time.monotonic() - began < 15
    assert started.process.returncode == 0
    assert not (started.state / "gateway.address").exists()
    assert f"Turnpike is serving on http://127.0.0.1:{port}\n" in out
    for said in (f"http://127.0.0.1:{port}/admin", "tpa-", "tp-", "demo/echo", "curl ", "from openai import OpenAI"):
        assert said in out
    assert stat.S_IMODE((started.state / "admin.key").stat().st_mode) == 0o600


def refused(directory: Path, **config: object) -> str:
    """The one line of a gateway that could not start."""
    gateway = Gateway(directory, config)
    with pytest.raises(AssertionError, match="exited with 1"):
        gateway.start()
    [line] = gateway.logs().splitlines()
    assert line.startswith("turnpike: ")
    return line


def test_a_state_directory_that_cannot_be_made_is_one_line(directory: Path) -> None:
    directory.mkdir()
    (directory / "file").write_text("")
    line = refused(directory, state={"directory": str(directory / "file" / "state")})
    assert str(directory / "file" / "state") in line
    assert "name another" in line


def test_a_port_that_is_taken_is_one_line_and_leaves_nothing_behind(gateway: Gateway, directory: Path) -> None:
    line = refused(directory, server={"port": gateway.port})
    assert f"127.0.0.1:{gateway.port}" in line
    assert "set server.port" in line
    assert not (directory / "state" / "gateway.address").exists()


def test_a_second_signal_changes_nothing_and_the_last_stream_is_settled(
    directory: Path, one: Provider, two: Provider, model: str
) -> None:
    config = {
        "providers": hosted(one, two),
        "models": {model: [deployment("one", model)]},
        "server": {"drain_delay_s": 0, "drain_seconds_max": 1},
    }
    one.always(model, broken_stream(Says(), Pause(FOREVER_S), after=3))
    with Gateway(directory, config) as gateway:
        key = gateway.create_key()
        with RawClient(gateway.port) as client:
            client.send(request_bytes(json.dumps(chat(model, stream=True, max_tokens=50)).encode(), key.secret))
            client.read_until(b"Hello")
            gateway.terminate()
            os.kill(gateway.pid, signal.SIGINT)
            assert b"[DONE]" not in client.rest()
        assert gateway.wait() == 0
    with Gateway(directory, config) as again:
        [row] = again.usage_of(key)
        assert row["estimated_usd"] == row["cost_usd"] != "0.000000000"
