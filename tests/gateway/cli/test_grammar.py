"""What may be typed, and how a slip is answered."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from gateway.cli.grammar import leaves, parser
from gateway.cli.main import main

COMMANDS = """
serve; config check; config schema; version; migrate; usage
organizations list; organizations create; organizations show; organizations update; organizations delete
teams list; teams create; teams show; teams update; teams delete
users list; users create; users show; users update; users delete
members list; members create; members delete
budgets list; budgets create; budgets show; budgets update; budgets delete
limits list; limits create; limits show; limits update; limits delete
apply; import litellm
prices list; prices show; prices create; prices import; prices delete; prices reprice
keys list; keys create; keys show; keys update; keys delete; keys rotate
ledger verify; ledger show; ledger reconcile; ledger close
local install; local status; local start; local stop; local logs
"""


def typed() -> set[str]:
    return {leaf.prog.removeprefix("turnpike ") for leaf in leaves(parser())}


def test_the_commands_are_those_that_are_built() -> None:
    assert typed() == {part.strip() for part in COMMANDS.replace("\n", ";").split(";") if part.strip()}


@pytest.mark.parametrize("leaf", list(leaves(parser())), ids=lambda leaf: leaf.prog)
def test_every_command_has_its_function_and_explains_itself(leaf, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    module, function = leaf.get_default("does").split(":")
    assert callable(getattr(import_module(f"gateway.cli.{module}"), function))
    with pytest.raises(SystemExit) as ended:
        main([*leaf.prog.split()[1:], "--help"], {})
    assert ended.value.code == 0
    assert "usage: turnpike" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "turnpike: the following arguments are required: COMMAND; see `turnpike --help`"),
        (["doctor"], "invalid choice: 'doctor'"),
        (["ledger", "close", "1"], "turnpike ledger close: the following arguments are required: --reason"),
        (["keys"], "turnpike keys: the following arguments are required: COMMAND; see `turnpike keys --help`"),
        (["keys", "burn"], "invalid choice: 'burn'"),
        (["keys", "create"], "turnpike keys create: one of the arguments NAME --name is required"),
        (["keys", "create", "a", "--key-file", "x", "--key-sha256", "y"], "not allowed with argument --key-file"),
        (["keys", "rotate", "k", "--overlap-seconds", "-1"], "'-1' is no number from 0 to 2592000"),
        (["keys", "rotate", "k", "--overlap-seconds", "9999999"], "'9999999' is no number from 0 to 2592000"),
        (["serve", "--port", "70000"], "argument --port: '70000' is no number from 0 to 65535"),
        (["serve", "--port", "http"], "argument --port: 'http' is no number from 0 to 65535"),
        (["serve", "--prot", "1"], "unrecognized arguments: --prot 1"),
        (["usage", "--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["usage", "--json", "--format", "csv"], "not allowed with argument --json"),
        (["config", "diff"], "invalid choice: 'diff'"),
        (["local", "install", "--device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_wrong_usage_is_status_2_and_one_line_that_says_where_help_is(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words, {})
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
    assert "--help`" in said.err


@pytest.mark.process
def test_version_and_help_import_nothing_that_is_slow() -> None:
    """They answer at once because the libraries behind the commands stay on the disk."""
    script = """
import sys
from gateway.cli.main import main
assert main(["version"], {}) == 0
try:
    main(["--help"], {})
except SystemExit as ended:
    assert ended.code == 0
slow = {"yaml", "pydantic", "fastapi", "sqlalchemy", "alembic", "asyncio", "http.client", "uvloop"}
print(sorted(slow & set(sys.modules)))
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("turnpike ")
    assert lines[-1] == "[]"


@pytest.mark.process
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    script = "from gateway.cli.main import main; import sys; sys.exit(main(['config', 'schema'], {}))"
    command = f'{sys.executable} -c "{script}" | true'
    finished = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert finished.stderr == ""


def test_version_tells_the_build_that_is_under_test(
    capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config
) -> None:
    assert main(["version"], {}) == 0
    assert ("compiled)" if pytestconfig.getoption("--compiled") else "interpreted)") in capsys.readouterr().out
