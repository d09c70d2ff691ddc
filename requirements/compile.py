"""Compiles modules with mypyc: `compile.py FOLDER MODULE...` leaves the libraries beside the sources in FOLDER.

`compile.py --missing` prints what this machine lacks for that, and nothing where it lacks nothing.
"""

import ast
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# Types are checked by `make check`; here mypy only has to understand. Stubs that the tools lack are no reason to stop.
MYPY = """\
[mypy]
check_untyped_defs = True
explicit_package_bases = True
follow_imports = silent
ignore_missing_imports = True
"""
WAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def missing() -> str:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    header = Path(sysconfig.get_path("include"), "Python.h")
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    if not header.is_file():
        return f"there is no {header}"
    return ""


def waits_in_handlers(source: str) -> list[int]:
    """The lines at which a coroutine or generator would be left and entered again inside `except` or `finally`.

    mypyc 2.4 keeps the exception being handled with the thread, not with the coroutine: one that waits there gives
    back, when it goes on, references that are no longer its own, and memory is corrupted.
    """
    tries = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Try | ast.TryStar)]
    blocks = [block for each in tries for block in (*(handler.body for handler in each.handlers), each.finalbody)]
    return sorted({wait for block in blocks for wait in _waits(block)})


def _waits(nodes: Iterable[ast.AST]) -> Iterator[int]:
    for node in nodes:
        if isinstance(node, WAITS):
            yield node.lineno
        if not isinstance(node, FUNCTIONS):
            yield from _waits(ast.iter_child_nodes(node))


def compile_modules(folder: Path, modules: list[str]) -> None:
    """Everything becomes one library, so that calls between the modules are plain C calls."""
    from mypyc.build import mypycify  # noqa: PLC0415  # `--missing` is asked before it is installed
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    class Builder(build_ext):
        """One C file a processor: setuptools itself takes the files of an extension one after the other."""

        def build_extensions(self) -> None:
            one_after_the_other = self.compiler.compile

            def side_by_side(sources: list[str], *args: Any, **options: Any) -> list[str]:
                with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                    objects = pool.map(lambda source: one_after_the_other([source], *args, **options), sources)
                    return [name for names in objects for name in names]

            self.compiler.compile = side_by_side
            super().build_extensions()

    os.chdir(folder)
    paths = [f"{module.replace('.', '/')}.py" for module in modules]
    unsafe = [f"{path}:{line}" for path in paths for line in waits_in_handlers(Path(path).read_text())]
    if unsafe:
        sys.exit(f"these wait inside an except or finally block, which mypyc gets wrong: {', '.join(unsafe)}")
    Path("mypy.ini").write_text(MYPY)
    extensions = mypycify(
        ["--config-file=mypy.ini", *paths], opt_level="2", debug_level="0", multi_file=True, group_name="turnpike"
    )
    command = Builder(Distribution({"name": "turnpike", "ext_modules": extensions}))
    command.inplace = True
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    if sys.argv[1] == "--missing":
        print(missing())
    else:
        compile_modules(Path(sys.argv[1]), sys.argv[2:])
