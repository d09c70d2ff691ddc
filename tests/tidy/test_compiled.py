"""What is compiled exists, and holds nothing that mypyc is known to get wrong."""

from __future__ import annotations

import ast
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING

import pytest

from tests.conftest import hot_modules
from tests.tidy.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

ENUMS_AND_EXCEPTIONS = {"Enum", "IntEnum", "IntFlag", "StrEnum", "Exception", "LookupError", "IndexError", "ValueError"}
BUILTIN_ERRORS = {"BaseException", "Exception", "TimeoutError", "OSError", "ssl.SSLError", "ConnectionError"}
BASES = ENUMS_AND_EXCEPTIONS | {"dict", "NamedTuple", "Protocol", "Generic"}


def source(module: str) -> str:
    return ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text()


def classes(module: str) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(source(module))) if isinstance(node, ast.ClassDef)]


@pytest.fixture
def waits_in_handlers() -> Callable[[str], list[int]]:
    spec = spec_from_file_location("compile_script", ROOT / "requirements" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    found: Callable[[str], list[int]] = script.waits_in_handlers
    return found


@pytest.mark.parametrize("module", hot_modules())
def test_nothing_waits_inside_a_handler(module: str, waits_in_handlers: Callable[[str], list[int]]) -> None:
    assert waits_in_handlers(source(module)) == []


@pytest.mark.parametrize(
    ("block", "lines"),
    [
        ("    try:\n        await x\n    except E:\n        y()", []),
        ("    try:\n        await x\n    except E:\n        await y", [5]),
        ("    try:\n        await x\n    finally:\n        if a:\n            async with y: pass", [6]),
        ("    try:\n        x()\n    except E:\n        async def later(): await y\n        z(later)", []),
        ("    try:\n        x()\n    except E:\n        yield 1", [5]),
    ],
)
def test_a_wait_inside_a_handler_is_found(
    block: str, lines: list[int], waits_in_handlers: Callable[[str], list[int]]
) -> None:
    assert waits_in_handlers(f"async def f():\n{block}\n") == lines


@pytest.mark.parametrize("module", hot_modules())
def test_classes_have_no_base_that_keeps_them_from_being_compiled(module: str) -> None:
    ours = {node.name for each in hot_modules() for node in classes(each)}
    strangers = {
        ast.unparse(base).partition("[")[0]
        for node in classes(module)
        for base in node.bases
        if ast.unparse(base).partition("[")[0] not in BASES | ours
    }
    assert strangers == set()


@pytest.mark.parametrize("module", hot_modules())
def test_a_coroutine_does_not_give_errors_of_two_kinds_one_name(module: str) -> None:
    """Compiled, the name has the type of the first of them, and the second is a `TypeError`."""
    shared = []
    for function in ast.walk(ast.parse(source(module))):
        if isinstance(function, ast.AsyncFunctionDef):
            handlers = [each for each in ast.walk(function) if isinstance(each, ast.ExceptHandler) and each.name]
            kinds = {(each.name, ast.unparse(each.type or each)) for each in handlers}
            names = [name for name, kind in kinds if kind not in BUILTIN_ERRORS]
            shared += [f"{function.name}: {name}" for name in set(names) if names.count(name) > 1]
    assert shared == []
