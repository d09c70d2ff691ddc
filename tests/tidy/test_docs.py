"""What the pages tell a reader to type exists and parses, and where they point, something is."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
import yaml

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


@pytest.mark.parametrize("snippet", snippets("bash", ""), ids=str)
def test_a_shell_snippet_is_sound(snippet: Snippet) -> None:
    bash = str(shutil.which("bash"))
    checked = subprocess.run([bash, "-n"], input=snippet.text, capture_output=True, text=True, timeout=10, check=False)
    assert checked.stderr == ""


@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_a_python_snippet_compiles(snippet: Snippet) -> None:
    compile(snippet.text, str(snippet), "exec")


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=str)
def test_a_yaml_snippet_parses_to_a_mapping(snippet: Snippet) -> None:
    assert isinstance(yaml.safe_load(snippet.text), dict)


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
