"""The command as a person types it, in a folder of its own, with a gateway to talk to where a test wants one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from gateway.cli.main import main
from tests.gateway.cli.fake_gateway import ADMIN_KEY, FakeGateway, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Home:
    """A folder with a configuration in it, and what was said when the command was run there."""

    folder: Path
    run: Callable[..., Said]

    def configure(self, text: str) -> None:
        (self.folder / "turnpike.yaml").write_text(text)

    @property
    def state(self) -> Path:
        return self.folder / "state"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Home:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **environ: str) -> Said:
        capsys.readouterr()
        usual = {"HOME": str(tmp_path), "TURNPIKE_STATE__DIRECTORY": str(tmp_path / "state")}
        status = main(words, usual | environ)
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    return Home(tmp_path, run)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with running(FakeGateway()) as fake:
        yield fake


@pytest.fixture
def served(home: Home, gateway: FakeGateway) -> Home:
    """A home whose configuration leads to the fake gateway."""
    home.configure(f"server: {{port: {gateway.port}}}\nauth: {{admin_key: {ADMIN_KEY}}}\n")
    return home
