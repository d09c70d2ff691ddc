"""Which path leads where. Hot paths run as errands, reads of memory answer at once, all else goes to the ASGI
application.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import unquote

import orjson

from gateway.caller import facts_of
from gateway.catalogue import model_page, model_view
from gateway.chat import authenticate, chat_completions
from gateway.errors import InvalidKey, MethodNotAllowed, NotFound, Refusal, Rendered, render
from gateway.key_report import KeyReport
from gateway.ride import Ride, error_head
from gateway.services import Services
from gateway.wire.asgi import Application, AsgiCall
from gateway.wire.headers import status_line
from gateway.wire.http1 import RequestHead
from gateway.wire.server import Limits, ServerConnection, Work

JSON: Final = b"application/json"
METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1", ""})
CHAT: Final = "/v1/chat/completions"
ADMIN: Final = "/admin"
ORGANIZATION: Final = "/v1/organization/"
KEY: Final = "/v1/key"
KEY_USAGE: Final = "/v1/key/usage"
METRICS: Final = "/metrics"


class Readiness(Protocol):
    """What is missing before this process can serve; empty when it can."""

    def __call__(self) -> tuple[str, ...]: ...


class FrontDoor:
    """Answers every request that came in whole."""

    def __init__(
        self,
        services: Services,
        limits: Limits,
        *,
        missing: Readiness,
        admin: Application,
        key_report: KeyReport,
        metrics_token_digest: bytes | None,
        token_digest: Callable[[bytes], bytes],
        metrics_of_all: Application | None = None,
    ) -> None:
        self.limits = limits
        self.connections: set[ServerConnection] = set()
        self.closing = False
        self._s = services
        self._missing = missing
        self._admin = admin
        self._key_report = key_report
        self._metrics_token_digest = metrics_token_digest
        self._token_digest = token_digest
        self._metrics_of_all = metrics_of_all
        self._reads: Mapping[str, Callable[[ServerConnection, RequestHead, str], None]] = {
            "/healthz": self._healthz, "/health/liveliness": self._healthz, "/health/liveness": self._healthz,
            "/readyz": self._readyz, "/health/readiness": self._readyz,
            METRICS: self._metrics,
            "/v1/models": self._models,
        }  # fmt: skip

    def serve(self, connection: ServerConnection, head: RequestHead, body: bytes) -> Work | None:
        path = head.path
        if path == CHAT and head.method == "POST":
            ride = Ride(self._s, connection, head, body)
            self._s.gate.in_flight += 1
            ride.start(chat_completions(self._s, ride))
            return None if ride.over else ride
        if path == ADMIN or path.startswith(("/admin/", ORGANIZATION)):
            return self._asgi(self._admin, connection, head, body)
        if path in (KEY, KEY_USAGE) and head.method in ("GET", "HEAD"):
            return self._of_key(connection, head)
        if path == METRICS and self._metrics_of_all is not None and head.method in ("GET", "HEAD"):
            return self._all_metrics(self._metrics_of_all, connection, head)
        request_id = self._s.mint_id()
        try:
            self._read(connection, head, path, request_id)
        except Exception as error:  # noqa: BLE001  # the one place where a failed read becomes an answer
            self._refuse(connection, error, request_id)
        return None

    def refusal(self, status: int, code: str, message: str) -> tuple[bytes, bytes]:
        """For what never became a request: its shape is OpenAI's all the same."""
        request_id = self._s.mint_id()
        rendered = render(Refusal(message, code=code), request_id)
        rendered = Rendered(status, code, (), rendered.body.replace(b'"server_error"', b'"invalid_request_error"', 1))
        return error_head(rendered, request_id), rendered.body

    def _all_metrics(self, application: Application, connection: ServerConnection, head: RequestHead) -> Work | None:
        try:
            self._demand_scraper(connection, head)
        except Refusal as error:
            self._refuse(connection, error, self._s.mint_id())
            return None
        return self._asgi(application, connection, head, b"")

    def _asgi(self, application: Application, connection: ServerConnection, head: RequestHead, body: bytes) -> Work:
        request_id = self._s.mint_id()
        return AsgiCall(
            application, connection, head, body,
            request_id=request_id, status_line=status_line,
            on_failure=lambda error: self._s.metrics.surprise(request_id, error),
        )  # fmt: skip

    def _read(self, connection: ServerConnection, head: RequestHead, path: str, request_id: str) -> None:
        read = self._reads.get(path)
        if read is None and path.startswith("/v1/models/"):
            read = self._model
        if read is None:
            if path in (CHAT, KEY, KEY_USAGE):
                raise MethodNotAllowed(path, "POST" if path == CHAT else "GET, HEAD")
            raise NotFound(f"no such path: {head.method} {path[:200]}")
        if head.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(path[:200], "GET, HEAD")
        read(connection, head, request_id)

    def _refuse(self, connection: ServerConnection, error: Exception, request_id: str) -> None:
        rendered = render(error, request_id)
        if rendered.code == "internal_error":
            self._s.metrics.surprise(request_id, error)
        connection.reply(error_head(rendered, request_id), rendered.body)

    def _reply(
        self, connection: ServerConnection, status: int, content_type: bytes, body: bytes, request_id: str
    ) -> None:
        head = b"%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n" % (
            status_line(status), content_type, len(body), request_id.encode(),
        )  # fmt: skip
        connection.reply(head, body)

    def _healthz(self, connection: ServerConnection, _: RequestHead, request_id: str) -> None:
        self._reply(connection, 200, JSON, b'{"status":"ok"}', request_id)

    def _readyz(self, connection: ServerConnection, _: RequestHead, request_id: str) -> None:
        missing = self._missing()
        body = orjson.dumps({"status": "not ready" if missing else "ok", "missing": list(missing)})
        self._reply(connection, 503 if missing else 200, JSON, body, request_id)

    def _metrics(self, connection: ServerConnection, head: RequestHead, request_id: str) -> None:
        self._demand_scraper(connection, head)
        self._reply(connection, 200, METRICS_TYPE, self._s.metrics.render(), request_id)

    def _demand_scraper(self, connection: ServerConnection, head: RequestHead) -> None:
        if self._metrics_token_digest is None:
            if connection.peer not in LOOPBACK:
                raise NotFound("metrics answer loopback alone: set metrics.token to read them from elsewhere")
        else:
            scheme, _, token = (head.get(b"authorization") or b"").partition(b" ")
            if scheme.lower() != b"bearer" or self._token_digest(token.strip()) != self._metrics_token_digest:
                raise InvalidKey("send the metrics token: `Authorization: Bearer …`")

    def _models(self, connection: ServerConnection, head: RequestHead, request_id: str) -> None:
        key = authenticate(self._s, facts_of(head), connection, self._s.clock())
        self._reply(connection, 200, JSON, orjson.dumps(model_page(self._s, key)), request_id)

    def _model(self, connection: ServerConnection, head: RequestHead, request_id: str) -> None:
        key = authenticate(self._s, facts_of(head), connection, self._s.clock())
        name = unquote(head.path.removeprefix("/v1/models/"))
        self._reply(connection, 200, JSON, orjson.dumps(model_view(self._s, key, name)), request_id)

    def _of_key(self, connection: ServerConnection, head: RequestHead) -> Work | None:
        """What a key may know of itself; whose it is, is decided before anything is looked up."""
        try:
            key = authenticate(self._s, facts_of(head), connection, self._s.clock())
        except Refusal as error:
            self._refuse(connection, error, self._s.mint_id())
            return None
        return self._asgi(self._key_report.about(key), connection, head, b"")
