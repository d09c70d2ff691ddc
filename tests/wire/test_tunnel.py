"""By way of a proxy: which one the environment names, and that what comes out at its end is a connection like any other."""

from __future__ import annotations

import asyncio
import base64
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import pytest

from gateway.wire.tunnel import ANSWER_BYTES_MAX, proxy_for, tunnelled_connect
from gateway.wire.upstream import ConnectFailed, ConnectTimedOut, Origin, Pool
from tests.fakes.certificate import Certificate, make_certificate
from tests.wire.test_upstream import Kept, over

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

PROXY: Final = "http://proxy.test:3128"
PLAIN: Final = Origin.of("http://api.test/v1")
SECURE: Final = Origin.of("https://api.test/v1")


@pytest.mark.parametrize(
    ("origin", "environ", "found"),
    [
        (SECURE, {"HTTPS_PROXY": PROXY}, PROXY),
        (SECURE, {"https_proxy": PROXY}, PROXY),
        (SECURE, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, PROXY),
        (SECURE, {"HTTP_PROXY": PROXY, "http_proxy": PROXY}, None),
        (PLAIN, {"http_proxy": PROXY}, PROXY),
        # In upper case it may come from a request's `Proxy:` header, where a CGI script is called (CVE-2016-5385).
        (PLAIN, {"HTTP_PROXY": PROXY}, None),
        (PLAIN, {"https_proxy": PROXY}, None),
        (SECURE, {"https_proxy": ""}, None),
        (SECURE, {}, None),
    ],
)
def test_the_environment_names_the_proxy(origin: Origin, environ: Mapping[str, str], found: str | None) -> None:
    assert proxy_for(origin, environ) == found


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("api.test", "api.test", True),
        ("API.test", "api.TEST", True),
        ("api.test", "test", True),
        ("api.test", ".test", True),
        ("api.test", "other, api.test", True),
        ("api.test", "api.test:443", True),
        ("api.test", "*", True),
        ("myapi.test", "api.test", False),
        ("api.test.evil", "api.test", False),
        ("api.test", "", False),
        ("api.test", ",,", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "api.test", False),
        ("fd00::1", "fd00::/8", True),
        ("localhost", "", True),
        ("127.0.0.2", "", True),
    ],
)
def test_no_proxy_excepts_names_below_it_networks_and_all(host: str, no_proxy: str, direct: bool) -> None:
    origin = Origin(tls=True, host=host, port=443, path="")
    assert (proxy_for(origin, {"https_proxy": PROXY, "no_proxy": no_proxy}) is None) is direct
    assert (proxy_for(origin, {"https_proxy": PROXY, "NO_PROXY": no_proxy}) is None) is direct


@dataclass
class Proxy:
    """A CONNECT proxy on loopback that leads everywhere to one port, or answers as told."""

    to_port: int = 0
    says: bytes | None = None
    tls: ssl.SSLContext | None = None
    asked: list[bytes] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        if self.says is not None:
            writer.write(self.says)
            await writer.drain()
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        # In two pieces, as it may come.
        writer.write(b"HTTP/1.1 200 Connection est")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"ablished\r\nvia: test\r\n\r\n")
        self._tasks |= {
            asyncio.create_task(_pump(reader, far_writer)),
            asyncio.create_task(_pump(far_reader, writer)),
        }


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass  # one side has gone; so does the other
    finally:
        writer.close()


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request of seven bytes."""
    try:
        while True:
            await reader.readexactly(7)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def pool_through(proxy: str, url: str, tls: ssl.SSLContext | None = None, connect_s: float = 5) -> Pool:
    loop = asyncio.get_running_loop()
    origin = Origin.of(url)
    return Pool(origin, tunnelled_connect(origin, proxy, loop, tls), loop, connect_s=connect_s)


async def said(pool: Pool) -> bytes:
    connection = pool.idle() or await pool.connect()
    connection.send(b"request", sink := Kept())
    await over(sink)
    assert sink.error is None
    return sink.received


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def trusting(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.file))


async def test_plain_http_goes_through_and_the_connection_is_used_again() -> None:
    provider = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with Proxy(provider.sockets[0].getsockname()[1]) as proxy:
        pool = pool_through(f"http://ada:p%40ss@127.0.0.1:{proxy.port}", "http://api.test:8080/v1")
        assert await said(pool) == b"hello"
        assert await said(pool) == b"hello"
        [asked] = proxy.asked
        credentials = base64.b64encode(b"ada:p@ss")
        assert asked == (
            b"CONNECT api.test:8080 HTTP/1.1\r\nhost: api.test:8080\r\n"
            b"proxy-authorization: Basic " + credentials + b"\r\n\r\n"
        )
        pool.close()
    provider.close()


async def test_tls_is_spoken_with_the_provider_and_not_with_the_proxy(certificate: Certificate) -> None:
    provider = await asyncio.start_server(hello, "127.0.0.1", 0, ssl=certificate.server_context())
    async with Proxy(provider.sockets[0].getsockname()[1]) as proxy:
        pool = pool_through(f"127.0.0.1:{proxy.port}", "https://localhost", trusting(certificate))
        assert await said(pool) == b"hello"
        assert proxy.asked[0].startswith(b"CONNECT localhost:443 HTTP/1.1\r\n")
        pool.close()
        with pytest.raises(ConnectFailed, match="TLS failed"):
            await pool_through(f"127.0.0.1:{proxy.port}", "https://other.test", trusting(certificate)).connect()
    provider.close()


async def test_a_proxy_may_itself_be_spoken_to_in_tls(certificate: Certificate) -> None:
    provider = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with Proxy(provider.sockets[0].getsockname()[1], tls=certificate.server_context()) as proxy:
        pool = pool_through(f"https://localhost:{proxy.port}", "http://api.test", trusting(certificate))
        assert await said(pool) == b"hello"
        pool.close()
    provider.close()


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered CONNECT with 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\nno", "answered CONNECT with 502"),
        (b"nonsense\r\n\r\n", "answered CONNECT with nothing readable"),
        (b"HTTP/1.1 200 OK", "the proxy closed the connection"),
        (b"", "the proxy closed the connection"),
        (b"x" * (ANSWER_BYTES_MAX + 1), "answered CONNECT with nothing readable"),
    ],
)
async def test_a_proxy_that_refuses_is_told(says: bytes, told: str) -> None:
    async with Proxy(says=says) as proxy:
        with pytest.raises(ConnectFailed, match=told):
            await pool_through(f"http://127.0.0.1:{proxy.port}", "http://api.test").connect()


async def test_a_proxy_that_is_not_there_or_does_not_answer_is_told() -> None:
    async with Proxy(says=b"") as proxy:
        port = proxy.port
    with pytest.raises(ConnectFailed, match="refused"):
        await pool_through(f"http://127.0.0.1:{port}", "http://api.test").connect()
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(0), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(ConnectTimedOut):
        await pool_through(f"http://127.0.0.1:{port}", "http://api.test", connect_s=0.1).connect()
    silent.close()
