"""No test is passed over silently: a skip fails the run, and only a missing GPU leaves a test out."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.conftest import build_of, has_gpu, hot_modules
from tests.tidy.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


SETTINGS: Final = """
[pytest]
markers =
    gpu
    process
timeout_method = signal
asyncio_default_fixture_loop_scope = function
"""
SKIPPING: Final = {
    "marked": "@pytest.mark.skip(reason='later')\ndef test_it(): pass",
    "inside": "def test_it(): pytest.skip('later')",
    "fixture": "@pytest.fixture\ndef it(): pytest.skip('later')\ndef test_it(it): pass",
    "expected": "@pytest.mark.xfail(reason='later')\ndef test_it(): assert False",
    "module": "pytest.skip('later', allow_module_level=True)",
}


def is_compiled() -> bool:
    return build_of(hot_modules()[0]) == "compiled"


def run(folder: Path, tests: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in tests.items():
        (folder / f"test_{name}.py").write_text(f"import pytest\n{text}\n")
    (folder / "pytest.ini").write_text(SETTINGS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command += ["--continue-on-collection-errors", str(folder)]
    if is_compiled():
        command += ["--compiled"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow  # a run of pytest of its own
def test_a_skip_of_any_kind_fails_the_run_and_says_why(tmp_path: Path) -> None:
    finished = run(tmp_path, SKIPPING)
    assert finished.returncode != 0
    assert "2 failed, 3 errors in" in finished.stdout
    assert finished.stdout.count("no test may be skipped") >= len(SKIPPING)
    assert finished.stdout.count("later)") >= len(SKIPPING)


@pytest.mark.slow  # a run of pytest of its own
def test_a_test_for_a_gpu_is_deselected_where_there_is_none(tmp_path: Path) -> None:
    finished = run(tmp_path, {"both": "@pytest.mark.gpu\ndef test_it(): pass\ndef test_other(): pass"})
    assert finished.returncode == 0
    assert ("2 passed" if has_gpu() else "1 passed, 1 deselected") in finished.stdout


@pytest.mark.slow  # a run of pytest of its own
def test_the_tests_of_one_build_do_not_run_on_the_other(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)]
    command += [] if is_compiled() else ["--compiled"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == pytest.ExitCode.USAGE_ERROR
    assert all(name in finished.stderr for name in hot_modules())


STARTING: Final = """
import subprocess, sys
def start(): subprocess.run([sys.executable, "-c", ""], check=True)
@pytest.fixture
def started(): start()
"""


@pytest.mark.slow  # a run of pytest of its own
def test_whoever_starts_a_process_is_marked_so(tmp_path: Path) -> None:
    body = STARTING + (
        "def test_itself(): start()\n"
        "def test_by_a_fixture(started): pass\n"
        "@pytest.mark.process\ndef test_marked(started): start()\n"
        "def test_none(): subprocess.run(['git', '--version'], check=True)\n"
    )
    finished = run(tmp_path, {"starting": body})
    assert "2 failed, 2 passed in" in finished.stdout
    assert finished.stdout.count(f"mark it @pytest.mark.process: it started {sys.executable}") >= 2


HANGING: Final = """
import time, pathlib
@pytest.fixture
def service():
    yield
    pathlib.Path(__file__).with_name("gone").touch()
@pytest.mark.timeout(1)
def test_hangs(service): time.sleep(50)
def test_next(service): pass
"""


@pytest.mark.slow  # a run of pytest of its own
def test_one_that_hangs_fails_is_taken_down_and_the_others_go_on(tmp_path: Path) -> None:
    finished = run(tmp_path, {"hanging": HANGING})
    assert "1 failed, 1 passed in" in finished.stdout
    assert "Timeout (>1.0s)" in finished.stdout
    assert (tmp_path / "gone").exists()
