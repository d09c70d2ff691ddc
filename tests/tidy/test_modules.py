"""Each module says what it is for; no mock stands in for a fake; money meets no float."""

from __future__ import annotations

import ast
import io
import tokenize
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest

from tests.tidy.repository import ROOT, modules

if TYPE_CHECKING:
    from pathlib import Path

VAGUE_NAMES: Final = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text(), str(module))


def imported(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_says_what_it_is_for(module: Path) -> None:
    said = ast.get_docstring(tree(module))
    assert said, f"{module}: open it with a line or two on what it is for and which promise it keeps"
    assert len(said.split()) >= 4, f"{module}: '{said}' says too little"


def test_no_module_is_named_vaguely() -> None:
    assert [str(module) for module in modules() if module.stem in VAGUE_NAMES] == []


def test_no_module_uses_mocks() -> None:
    mocking = {"unittest.mock", "mock", "pytest_mock"}
    assert [str(module) for module in modules() if imported(module) & mocking] == []


def test_the_name_float_does_not_occur_in_billing() -> None:
    found = []
    for module in modules():
        if module.parts[0] == "billing":
            tokens = tokenize.generate_tokens(io.StringIO((ROOT / module).read_text()).readline)
            found += [f"{module}:{t.start[0]}" for t in tokens if t.type == tokenize.NAME and t.string == "float"]
    assert found == []
