"""What the pages tell a reader to type exists and parses, and where they point, something is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.tidy.repository import ROOT, files

if TYPE_CHECKING:
    from pathlib import Path

# Every other language would be text that nobody checks. `text` has its tests below and in tests/e2e/test_docs.py.
LANGUAGES: Final = {"bash", "python", "yaml", "json", "text"}
TEXTS: Final = {"docs/architecture.md": 1, "docs/command-line.md": 1, "docs/errors.md": 1}
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
    """Those in one of the languages; all of them where none is given."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        found += [
            Snippet(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])
            for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        ]
    return [snippet for snippet in found if not languages or snippet.language in languages]


def table(page: str, heading: str) -> list[dict[str, str]]:
    """The rows of the table whose first column has that heading; code without its backticks."""
    lines = (ROOT / page).read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    columns = cells(lines[first])
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(columns, cells(line), strict=True)))
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]


def test_every_snippet_is_in_a_language_that_is_checked() -> None:
    assert [str(snippet) for snippet in snippets() if snippet.language not in LANGUAGES] == []
    texts = [str(snippet.page) for snippet in snippets("text")]
    assert {page: texts.count(page) for page in texts} == TEXTS
    fences = {page: (ROOT / page).read_text().count("\n```") for page in PAGES}
    assert {page: count for page, count in fences.items() if count != 2 * len(of(page))} == {}


def of(page: Path) -> list[Snippet]:
    return [snippet for snippet in snippets() if snippet.page == page]


def command_lines() -> list[tuple[str, ...]]:
    """What follows `turnpike` in snippets of shell and in code within a sentence, less synopses."""
    found = [text for page in PAGES for text in re.findall(r"`turnpike ([^`]*)`", (ROOT / page).read_text())]
    for snippet in snippets("bash"):
        found += re.findall(r"^(?:\S*bin/)?turnpike (.*)$", snippet.text, re.MULTILINE)
    # Where it goes from there is the shell's.
    commands = [re.split(r"[>&;]", text)[0] for text in found if not re.search(r"[\[|…]", text)]
    return sorted({tuple(shlex.split(text, comments=True)) for text in commands})


@pytest.mark.parametrize("snippet", snippets("bash"), ids=str)
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


@pytest.mark.parametrize("snippet", snippets("json"), ids=str)
def test_a_document_that_a_page_shows_is_json(snippet: Snippet) -> None:
    assert json.loads(snippet.text)


def test_the_synopsis_names_every_command_and_no_other() -> None:
    from gateway.cli.grammar import leaves, parser

    (synopsis,) = (snippet for snippet in snippets("text") if snippet.page.name == "command-line.md")
    shown = set()
    for line in synopsis.text.splitlines():
        words = re.sub(r"\s*[\[A-Z].*", "", line).split()
        shown |= {" ".join([*words[:-1], last]) for last in words[-1].split("|")}
    assert shown == {leaf.prog for leaf in leaves(parser())}


def test_the_synopsis_names_options_that_exist() -> None:
    from gateway.cli.grammar import leaves, parser

    (synopsis,) = (snippet for snippet in snippets("text") if snippet.page.name == "command-line.md")
    options = {leaf.prog: leaf.format_help() for leaf in leaves(parser())}
    for line in synopsis.text.splitlines():
        command = re.sub(r"\s*\[.*", "", line)
        for option in re.findall(r"--[a-z-]+", line):
            assert option in options[command], f"{command} takes no {option}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_file_of_ours_that_a_page_names_exists(page: Path) -> None:
    """As `gateway/chat.py`, as `billing.recovery` or, in a diagram of a room, as `plan.py`."""
    text = (ROOT / page).read_text()
    ours = {file.as_posix() for file in files()}
    paths = set(
        re.findall(r"\b((?:gateway|routing|cache|billing|local_backend|migrations|tests)/[\w/.-]+\.py)\b", text)
    )
    assert sorted(paths - ours - {"gateway/providers/NAME.py"}) == []
    modules = {name.removesuffix(".py").replace("/", ".") for name in ours if name.endswith(".py")}
    dotted = set(re.findall(r"`((?:gateway|routing|cache|billing|local_backend)(?:\.[a-z_0-9]+)+)", text))
    keys = {"gateway.address", "billing.journal_sync", "billing.cancelled_stream", "billing.unknown_outcome"}
    assert [name for name in sorted(dotted - keys) if not modules & {name, name.rpartition(".")[0]}] == []
    names = {name.rpartition("/")[2] for name in ours}
    assert sorted(set(re.findall(r"\b[a-z_0-9]+\.py\b", text)) - names) == []


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
