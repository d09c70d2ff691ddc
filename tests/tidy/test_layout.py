"""The repository has the rooms of the architecture page and no others, and its tests mirror them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.tidy.repository import PACKAGES, ROOT, files

ROOMS: Final = {*PACKAGES, "migrations", "tests"}
BESIDE: Final = {".ci", "bench", "deploy", "docs", "requirements"}
SMALL_FILES: Final = {
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "hatch_build.py",
    "pyproject.toml",
}
TEST_FOLDERS: Final = {*PACKAGES, "migrations", "contract", "wire", "e2e", "tidy", "fixtures", "fakes", "bench"}

# Written apart, so that this file does not name what it forbids.
MACHINE_PATH: Final = re.compile(r"(?<![\w./-])/(?:wo" + r"rk|ro" + r"ot)/|\.\./sha" + "red")


def test_the_top_level_holds_the_rooms_and_the_small_files_alone() -> None:
    top = {file.parts[0] for file in files()}
    assert top - ROOMS - BESIDE - SMALL_FILES == set()
    assert (ROOMS | SMALL_FILES) - top == set()


def test_test_folders_are_named_after_the_rooms() -> None:
    folders = {file.parts[1] for file in files() if file.parts[0] == "tests" and len(file.parts) > 2}
    assert folders - TEST_FOLDERS == set()


def test_a_folder_of_tests_mirrors_a_folder_of_code() -> None:
    mirrored = {
        Path(*file.parts[1:-1])
        for file in files()
        if file.parts[0] == "tests" and file.parts[1] in PACKAGES and len(file.parts) > 3
    }
    strangers = [f"tests/{folder}" for folder in sorted(mirrored) if not (ROOT / folder).is_dir()]
    assert strangers == []


def test_each_package_with_code_has_tests() -> None:
    written = {
        file.parts[0]
        for file in files()
        if file.parts[0] in PACKAGES and file.suffix == ".py"
        if file.stem != "__init__"
    }
    tested = {file.parts[1] for file in files() if file.parts[0] == "tests" and file.name.startswith("test_")}
    assert written - tested == set()


def test_no_file_names_a_path_of_one_machine() -> None:
    found = []
    for file in files():
        try:
            text = (ROOT / file).read_text()
        except UnicodeDecodeError:  # an image or a recorded body
            continue
        found += [f"{file}: {match.group()}" for match in MACHINE_PATH.finditer(text)]
    assert found == []
