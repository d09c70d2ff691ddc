"""Upstream connections by way of an HTTP proxy (CONNECT), where the environment names one."""

import asyncio
import base64
import ssl
from collections.abc import Callable, Coroutine, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from gateway.wire.upstream import Connect, ConnectFailed, Origin

ANSWER_BYTES_MAX: Final = 16384


class _Opening(asyncio.Protocol):
    """Waits for the proxy's answer to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._seen = b""
        self.opened: asyncio.Future[None] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return
        self._seen += data
        if b"\r\n\r\n" not in self._seen and len(self._seen) <= ANSWER_BYTES_MAX:
            return
        status = self._seen.split(b" ", 2)[1:2]
        if status == [b"200"]:
            self.opened.set_result(None)
        else:
            code = status[0].decode("latin-1") if status else "nothing readable"
            self.opened.set_exception(ConnectFailed(f"the proxy answered CONNECT with {code}"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's signature
        if not self.opened.done():
            self.opened.set_exception(ConnectFailed("the proxy closed the connection"))


def proxy_for(origin: Origin, environ: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for this origin: HTTPS_PROXY or HTTP_PROXY (either case), unless NO_PROXY
    excepts it.
    """
    name = "https_proxy" if origin.tls else "http_proxy"
    proxy = environ.get(name) or (environ.get(name.upper()) if origin.tls else None)
    if not proxy or _excepted(origin.host, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    return proxy


def _excepted(host: str, no_proxy: str) -> bool:
    host = host.lower()
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        name = entry.split(":")[0] if entry.count(":") == 1 else entry
        if not name:
            continue
        if name == "*" or host == name.lstrip(".") or host.endswith("." + name.lstrip(".")):
            return True
        try:
            if ip_address(host) in ip_network(name, strict=False):
                return True
        except ValueError:
            continue  # one of the two is a name, not an address
    return host == "localhost" or host.startswith("127.")


def tunnelled_connect(
    origin: Origin, proxy: str, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext | None
) -> Connect:
    """Connects to the origin through the proxy. `proxy` is `http://[user:password@]host:port`."""
    parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    proxy_host = parts.hostname or ""

    async def connect(factory: Callable[[], asyncio.Protocol]) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
        transport, opening = await loop.create_connection(
            lambda: _Opening(loop), proxy_host, parts.port or 8080, ssl=tls if parts.scheme == "https" else None
        )
        where = f"{origin.host}:{origin.port}"
        lines = f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n"
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            lines += f"proxy-authorization: Basic {base64.b64encode(pair).decode()}\r\n"
        transport.write(f"{lines}\r\n".encode("latin-1"))
        try:
            await opening.opened
        except BaseException:
            transport.abort()
            raise
        protocol = factory()
        if not origin.tls or tls is None:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            return transport, protocol
        secured = await loop.start_tls(transport, protocol, tls, server_hostname=origin.host)
        if secured is None:
            raise ConnectFailed("TLS through the proxy failed")
        protocol.connection_made(secured)
        return secured, protocol

    def begin(
        factory: Callable[[], asyncio.Protocol],
    ) -> Coroutine[Any, Any, tuple[asyncio.BaseTransport, asyncio.Protocol]]:
        return connect(factory)

    return begin
