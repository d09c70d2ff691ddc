"""A running gateway is found where it is, asked with the right key, and what is no gateway is told from one."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from gateway.cli.reach import ADDRESS_FILE, announced
from tests.gateway.cli.fake_gateway import ADMIN_KEY, FakeGateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.cli.conftest import Home


def test_a_gateway_that_was_given_another_port_is_found_by_what_it_left(home: Home, gateway: FakeGateway) -> None:
    home.state.mkdir()
    (home.state / ADDRESS_FILE).write_text(f"0.0.0.0 {gateway.port}\n")
    home.configure("server: {port: 1}")
    assert home.run("teams", "list", TURNPIKE_ADMIN_KEY=ADMIN_KEY).status == 0
    assert gateway.asked


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1 http", "127.0.0.1 1", "127.0.0.1 99999", "127.0.0.1 -1"])
def test_an_address_that_leads_nowhere_is_passed_over(served: Home, gateway: FakeGateway, text: str) -> None:
    served.state.mkdir()
    (served.state / ADDRESS_FILE).write_text(text)
    assert served.run("teams", "list").status == 0
    assert gateway.asked


@pytest.mark.parametrize(
    ("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::1", "::1"), ("a.test", "a.test")]
)
def test_an_address_to_listen_on_becomes_one_to_connect_to(home: Home, host: str, reached: str) -> None:
    (home.folder / ADDRESS_FILE).write_text(f"{host} 80\n")
    assert announced(home.folder) == (reached, 80)


def test_the_generated_admin_key_is_read_from_the_state_directory(home: Home, gateway: FakeGateway) -> None:
    home.configure(f"server: {{port: {gateway.port}}}")
    missing = home.run("teams", "list")
    assert missing.status == 1
    assert "its admin key is not known here: set TURNPIKE_ADMIN_KEY" in missing.err
    home.state.mkdir()
    (home.state / "admin.key").write_text(f"{ADMIN_KEY}\n")
    assert home.run("teams", "list").status == 0


def test_a_refused_admin_key_says_which_to_set_and_does_not_repeat_it(home: Home, gateway: FakeGateway) -> None:
    home.configure(f"server: {{port: {gateway.port}}}")
    said = home.run("teams", "list", TURNPIKE_ADMIN_KEY="tp-wrong")
    assert said.status == 1
    assert "refused the admin key; set TURNPIKE_ADMIN_KEY" in said.err
    assert "tp-wrong" not in said.err


@pytest.mark.parametrize("raw", [(404, b"<html>nginx</html>"), (200, b"hello"), (404, b'{"error": {}}'), (500, b"")])
def test_something_else_on_the_port_is_no_gateway(served: Home, gateway: FakeGateway, raw: tuple[int, bytes]) -> None:
    gateway.raw = raw
    said = served.run("teams", "list")
    assert said.status == 1
    assert f"answered {raw[0]} and is no Turnpike gateway; check server.host and server.port" in said.err


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes a connection and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        from threading import Thread

        def hang_up() -> None:
            try:
                while True:
                    server.accept()[0].close()
            except OSError:
                return

        thread = Thread(target=hang_up)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_gateway_that_breaks_off_is_one_line(home: Home, mute: int) -> None:
    home.configure(f"server: {{port: {mute}}}\nauth: {{admin_key: {ADMIN_KEY}}}")
    said = home.run("teams", "list")
    assert said.status == 1
    assert f"the gateway at http://127.0.0.1:{mute} broke off: " in said.err
    assert said.err.count("\n") == 1


def test_a_host_that_nobody_knows_is_one_line(home: Home) -> None:
    home.configure("server: {host: no.such.host.invalid, port: 80}")
    said = home.run("teams", "list")
    assert said.status == 1
    assert "whether a gateway runs at no.such.host.invalid:80 cannot be told" in said.err


def test_a_bad_configuration_is_one_line_before_anything_is_asked(home: Home, gateway: FakeGateway) -> None:
    home.configure(f"server: {{port: {gateway.port}}}\nserverr: 1")
    said = home.run("teams", "list")
    assert said.err == 'turnpike: turnpike.yaml:2: serverr is unknown; did you mean "server"?\n'
    assert gateway.asked == []


def test_config_names_another_file(home: Home, gateway: FakeGateway) -> None:
    (home.folder / "other.yaml").write_text(f"server: {{port: {gateway.port}}}\nauth: {{admin_key: {ADMIN_KEY}}}")
    assert home.run("teams", "list", "--config", "other.yaml").status == 0
    assert "gone.yaml: there is no such file" in home.run("teams", "list", "--config", "gone.yaml").err
