"""The pages are examples that run: each snippet against a real gateway, the metrics against what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from tests.e2e.fixtures import ONE, TWO
from tests.e2e.gateway import ROOT, TURNPIKE, Gateway, Key, chat, environment, error_of, eventually
from tests.fakes.provider import Provider
from tests.fakes.script import Close, Says, broken_stream, refusal
from tests.tidy.test_docs import Snippet, snippets, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAKE_VLLM: Final = ROOT / "tests" / "local_backend" / "fake_vllm.py"
LOCAL_COMMAND: Final = f"[{sys.executable}, {FAKE_VLLM}, serve]"
# These would install or download something, or serve until they are stopped: looked at word by word instead.
HEAVY: Final = re.compile(r"^(?:\w+=\S+ )*(?:make|git|python -m|\S*turnpike local install|export)\b", re.MULTILINE)
LOCAL: Final = "docs/local-models.md"
RUNNING: Final = [snippet for snippet in snippets("bash", "python") if not HEAVY.search(snippet.text)]
STANDING: Final = [snippet for snippet in snippets("bash") if HEAVY.search(snippet.text)]
PAGES: Final = sorted({snippet.page.as_posix() for snippet in RUNNING})


def whole_yaml(page: str) -> str:
    """The page's one configuration."""
    (found,) = (snippet.text for snippet in snippets("yaml") if snippet.page.as_posix() == page)
    return found


class Reader:
    """Somebody who follows a page: a folder with turnpike.yaml in it, a key, and `turnpike` where the page has it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.folder = gateway.directory
        self._key = gateway.create_key("reader")
        programs = self.folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        program = programs / "turnpike"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(TURNPIKE)} "$@"\n')
        program.chmod(0o755)
        self._environ = environment(
            {
                "PATH": f"{programs}:{os.environ['PATH']}",  # noqa: TID251 - the machine's own programs
                "PYTHONPATH": str(ROOT),
                "TURNPIKE_KEY": self._key.secret,
                "TURNPIKE_ADMIN_KEY": gateway.admin_key,
                "STATE_DIRECTORY": str(gateway.state),
            }
        )

    def follow(self, snippet: Snippet) -> str:
        """Runs the snippet as it stands, but for the port; what it printed. It must not fail."""
        text = snippet.text.replace("http://127.0.0.1:8787", self.gateway.base_url)
        assert text != snippet.text or "8787" not in text, f"{snippet} reaches a gateway by another address"
        program = ["bash", "-euo", "pipefail", "-c"] if snippet.language == "bash" else [sys.executable, "-c"]
        done = subprocess.run(
            [*program, text],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{snippet}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(params=PAGES, scope="module")
def page(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def reader(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    gateway = Gateway(tmp_path_factory.mktemp("reader"), environ={"TURNPIKE_LOCAL__COMMAND": LOCAL_COMMAND})
    if page == LOCAL:
        own = f"server: {{port: {gateway.port}, drain_delay_s: 0}}\nstate: {{directory: {gateway.state}}}\n"
        gateway.config_file.write_text(own + whole_yaml(page))
    with gateway:
        yield Reader(gateway)


@pytest.mark.slow
def test_what_a_page_says_to_type_works_from_its_top_to_its_end(page: str, reader: Reader) -> None:
    assert shutil.which("curl"), "curl is missing, which pages use: apt-get install curl"
    printed = [reader.follow(snippet) for snippet in RUNNING if snippet.page.as_posix() == page]
    assert any(printed), "something was shown"
    if page == "README.md":
        assert (
            sum("(simulated by Turnpike: no provider is configured) You said: Is the road open?" in t for t in printed)
            == 2
        )
        assert re.search(r"\btp-\w+-\w+", "".join(printed)), "a key's secret was shown"
        assert re.search(r"echo +\S+ +2 ", printed[-2] + printed[-1]), "and two requests were counted"
    if page == "docs/operations.md":
        assert (reader.folder / "backup.db").stat().st_size > 0
    if page == LOCAL:
        assert "qwen-small" in "".join(printed)


@pytest.mark.parametrize("snippet", STANDING, ids=str)
def test_what_would_install_or_serve_is_sound_word_by_word(snippet: Snippet) -> None:
    for line in snippet.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.partition(">")[0])
        while re.fullmatch(r"[A-Z_]+=\S+", words[0]):
            words = words[1:]
        program, *rest = words
        if program == "make":
            # ARGS is quoted by make itself; `-n` says what it would do, and fails where it knows no such target.
            subprocess.run(["make", "-n", *rest], cwd=ROOT, check=True, capture_output=True, timeout=60)
        elif program.endswith("turnpike"):
            from gateway.cli.grammar import parser

            assert parser().parse_args(rest).does
        elif program == "export":
            assert re.fullmatch(r"[A-Z_]+_(API_)?KEY=\S+", rest[0]), line
        elif program == "python":
            assert rest[0] == "-m"
            assert find_spec(rest[1]), line
        else:
            assert words in (["git", "pull"], ["git", "diff", "billing/price_table.json"]), f"{snippet}: {line}"


@pytest.fixture
def providers() -> Iterator[tuple[Provider, Provider]]:
    with Provider("one", ONE) as one, Provider("two", TWO) as two:
        yield one, two


@pytest.mark.slow
def test_the_configuration_of_the_readme_does_what_its_comments_say(
    providers: tuple[Provider, Provider], tmp_path: Path
) -> None:
    one, two = providers
    gateway = Gateway(
        tmp_path,
        environ={
            "OPENAI_API_KEY": "sk-openai-0123456789abcdef",
            "LAB_KEY": "sk-lab-0123456789abcdef",
            "TURNPIKE_PROVIDERS__OPENAI__BASE_URL": one.base_url,
            "TURNPIKE_PROVIDERS__LAB__BASE_URL": two.base_url,
            "TURNPIKE_LOCAL__COMMAND": LOCAL_COMMAND,
            "TURNPIKE_STATE__DIRECTORY": str(tmp_path / "state"),
            "TURNPIKE_SERVER__DRAIN_DELAY_S": "0",
        },
    )
    gateway.config_file.write_text(whole_yaml("README.md").replace("port: 8787", f"port: {gateway.port}"))
    with gateway:
        key = gateway.create_key()
        shares = [gateway.ask(key, chat("chat")).headers["x-turnpike-provider"] for _ in range(200)]
        assert 110 <= shares.count("openai") <= 185, "three of four"
        assert shares.count("openai") + shares.count("lab") == 200
        one.always("gpt-5-mini", refusal(503))
        two.always("llama-70b", refusal(503))
        answer = gateway.ask(key, chat("chat"))
        assert answer.status_code == 200
        told = {
            name: answer.headers[f"x-turnpike-{name}"] for name in ("provider", "model", "route", "attempts", "cache")
        }
        assert told == {
            "provider": "local",
            "model": "qwen-small",
            "route": "fallback",
            "attempts": "3",
            "cache": "miss",
        }
        row = gateway.request_row(answer.headers["x-request-id"])
        assert [attempt["status"] for attempt in row["attempts"]] == [503, 503, 200]  # type: ignore[attr-defined]


def test_the_error_that_a_page_shows_is_what_comes(gateway: Gateway, key: Key) -> None:
    shown = (httpx.Response(200, text=snippet.text).json() for snippet in snippets("json"))
    (example,) = (document for document in shown if "error" in document)
    got = gateway.ask(key, chat("gpt-none"))
    error_of(got, 404, "model_not_found")
    assert got.json() == {**example, "request_id": got.headers["x-request-id"]}


def test_the_event_that_ends_a_broken_stream_is_as_the_page_shows_it(
    gateway: Gateway, key: Key, one: Provider, model: str
) -> None:
    (shown,) = (snippet.text.strip() for snippet in snippets("text") if snippet.page.name == "errors.md")
    one.always(model, broken_stream(Says(), Close(), after=3))
    came = gateway.ask(key, chat(model, stream=True)).text.strip().split("\n\n")[-1]
    before, between, after = (re.escape(part) for part in shown.split("…"))
    assert re.fullmatch(f"{before}.+{between}[0-9a-f]+{after}", came), came


def test_the_metrics_are_those_of_the_table(gateway: Gateway, key: Key, model: str) -> None:
    gateway.ask(key, chat(model, stream=True))
    shown = {
        row["name"]: (row["kind"], set(filter(None, row["labels"].split(", "))))
        for row in table("docs/metrics.md", "name")
    }

    def there() -> bool:
        return "turnpike_time_to_first_content_seconds_count" in gateway.client.get("/metrics").text

    eventually(there, "a stream was measured")
    lines = gateway.client.get("/metrics").text.rstrip("\n").split("\n")  # a label may hold other line ends
    kinds = dict(re.findall(r"# TYPE (\S+) (\w+)", "\n".join(lines)))
    told: dict[str, tuple[str, set[str]]] = {name: (kind, set()) for name, kind in kinds.items()}
    for line in lines:
        if line.startswith("#"):
            continue
        name, labels = re.split(r"[{ ]", line)[0], set(re.findall(r'[{,](\w+)="', line)) - {"le"}
        family = name if name in kinds else re.sub(r"_(bucket|sum|count)$", "", name)
        told[family][1].update(labels)
    assert shown == told
