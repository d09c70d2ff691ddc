"""The same build without money: `python -m bench.unbooked` makes it, and prints the command that starts it.

A copy of the tree under bench/build/unbooked whose `Books` neither reserves nor journals nor settles, so that nothing
comes to the flusher but the rows of the request log; compiled as the real one. `bench/run.sh --unbooked COMMAND` then
measures both in one run: what the money costs is the difference.
"""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

from bench import provision

EMPTIED = ("reserve", "dispatch", "reserve_and_dispatch", "progress", "settle", "release")
LEFT_OUT = (".git", ".venv*", ".cache", "build", "__pycache__", "node_modules", "var")


def without_money(source: str) -> str:
    """The module's text with those methods of `Books` doing nothing."""
    lines = source.splitlines(keepends=True)
    books = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Books")
    emptied = [node for node in books.body if isinstance(node, ast.FunctionDef) and node.name in EMPTIED]
    if sorted(node.name for node in emptied) != sorted(EMPTIED):
        raise SystemExit(f"bench: Books has not all of {', '.join(EMPTIED)}: see what became of them")
    for node in sorted(emptied, key=lambda node: -node.lineno):
        last = node.body[-1].end_lineno
        assert last is not None
        lines[node.body[0].lineno - 1 : last] = ["        return\n"]
    return "".join(lines)


def main() -> None:
    tree = provision.BUILD / "unbooked"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(provision.ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    books = tree / "billing" / "books.py"
    books.write_text(without_money(books.read_text()))
    made = subprocess.run(["requirements/environment.sh", ".venv"], cwd=tree, check=False, stdout=sys.stderr)
    command = Path(tree, ".venv/bin/turnpike")
    if made.returncode or not command.exists():
        raise SystemExit("bench: the build without money was not made: see its lines above")
    print(command)


if __name__ == "__main__":
    main()
