"""The servers that are compared, each as what must be typed to start it: the same mock behind, one core under each."""

import http.client
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import provision
from bench.machine import output_of

ADMIN_KEY = "bench-admin-key-0123456789abcdef0123456789abcdef"
UPSTREAM_KEY = "sk-upstream-0123456789abcdef"
# What a budget may be for; the load's `user` is the end user.
SCOPES = ("organization", "team", "user", "member", "key", "tag", "model", "end_user", "provider")
START_S_MAX = 180.0
STOP_S_MAX = 20.0

# Dollars per million tokens. In nano-dollars a token, so that the bill of n requests is exact, however they are summed.
PRICE_NANO_USD = {"input": 150, "cached_input": 75, "output": 600}


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    port: int
    door: int  # the mock's port behind it
    command: tuple[str, ...] = ()  # none: nothing stands between client and mock
    cwd: Path = provision.ROOT
    log: Path | None = None
    model: str = "gpt-4o-mini"
    key: str = "sk-none"
    version: str = ""
    features: str = ""
    keeps_books: bool = False
    takes_key: bool = False
    budgeted: bool = False


def direct(door: int) -> Target:
    return Target("direct", door, door, features="no gateway")


NGINX = """\
worker_processes 1;
master_process off;
daemon off;
pid "{home}/pid";
error_log "{home}/error.log" warn;
events {{ worker_connections 8192; multi_accept on; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_max_body_size 50m;
  client_body_buffer_size 1m;   # no body of ours touches the disk
  client_body_temp_path "{home}/body";
  proxy_temp_path "{home}/proxy";
  fastcgi_temp_path "{home}/fastcgi";
  uwsgi_temp_path "{home}/uwsgi";
  scgi_temp_path "{home}/scgi";
  upstream mock {{ server 127.0.0.1:{door}; keepalive 2048; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer {upstream_key}";
      proxy_buffering off;      # a stream is passed on as it comes
      proxy_read_timeout 1h;
    }}
  }}
}}
"""


def nginx(port: int, door: int, home: Path) -> Target:
    path = provision.nginx()
    home.mkdir(parents=True)
    (home / "nginx.conf").write_text(NGINX.format(home=home, port=port, door=door, upstream_key=UPSTREAM_KEY))
    return Target(
        "nginx",
        port,
        door,
        (path, "-p", str(home), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")),
        log=home / "log",
        version=output_of([path, "-v"]).removeprefix("nginx version: "),
        features="plain reverse proxy, one process, kept-alive both ways, no access log",
    )


TURNPIKE = """\
server: {{host: 127.0.0.1, port: {port}}}
state: {{directory: "{home}/state"}}
auth: {{admin_key: "env:TURNPIKE_ADMIN_KEY"}}
providers:
  mock: {{dialect: openai, base_url: "http://127.0.0.1:{door}/v1", api_key: "env:MOCK_API_KEY"}}
models:
  chat:
    - {{provider: mock, model: gpt-4o-mini, price: {{input: 0.15, cached_input: 0.075, output: 0.60}}}}
"""


def turnpike(
    command: Sequence[str],
    port: int,
    door: int,
    home: Path,
    *,
    name: str = "turnpike",
    cwd: Path = provision.ROOT,
    budgeted: bool = False,
    keeps_books: bool = True,
) -> Target:
    """As installed by default, in a state directory of its own: nothing is switched off, nothing is tuned."""
    home.mkdir(parents=True)
    (home / "turnpike.yaml").write_text(TURNPIKE.format(home=home, port=port, door=door))
    environment = (f"HOME={home}", "PATH=/usr/bin:/bin", "LANG=C.UTF-8", f"TURNPIKE_ADMIN_KEY={ADMIN_KEY}")
    return Target(
        name,
        port,
        door,
        (
            "env",
            "-i",
            *environment,
            f"MOCK_API_KEY={UPSTREAM_KEY}",
            *command,
            "serve",
            "--config",
            f"{home}/turnpike.yaml",
        ),
        cwd,
        log=home / "log",
        model="chat",
        version=output_of(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd),
        features="key check, "
        + ("ledger and journal, " if keeps_books else "")
        + ("a hard budget on each of nine scopes, " if budgeted else "")
        + "exact cache looked up and kept, metrics, request log on",
        keeps_books=keeps_books,
        takes_key=True,
        budgeted=budgeted,
    )


# What LiteLLM's "Production Best Practices" page advises, without a database: one uvicorn worker, production mode,
# only errors logged, no verbosity, a master key, and an `openai/` deployment, which takes its fastest transport.
LITELLM = """\
model_list:
  - model_name: chat
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "http://127.0.0.1:{door}/v1", api_key: "{upstream_key}"}}
general_settings: {{master_key: sk-bench-litellm}}
litellm_settings: {{set_verbose: false, request_timeout: 600, num_retries: 0}}
"""


def litellm(port: int, door: int, home: Path) -> Target:
    requirement = (provision.HERE / "litellm.in").read_text().strip()
    scripts = provision.environment("litellm", [requirement])
    home.mkdir(parents=True)
    (home / "config.yaml").write_text(LITELLM.format(door=door, upstream_key=UPSTREAM_KEY))
    environment = (
        f"HOME={home}",
        f"PATH={scripts}:/usr/bin:/bin",
        "LANG=C.UTF-8",
        "LITELLM_MODE=PRODUCTION",
        "LITELLM_LOG=ERROR",
        # Prices from its own package: asking the network for them would only slow its start.
        "LITELLM_LOCAL_MODEL_COST_MAP=True",
    )
    arguments = ("--config", f"{home}/config.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1")
    return Target(
        "litellm",
        port,
        door,
        ("env", "-i", *environment, str(scripts / "litellm"), *arguments),
        home,
        log=home / "log",
        model="chat",
        key="sk-bench-litellm",
        version=requirement,
        features="one worker, production mode, errors logged only, a master key checked, no database, no cache",
    )


def other(text: str, port: int, door: int, home: Path) -> Target:
    """`NAME=COMMAND` with {port} and {upstream} in it: any gateway that is not built in."""
    name, _, command = text.partition("=")
    home.mkdir(parents=True)
    words = [word.format(port=port, upstream=f"http://127.0.0.1:{door}/v1") for word in shlex.split(command)]
    return Target(name, port, door, tuple(words), log=home / "log", features="started with --also")


def ask(port: int, path: str, key: str, body: bytes | None = None, timeout_s: float = START_S_MAX) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        headers = {"Authorization": f"Bearer {key}"} | ({"Content-Type": "application/json"} if body else {})
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Running:
    """A target that was started: pinned to its core, in a session of its own, ended with all that it began."""

    def __init__(self, target: Target, core: int) -> None:
        self.target = target
        self._process: subprocess.Popen[bytes] | None = None
        self.core = core

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        if not self.target.command:
            return
        assert self.target.log
        with self.target.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(self.core), *self.target.command],
                cwd=self.target.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_for(self, path: str, body: bytes | None, pause_s: float = 0.001) -> None:
        """Until it answers 200; the pause is short because start-up is timed with this."""
        deadline = time.monotonic() + START_S_MAX
        told = "nothing"
        while time.monotonic() < deadline:
            if self._process and self._process.poll() is not None:
                raise SystemExit(f"bench: {self.target.name} ended at its start: {self.last_words()}")
            try:
                status, answer = ask(self.target.port, path, self.target.key, body)
            except (OSError, http.client.HTTPException) as error:
                told = str(error)
            else:
                if status == 200:
                    return
                told = f"{status} {answer[:200].decode(errors='replace')}"
            time.sleep(pause_s)
        raise SystemExit(f"bench: {self.target.name} is not ready after {START_S_MAX:.0f} s: {told}")

    def take_key(self) -> None:
        """A first key from the admin API, as its user would make one."""
        self.wait_for("/readyz", None)
        wanted: dict[str, object] = {"name": "bench"}
        if self.target.budgeted:
            wanted |= self._give_budgets()
        self.target = replace(self.target, key=self._make("keys", wanted)["key"])

    def _give_budgets(self) -> dict[str, object]:
        """One on every scope that a request can have, far from spent; whose key it is, with a tag on each request."""
        organization = self._make("organizations", {"name": "bench"})["id"]
        team = self._make("teams", {"name": "bench", "organization_id": organization})["id"]
        user = self._make("users", {"name": "bench", "email": "bench@example.com"})["id"]
        self._make(f"teams/{team}/members", {"user_id": user})
        for scope_type in SCOPES:
            scope = {"type": scope_type, "id": "feature=*" if scope_type == "tag" else "*"}
            if scope_type == "member":
                scope |= {"id": user, "team_id": team}
            self._make("budgets", {"scope": scope, "limit_usd": "1000000", "window": "day"})
        return {"team_id": team, "user_id": user, "tags": {"feature": "bench"}}

    def _make(self, what: str, wanted: Mapping[str, object]) -> dict[str, Any]:
        status, answer = ask(self.target.port, f"/admin/v1/{what}", ADMIN_KEY, json.dumps(wanted).encode())
        if status not in (200, 201):
            raise SystemExit(f"bench: POST /admin/v1/{what} answered {status}: {answer[:300].decode(errors='replace')}")
        made: dict[str, Any] = json.loads(answer)
        return made

    def last_words(self) -> str:
        return self.target.log.read_text(errors="replace")[-600:].strip() if self.target.log else ""

    def stop(self) -> None:
        if not self._process:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None


class Mock:
    """The provider, with a door for each target, on the load generator's core."""

    def __init__(self, doors: Sequence[int], core: int) -> None:
        command = ["taskset", "-c", str(core), str(provision.native("mock")), *map(str, doors)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout
        if self._process.stdout.readline() != b"open\n":
            raise SystemExit("bench: the mock did not start: see its line above")

    @property
    def pid(self) -> int:
        return self._process.pid

    def set_manners(self, door: int, *, delay_us: int, chunks: int, gap_us: int) -> None:
        ask(door, f"/mock/set?delay_us={delay_us}&chunks={chunks}&gap_us={gap_us}", "")

    def counts(self, door: int) -> dict[str, int]:
        counts: dict[str, int] = json.loads(ask(door, "/mock/counts", "")[1])
        return counts

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
