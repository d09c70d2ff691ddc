"""By way of a proxy: which one the environment names, and that at its end is a connection like any other."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from typing import TYPE_CHECKING, Final

import pytest

from gateway.wire.tunnel import ANSWER_BYTES_MAX, proxy_for, tunnelled_connect
from gateway.wire.upstream import ConnectFailed, ConnectTimedOut, Origin
from tests.fakes.certificate import Certificate, make_certificate
from tests.fakes.provider import closed_port
from tests.wire.listening import Listening
from tests.wire.test_upstream import Kept, over

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gateway.wire.upstream import Pool

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


class Proxy:
    """A CONNECT proxy on loopback that leads everywhere to one port, or answers as told."""

    def __init__(self, listening: Listening, to_port: int = 0, says: bytes | None = None) -> None:
        self.asked: list[bytes] = []
        self._listening = listening
        self._to_port = to_port
        self._says = says

    async def at(self, tls: ssl.SSLContext | None = None) -> int:
        return await self._listening.at(self._serve, tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        if self._says is not None:
            writer.write(self._says)
            await writer.drain()
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        self._listening.owns(far_writer)
        # In two pieces, as it may come.
        writer.write(b"HTTP/1.1 200 Connection est")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"ablished\r\nvia: test\r\n\r\n")
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(reader, far_writer))
            both.create_task(_pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # one side has gone; so does the other
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request of seven bytes."""
    while True:
        await reader.readexactly(7)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")


def through(
    listening: Listening, proxy: str, url: str, tls: ssl.SSLContext | None = None, connect_s: float = 5
) -> Pool:
    connect = tunnelled_connect(Origin.of(url), proxy, asyncio.get_running_loop(), tls)
    return listening.pool(url, connect, connect_s=connect_s)


async def said(pool: Pool) -> bytes:
    connection = pool.idle() or await pool.connect()
    connection.send(b"request", sink := Kept())
    await over(sink)
    assert sink.error is None
    return sink.received


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    made = Listening()
    yield made
    await made.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def trusting(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.file))


async def test_plain_http_goes_through_and_the_connection_is_used_again(listening: Listening) -> None:
    proxy = Proxy(listening, await listening.at(hello))
    pool = through(listening, f"http://ada:p%40ss@127.0.0.1:{await proxy.at()}", "http://api.test:8080/v1")
    assert await said(pool) == b"hello"
    assert await said(pool) == b"hello"
    [asked] = proxy.asked
    credentials = base64.b64encode(b"ada:p@ss")
    assert asked == (
        b"CONNECT api.test:8080 HTTP/1.1\r\nhost: api.test:8080\r\n"
        b"proxy-authorization: Basic " + credentials + b"\r\n\r\n"
    )


async def test_tls_is_spoken_with_the_provider_and_not_with_the_proxy(
    listening: Listening, certificate: Certificate
) -> None:
    proxy = Proxy(listening, await listening.at(hello, certificate.server_context()))
    where = f"127.0.0.1:{await proxy.at()}"
    assert await said(through(listening, where, "https://localhost", trusting(certificate))) == b"hello"
    assert proxy.asked[0].startswith(b"CONNECT localhost:443 HTTP/1.1\r\n")
    with pytest.raises(ConnectFailed, match="TLS failed"):
        await through(listening, where, "https://other.test", trusting(certificate)).connect()


async def test_a_proxy_may_itself_be_spoken_to_in_tls(listening: Listening, certificate: Certificate) -> None:
    proxy = Proxy(listening, await listening.at(hello))
    where = f"https://localhost:{await proxy.at(certificate.server_context())}"
    assert await said(through(listening, where, "http://api.test", trusting(certificate))) == b"hello"


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
async def test_a_proxy_that_refuses_is_told(listening: Listening, says: bytes, told: str) -> None:
    port = await Proxy(listening, says=says).at()
    with pytest.raises(ConnectFailed, match=told):
        await through(listening, f"http://127.0.0.1:{port}", "http://api.test").connect()


async def test_a_proxy_that_is_not_there_or_does_not_answer_is_told(listening: Listening) -> None:
    with pytest.raises(ConnectFailed, match="refused"):
        await through(listening, f"http://127.0.0.1:{closed_port()}", "http://api.test").connect()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    port = await listening.at(silent)
    with pytest.raises(ConnectTimedOut):
        await through(listening, f"http://127.0.0.1:{port}", "http://api.test", connect_s=0.1).connect()
