"""The real `turnpike serve` as its users start it: a process, a configuration file, a state directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

import httpx

if TYPE_CHECKING:
    from types import TracebackType

READY_S_MAX: Final = 30.0
STOP_S_MAX: Final = 30.0
SETTLED_S_MAX: Final = 20.0
ADMIN_KEY: Final = "admin-key-of-the-tests-0123456789abcdef"
# What the installed `turnpike` does, by the interpreter and from the tree that are under test.
TURNPIKE: Final = (sys.executable, "-c", "import sys; from gateway.cli.main import main; sys.exit(main())")
ROOT: Final = Path(__file__).parents[2]
# What the machine of the tester may hold and what a test must not see.
FOREIGN: Final = (
    "TURNPIKE_",
    "OPENAI_",
    "ANTHROPIC_",
    "GEMINI_",
    "MISTRAL_",
    "GROQ_",
    "DEEPSEEK_",
    "OPENROUTER_",
    "OLLAMA_",
)
PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy", "database_url"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    secret: str
    team_id: str | None = None

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret}"}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def yaml_text(value: object) -> str:
    """JSON, which is YAML, with decimals written digit by digit."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(name))}: {yaml_text(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(yaml_text, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


def eventually(probe: Callable[[], T], what: str, *, within_s: float = SETTLED_S_MAX) -> T:
    """The first true answer of the probe; asked again and again until the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s} s: {what} (last: {found!r})"
        time.sleep(0.01)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - a child process inherits an environment
        if not name.startswith(FOREIGN) and name.lower() not in PROXIES
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


class Gateway:
    """A running gateway. As a context manager it is stopped by SIGTERM and must then exit 0."""

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        admin_key: str | None = ADMIN_KEY,
        workers: int = 1,
    ) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.config_file = directory / "turnpike.yaml"
        self.log_file = directory / "gateway.log"
        self.workers = workers
        self._given_admin_key = admin_key
        self._environ = environment({**({"TURNPIKE_ADMIN_KEY": admin_key} if admin_key else {}), **(environ or {})})
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[httpx.Client] = []
        self._local = threading.local()
        directory.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(yaml_text(self._whole(dict(config or {}))))

    def _whole(self, config: dict[str, object]) -> dict[str, object]:
        server = config.pop("server", {})
        state = config.pop("state", {})
        assert isinstance(server, Mapping)
        assert isinstance(state, Mapping)
        return {
            "server": {"host": "127.0.0.1", "port": self.port, "drain_delay_s": 0, "workers": self.workers, **server},
            "state": {"directory": str(self.state), **state},
            **config,
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = self.stop()
        # A failing test's own failure is the one to read.
        if error is None:
            assert status == 0, f"after SIGTERM the gateway exited with {status}:\n{self.logs()[-3000:]}"

    @property
    def v1(self) -> str:
        return self.base_url + "/v1"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the gateway was not started"
        return self._process.pid

    @property
    def admin_key(self) -> str:
        return self._given_admin_key or (self.state / "admin.key").read_text().strip()

    @property
    def client(self) -> httpx.Client:
        """Each thread's own: a pool that threads share may close a connection under the one that reads from it."""
        assert self._process is not None, "the gateway was not started"
        client: httpx.Client | None = getattr(self._local, "client", None)
        if client is None:
            # The kernel gives a connection to a worker for good: with several, each request makes one of its own.
            limits = httpx.Limits(max_keepalive_connections=None if self.workers == 1 else 0)
            client = httpx.Client(base_url=self.base_url, timeout=30, trust_env=False, limits=limits)
            self._local.client = client
            self._clients.append(client)
        return client

    def start(self) -> None:
        # It is written once every worker listens; one that was killed has left it behind.
        (self.state / "gateway.address").unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*TURNPIKE, "serve", "--config", str(self.config_file)],
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._ready, "GET /readyz answers 200", within_s=READY_S_MAX)

    def _ready(self) -> bool:
        assert self._process is not None
        status = self._process.poll()
        if status is not None:
            self._close()
            raise AssertionError(f"`turnpike serve` exited with {status}:\n{self.logs()[-3000:]}")
        if not (self.state / "gateway.address").exists():
            return False
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def worker_pids(self) -> dict[int, int]:
        """The workers that run, by their index; a gateway of one worker has none beside itself."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        found = {}
        for pid in map(int, children):
            # One that dies at this moment is none.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if any(word.endswith(b"start.py") for word in words):
                    found[int(words[-2])] = pid
        return found

    def terminate(self) -> None:
        """SIGTERM, and no waiting."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: what the books make of it is the next start's affair."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S_MAX)
        self._close()

    def stop(self) -> int:
        """SIGTERM; the exit status. A gateway that does not go is killed, and its status tells."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        self._close()
        try:
            return self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait(STOP_S_MAX)

    def wait(self, within_s: float = STOP_S_MAX) -> int:
        assert self._process is not None
        return self._process.wait(within_s)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _close(self) -> None:
        for client in self._clients:
            client.close()
        self._clients, self._local = [], threading.local()

    def logs(self) -> str:
        return self.log_file.read_text(errors="replace")

    def cli(self, *arguments: str, status: int = 0) -> str:
        """A `turnpike` command beside the running gateway; its standard output."""
        done = subprocess.run(
            [*TURNPIKE, *arguments, "--config", str(self.config_file)],
            cwd=ROOT,
            env={**self._environ, "TURNPIKE_ADMIN_KEY": self.admin_key},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, (
            f"turnpike {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def ask(
        self, key: Key, body: Mapping[str, object] | bytes, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """POST /v1/chat/completions."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**key.bearer, "content-type": "application/json", **(headers or {})}
        return self.client.post("/v1/chat/completions", content=content, headers=sent)

    def admin(self, method: str, path: str, status: int, **more: object) -> httpx.Response:
        """A call of the admin API that must answer with this status."""
        headers = {"authorization": f"Bearer {self.admin_key}"}
        given = more.pop("headers", {})
        assert isinstance(given, Mapping)
        sent = self.client.request(method, f"/admin/v1/{path}", headers={**headers, **given}, **more)  # type: ignore[arg-type]
        assert sent.status_code == status, f"{method} {path}: {sent.status_code} {sent.text}"
        return sent

    def create_key(self, name: str = "test", **fields: object) -> Key:
        made = self.admin("POST", "keys", 201, json={"name": name, **fields}).json()
        return Key(made["id"], made["key"], made.get("team_id"))

    def create_team(self, name: str) -> str:
        made: str = self.admin("POST", "teams", 201, json={"name": name}).json()["id"]
        return made

    def usage(self, group_by: str = "key", **query: str) -> list[dict[str, object]]:
        answer = self.admin("GET", "usage", 200, params={"group_by": group_by, **query})
        rows: list[dict[str, object]] = answer.json()["data"]
        return rows

    def usage_of(self, key: Key, group_by: str = "key", *, requests: int = 1) -> list[dict[str, object]]:
        """The key's rows, once they count so many requests."""
        columns = f"key,{group_by}" if group_by != "key" else "key"

        def counted() -> list[dict[str, object]] | None:
            rows = [row for row in self.usage(columns) if row["key_id"] == key.id]
            return rows if sum(int(str(row["requests"])) for row in rows) >= requests else None

        found = eventually(counted, f"usage shows {requests} requests of {key.id}")
        assert found is not None
        return found

    def request_row(self, request_id: str) -> dict[str, object]:
        """GET /admin/v1/requests/{id}, once it is there."""
        headers = {"authorization": f"Bearer {self.admin_key}"}

        def found() -> dict[str, object] | None:
            answer = self.client.get(f"/admin/v1/requests/{request_id}", headers=headers)
            assert answer.status_code in {200, 404}, answer.text
            row: dict[str, object] | None = answer.json() if answer.status_code == 200 else None
            return row

        row = eventually(found, f"requests/{request_id} is kept")
        assert row is not None
        return row

    def resident_bytes(self) -> int:
        return self._memory("VmRSS")

    def peak_bytes(self) -> int:
        """The most it held since `forget_peak`."""
        return self._memory("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _memory(self, field: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(field + ":"))
        return int(line.split()[1]) * 1024


def error_of(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, object]:
    """The error of an answer, once its shape is that of OpenAI's with the request's id beside it."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"].startswith("application/json")
    document = answer.json()
    error: dict[str, object] = document["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert error["message"]
    assert document["request_id"] == answer.headers["x-request-id"]
    if status < 500 and status not in {408, 429}:
        assert error["type"] == "invalid_request_error"
    if code is not None:
        assert error["code"] == code
    return error


def sse_data(stream: bytes) -> list[bytes]:
    """What the events of a whole stream hold, comments and event names left out."""
    assert stream.endswith(b"\n\n"), f"a stream must end with a whole event: {stream[-80:]!r}"
    lines = (line for event in stream.split(b"\n\n") for line in event.split(b"\n"))
    return [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]


def chat(model: str, content: object = "Say hello.", **more: object) -> dict[str, object]:
    """The body of a chat completion request."""
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}
