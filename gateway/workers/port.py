"""The port that all workers of a gateway share, held by their parent for as long as the gateway lives.

Each worker listens on a socket of its own (SO_REUSEPORT), among which the kernel divides new connections. So no worker
waits for another to accept, and one that dies takes no more than its own queue along.
"""

import contextlib
import socket
from collections.abc import Iterator

from gateway.workers.refusal import cannot_listen


@contextlib.contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Binds the port, listens on nothing, and gives its number: port 0 is picked here, once for all workers."""
    with contextlib.ExitStack() as bound:
        try:
            families = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
            )
            for family, _, _, _, address in families:
                _demand_free(family, (address[0], port))
                held = bound.enter_context(_socket(family))
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                held.bind((address[0], port))
                port = held.getsockname()[1]
        except OSError as error:
            raise cannot_listen(host, port, error) from error
        yield port


def _demand_free(family: int, address: tuple[object, int]) -> None:
    # Another gateway with workers would share its port with this one, and each would get half of the other's requests.
    with _socket(family) as alone:
        alone.bind(address)


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
