"""What the pages tell a reader to type exists and parses, and where they point, something is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.tidy.repository import ROOT, files

if TYPE_CHECKING:
    from pathlib import Path

PAGES: Final = [
    file for file in files() if file.suffix == ".md" and file.parts[0] in {"README.md", "CHANGELOG.md", "docs"}
]


class Snippet(NamedTuple):
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets(*languages: str) -> list[Snippet]:
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        found += [
            Snippet(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])
            for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        ]
    return [snippet for snippet in found if snippet.language in languages]


def command_lines() -> list[tuple[str, ...]]:
    """What follows `turnpike` in snippets of shell and in code within a sentence, less synopses."""
    found = [text for page in PAGES for text in re.findall(r"`turnpike ([^`]*)`", (ROOT / page).read_text())]
    for snippet in snippets("bash", ""):
        found += re.findall(r"^(?:\S*bin/)?turnpike (.*)$", snippet.text, re.MULTILINE)
    # Where it goes from there is the shell's.
    commands = [re.split(r"[>&;]", text)[0] for text in found if not re.search(r"[\[|…]", text)]
    return sorted({tuple(shlex.split(text, comments=True)) for text in commands})


@pytest.mark.parametrize("snippet", snippets("bash", ""), ids=str)
def test_a_shell_snippet_is_sound(snippet: Snippet) -> None:
    bash = str(shutil.which("bash"))
    checked = subprocess.run([bash, "-n"], input=snippet.text, capture_output=True, text=True, timeout=10, check=False)
    assert checked.stderr == ""


@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_a_python_snippet_compiles(snippet: Snippet) -> None:
    compile(snippet.text, str(snippet), "exec")


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=str)
def test_a_configuration_that_a_page_shows_is_accepted(
    snippet: Snippet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gateway.cli.main import main

    file = tmp_path / "turnpike.yaml"
    file.write_text(snippet.text)
    secrets = dict.fromkeys(re.findall(r"env:(\w+)", snippet.text), "sk-of-a-page-0123456789")
    assert main(["config", "check", "--config", str(file)], secrets) == 0, capsys.readouterr().err


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_a_command_that_a_page_names_is_understood(words: tuple[str, ...]) -> None:
    from gateway.cli.grammar import parser

    if "--help" in words:
        with pytest.raises(SystemExit) as answered:
            parser().parse_args(words)
        assert answered.value.code == 0
    else:
        assert parser().parse_args(words).does


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = (ROOT / page).read_text()
    named = set(re.findall(r"(?:`|^|whl/cpu )make ([a-z-]+)", text, re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page.parent / link).exists()] == []


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {file.relative_to("docs").as_posix() for file in PAGES if file.parts[0] == "docs"} - {"index.md"}
    assert [page for page in sorted(pages) if f"]({page})" not in index] == []
