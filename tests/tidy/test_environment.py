"""Setting up: what is there is kept, what is missing is said in one line with the command that brings it."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.tidy.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process

SCRIPTS: Final = (
    ".ci/run",
    "requirements/debian.sh",
    "requirements/environment.sh",
    "requirements/install.sh",
    "requirements/pythons.sh",
)
# The few programs that the scripts call, so that a test can say what else the machine has.
PROGRAMS: Final = ("bash", "cat", "cut", "dirname", "sed", "sha256sum")


def run(*command: str, path: Path | str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": str(path), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A machine with the few programs the scripts need, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def program(path: Path, name: str, text: str) -> None:
    (path / name).write_text(f"#!/bin/bash\n{text}\n")
    (path / name).chmod(0o755)


def test_an_account_that_may_not_install_is_told_what_to_type(path: Path) -> None:
    program(path, "id", "echo 1000")
    told = run("requirements/debian.sh", "Chromium", "chromium", path=path)
    assert told.returncode == 1
    assert told.stderr == "turnpike: Chromium is missing; run: sudo apt-get install -y chromium\n"
    assert told.stdout == ""


def test_root_gets_debian_packages_installed_also_when_the_lists_are_stale(path: Path, tmp_path: Path) -> None:
    program(path, "id", "echo 0")
    for name in ("mktemp", "rm", "tail"):
        (path / name).symlink_to(str(shutil.which(name)))
    calls = tmp_path / "calls"
    program(path, "apt-get", f'echo "$*" >> {calls}; [ "$1" = update ] && touch {calls}.fresh; [ -e {calls}.fresh ]')
    (path / "touch").symlink_to(str(shutil.which("touch")))
    assert run("requirements/debian.sh", "Chromium", "chromium", path=path).returncode == 0
    install = "install -y --no-install-recommends chromium"
    assert calls.read_text().splitlines() == [install, "update", install]


def test_a_package_that_cannot_be_installed_fails_with_what_apt_said(path: Path) -> None:
    program(path, "id", "echo 0")
    for name in ("mktemp", "rm", "tail"):
        (path / name).symlink_to(str(shutil.which(name)))
    program(path, "apt-get", "echo 'E: Unable to locate package chromium'; exit 100")
    told = run("requirements/debian.sh", "Chromium", "chromium", path=path)
    assert told.returncode == 1
    assert "Unable to locate package" in told.stderr
    assert "could not install chromium" in told.stderr


def test_only_interpreters_that_answer_are_found(path: Path, tmp_path: Path) -> None:
    program(path, "python3", "echo 'command not found' >&2; exit 127")  # a version manager's placeholder
    program(path, "python3.12", f"echo 3.12 {path}/python3.12")
    program(path, "python3.11", "true")  # too old: prints nothing
    found = run("requirements/pythons.sh", path=path, HOME=str(tmp_path)).stdout.splitlines()
    assert f"3.12 {path}/python3.12" in found
    assert [line for line in found if str(path) in line] == [f"3.12 {path}/python3.12"]
    versions = [line.split()[0] for line in found]
    assert len(versions) == len(set(versions))


def test_an_interpreter_that_is_too_old_is_refused_in_one_line(path: Path, tmp_path: Path) -> None:
    program(path, "python3.8", "exit 1")
    told = run("requirements/environment.sh", str(tmp_path / "venv"), "base", path=path, PYTHON=f"{path}/python3.8")
    assert told.returncode == 1
    assert told.stderr.startswith(f"turnpike: {path}/python3.8 is not a working Python 3.11 or newer;")
    assert not (tmp_path / "venv").exists()


INTERPRETER: Final = """
case "$*" in
    "-m venv --clear "*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
    "requirements/compile.py --missing") [ ! -e {folder}/lacking ] || echo "there is no C compiler (cc)" ;;
    "-m pip "*" wheel "*)
        [ "$TURNPIKE_COMPILE" = 0 ] || [ ! -e {folder}/broken ] || exit 1
        echo "wheel,TURNPIKE_COMPILE=$TURNPIKE_COMPILE" >> {folder}/installed
        [ ! -e {folder}/edited ] || {{ rm {folder}/edited; echo "# edited" >> gateway/__init__.py; }}
        echo > "${{@: -2:1}}/turnpike.whl" ;;
    "-m pip "*"install"*) [ ! -e {folder}/refuse ] || exit 1; echo "${{@: -1}}" >> {folder}/installed ;;
esac
"""


def project_of(folder: Path, path: Path) -> Path:
    """What the scripts look at, and a Python that notes what it is told to install."""
    project = folder / "project"
    shutil.copytree(ROOT / "requirements", project / "requirements")
    for name in ("gateway", "routing", "cache", "billing", "local_backend", "migrations"):
        (project / name).mkdir()
        (project / name / "__init__.py").touch()
    for name in ("pyproject.toml", "hatch_build.py", "README.md"):
        shutil.copy(ROOT / name, project)
    for name in ("cp", "find", "mkdir", "mv", "rm", "sort", "touch", "xargs"):
        (path / name).symlink_to(str(shutil.which(name)))
    program(path, "python3.12", INTERPRETER.format(folder=folder))
    return project


def test_an_environment_that_holds_what_is_locked_is_left_alone(path: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path, path)
    python = f"{path}/python3.12"
    environment = ("requirements/environment.sh", ".venv", "base", "editable")
    set_up = partial(run, *environment, path=path, cwd=project, PYTHON=python)
    (tmp_path / "refuse").touch()
    assert set_up().returncode != 0
    (tmp_path / "refuse").unlink()

    # What failed half-way is not taken for done.
    finished = set_up()
    assert (finished.returncode, finished.stderr) == (0, "")
    assert (tmp_path / "installed").read_text().split() == ["requirements/build.lock", "requirements/base.lock", "."]
    again = set_up()
    assert (again.returncode, again.stdout) == (0, "")

    with (project / "requirements" / "base.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "making .venv" in set_up().stdout


def test_an_extra_once_chosen_is_kept(path: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path, path)
    set_up = partial(run, path=path, cwd=project, PYTHON=f"{path}/python3.12")
    assert "requirements/semantic.lock" in set_up("requirements/environment.sh", ".venv", "semantic").stdout
    # torch is asked for before anything else, and by version alone.
    assert (tmp_path / "installed").read_text().split()[0] == "torch==2.13.0"
    assert set_up("requirements/environment.sh", ".venv").stdout == ""
    assert "requirements/base.lock" in set_up("requirements/environment.sh", ".venv", "base").stdout


def installed(folder: Path) -> list[str]:
    """What was asked of pip since the last look."""
    note = folder / "installed"
    lines = [line.rpartition("/")[2] for line in note.read_text().split()] if note.exists() else []
    note.write_text("")
    return lines


def test_the_project_is_compiled_once_for_each_state_of_its_sources(path: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path, path)
    environment = ("requirements/environment.sh", ".venv", "base")
    set_up = partial(run, *environment, path=path, cwd=project, PYTHON=f"{path}/python3.12")
    assert "compiling what requests run through" in set_up().stdout
    assert installed(tmp_path) == [
        "build.lock",
        "base.lock",
        "compile.lock",
        "wheel,TURNPIKE_COMPILE=1",
        "turnpike.whl",
    ]
    assert set_up().stdout == ""
    assert installed(tmp_path) == []

    before = (project / "gateway" / "__init__.py").read_text()
    (project / "gateway" / "__init__.py").write_text("# changed\n")
    assert "compiling" in set_up().stdout
    assert installed(tmp_path) == ["wheel,TURNPIKE_COMPILE=1", "turnpike.whl"]
    # What was built for a state stays: going back to it compiles nothing.
    (project / "gateway" / "__init__.py").write_text(before)
    assert set_up().stdout == ""
    assert installed(tmp_path) == ["turnpike.whl"]


def test_sources_that_change_while_they_are_compiled_are_compiled_again(path: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path, path)
    (tmp_path / "edited").touch()
    environment = ("requirements/environment.sh", ".venv", "base")
    set_up = partial(run, *environment, path=path, cwd=project, PYTHON=f"{path}/python3.12")
    assert "the sources have changed meanwhile: once more" in set_up().stdout
    assert installed(tmp_path)[-3:] == ["wheel,TURNPIKE_COMPILE=1", "wheel,TURNPIKE_COMPILE=1", "turnpike.whl"]
    assert set_up().stdout == ""


@pytest.mark.parametrize("because", ["lacking", "broken", "TURNPIKE_COMPILE=0"])
def test_where_nothing_can_be_compiled_the_project_is_installed_all_the_same(
    because: str, path: Path, tmp_path: Path
) -> None:
    project = project_of(tmp_path, path)
    (tmp_path / because).touch()
    wanted = "0" if because == "TURNPIKE_COMPILE=0" else "1"
    set_up = partial(run, path=path, cwd=project, PYTHON=f"{path}/python3.12", TURNPIKE_COMPILE=wanted)
    told = set_up("requirements/environment.sh", ".venv", "base")
    assert (told.returncode, told.stderr) == (0, "")
    why = {"lacking": "there is no C compiler (cc)", "broken": "compiling failed, .cache/compile.log says how"}
    assert f"turnpike: not compiled ({why.get(because, because)}): everything works" in told.stdout
    assert installed(tmp_path)[-2:] == ["wheel,TURNPIKE_COMPILE=0", "turnpike.whl"]
    assert set_up("requirements/environment.sh", ".venv", "base").stdout == ""
    # Where only the compiled build will do, it fails, and says so.
    told = set_up("requirements/environment.sh", ".venv2", "base", "compiled")
    assert told.returncode == 1
    assert told.stderr.startswith("turnpike: cannot compile: ")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_sound_bash_and_may_be_executed(script: str, path: Path) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert run("bash", "-n", script, path=path).stderr == ""


def test_ci_does_what_a_person_does() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "make test </dev/null"]
