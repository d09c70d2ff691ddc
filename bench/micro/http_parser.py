"""Our HTTP/1 heads against httptools, for a request and an answer. Run: python -m bench.micro.http_parser"""

from functools import partial

import httptools

from bench.micro.timing import show
from gateway.wire import http1

REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8787\r\nContent-Type: application/json\r\nAccept: */*\r\n"
    b"User-Agent: OpenAI/Python 2.8.0\r\nAuthorization: Bearer tp-0123456789-abcdefghijklmnopqrstuvwxyzABCDEFGH\r\n"
    b"X-Stainless-Lang: python\r\nX-Stainless-Runtime: CPython\r\nContent-Length: 1000\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\nx-request-id: req_1\r\n"
    b"openai-processing-ms: 12\r\nDate: Wed, 25 Nov 2026 00:00:00 GMT\r\n\r\n"
)


class Heard:
    """Keeps what httptools tells, as a server must."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def _request(data: bytes) -> Heard:
    heard = Heard()
    httptools.HttpRequestParser(heard).feed_data(data)
    return heard


def _answer(data: bytes) -> Heard:
    heard = Heard()
    httptools.HttpResponseParser(heard).feed_data(data)
    return heard


def main() -> None:
    print(f"a request's head of {len(REQUEST)} bytes")
    show({"ours": partial(http1.parse_request_head, REQUEST), "httptools": partial(_request, REQUEST)})
    print(f"\nan answer's head of {len(ANSWER)} bytes")
    show({"ours": partial(http1.parse_response_head, ANSWER), "httptools": partial(_answer, ANSWER)})


if __name__ == "__main__":
    main()
