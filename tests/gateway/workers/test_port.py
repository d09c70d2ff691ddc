"""One port for all workers, and for no other gateway."""

from __future__ import annotations

import socket

import pytest

from gateway.workers.port import reserved
from gateway.workers.refusal import CannotServe


def listening(host: str, port: int) -> socket.socket:
    """As a worker listens."""
    made = socket.create_server((host, port), reuse_port=True)
    made.settimeout(5)
    return made


def test_a_free_port_is_picked_and_workers_may_listen_on_it() -> None:
    with reserved("127.0.0.1", 0) as port, listening("127.0.0.1", port) as one, listening("127.0.0.1", port):
        assert one.getsockname()[1] == port
        # Nobody is given a connection but who listens.
        for _ in range(20):
            socket.create_connection(("127.0.0.1", port), 5).close()


def test_one_that_somebody_listens_on_is_refused_though_it_could_be_shared() -> None:
    with (
        reserved("127.0.0.1", 0) as port,
        listening("127.0.0.1", port),
        pytest.raises(CannotServe, match=rf"cannot listen on 127\.0\.0\.1:{port}.*set server\.port"),
        reserved("127.0.0.1", port),
    ):
        pass


def test_an_address_that_this_machine_has_not_is_refused_in_words() -> None:
    with pytest.raises(CannotServe, match=r"cannot listen on 192\.0\.2\.1:0"), reserved("192.0.2.1", 0):
        pass
    with pytest.raises(CannotServe, match=r"cannot listen on nosuch\.invalid:0"), reserved("nosuch.invalid", 0):
        pass


def test_all_addresses_of_a_name_get_the_same_port() -> None:
    with reserved("localhost", 0) as port, listening("127.0.0.1", port):
        socket.create_connection(("127.0.0.1", port), 5).close()
