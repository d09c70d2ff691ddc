"""HTTP/1.1 from the client's side, byte for byte: it sends what no library would and reads without mercy."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

READ_S_MAX: Final = 60.0  # a machine whose disk is busy holds up whoever writes a journal


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    head: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> dict[str, object]:
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document

    def error(self) -> dict[str, object]:
        error = self.json()["error"]
        assert isinstance(error, dict)
        return error


class RawClient:
    """One connection. Use as a context manager."""

    def __init__(self, port: int, receive_buffer_bytes: int | None = None) -> None:
        self._sock = socket.socket()
        if receive_buffer_bytes:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._sock.settimeout(READ_S_MAX)
        self._sock.connect(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._sock.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def send_if_open(self, data: bytes) -> bool:
        """False when the other side has already hung up."""
        try:
            self._sock.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            return False
        return True

    def answered(self) -> bool:
        """Is there something to read already?"""
        return bool(self._buffer) or bool(select.select([self._sock], [], [], 0)[0])

    def half_close(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def half_close_if_open(self) -> None:
        with contextlib.suppress(OSError):
            self.half_close()

    def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def read_some(self) -> bytes:
        if not self._buffer:
            self._more()
        data, self._buffer = self._buffer, b""
        return data

    def read_until(self, marker: bytes) -> bytes:
        while marker not in self._buffer:
            self._more()
        data, found, self._buffer = self._buffer.partition(marker)
        return data + found

    def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer, whole; interim 1xx ones are passed over."""
        while True:
            head = self.read_head()
            first, *lines = head[:-4].decode("latin-1").split("\r\n")
            assert first.startswith("HTTP/1.1 "), first
            status = int(first.split()[1])
            if status >= 200:
                break
        headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        return Answer(status, headers, self._body(dict(headers), status, to_head=to_head), head)

    def closed(self, within_s: float = 2.0) -> bool:
        """Has the other side hung up, with nothing more to read?"""
        if self._buffer:
            return False
        self._sock.settimeout(within_s)
        try:
            return self._sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        finally:
            self._sock.settimeout(READ_S_MAX)

    def rest(self) -> bytes:
        """Everything up to the other side's end."""
        deadline = time.monotonic() + READ_S_MAX
        while time.monotonic() < deadline:
            try:
                data = self._sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                out, self._buffer = self._buffer, b""
                return out
            self._buffer += data
        raise AssertionError(f"the connection was still open after {READ_S_MAX} s")

    def _body(self, headers: Mapping[str, str], status: int, *, to_head: bool) -> bytes:
        if to_head or status in {204, 304}:
            return b""
        if headers.get("transfer-encoding") == "chunked":
            return self._chunks()
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        return self.rest()

    def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int(self.read_until(b"\r\n"), 16)
            body += self._exactly(size)
            assert self._exactly(2) == b"\r\n"
            if size == 0:
                return body

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _more(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise ConnectionError(f"the connection ended; unread: {self._buffer[:200]!r}")
        self._buffer += data


def request_bytes(
    body: bytes,
    secret: str,
    *,
    target: str = "/v1/chat/completions",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    method: str = "POST",
) -> bytes:
    """A plain request with a content-length."""
    lines = [
        f"{method} {target} HTTP/1.1".encode(),
        b"host: gateway.test",
        b"authorization: Bearer " + secret.encode(),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        *(name + b": " + value for name, value in headers),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
