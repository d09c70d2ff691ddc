"""What the gateway says when it stands: where it is, and on a first start the keys to try it with."""

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.config.schema import Settings

ADDRESS_FILE: Final = "gateway.address"
GREETING: Final = "greeting"


@dataclass(frozen=True, slots=True)
class AdminKey:
    """`file` is None where the key is configured; `fresh` where it has just been generated."""

    secret: str
    file: Path | None
    fresh: bool


def admin_key(settings: Settings) -> AdminKey:
    """The configured admin key, or the one generated into the state directory."""
    if settings.auth.admin_key is not None:
        return AdminKey(settings.auth.admin_key.get_secret_value(), None, fresh=False)
    file = settings.state.admin_key_file
    with contextlib.suppress(FileNotFoundError):
        return AdminKey(file.read_text().strip(), file, fresh=False)
    key = f"tpa-{secrets.token_urlsafe(32)}"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(f"{key}\n")
    return AdminKey(key, file, fresh=True)


def greet(host: str, port: int, key: AdminKey, told: Mapping[str, Any]) -> None:
    """`told`: the first key's secret, if one was made, and a model to try it with."""
    address = f"http://{_shown(host)}:{port}"
    say = _printer()
    say(f"Turnpike is serving on {address}")
    say(f"Admin page            {address}/admin")
    if key.fresh:
        say(f"Admin key             {key.secret}")
    if key.file is not None:
        say(f"The admin key lies in {key.file}")
    if told["first_key"] is not None:
        say(f"First key             {told['first_key']}   (shown this once)")
        say("")
        say("Try it:")
        say(_CURL.format(address=address, key=told["first_key"], model=told["model"]))
        say("")
        say(_PYTHON.format(address=address, key=told["first_key"], model=told["model"]))
    say("")


@contextlib.contextmanager
def announced(settings: Settings, port: int) -> Iterator[None]:
    """Says where this gateway is, for commands that change things through it."""
    file = settings.state.directory / ADDRESS_FILE
    file.write_text(f"{settings.server.host} {port}\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104  # compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _printer() -> Callable[[str], None]:
    def say(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return say


_CURL: Final = """\
  curl {address}/v1/chat/completions -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'"""

_PYTHON: Final = """\
  from openai import OpenAI
  client = OpenAI(base_url="{address}/v1", api_key="{key}")
  answer = client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "Hello"}}])
  print(answer.choices[0].message.content)"""
