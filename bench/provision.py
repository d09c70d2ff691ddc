"""Builds and installs what a run needs, into bench/build. What cannot be had is said in one line, with what to do."""

import os
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = HERE / "build"


def _refuse(message: str) -> SystemExit:
    return SystemExit(f"bench: {message}")


def _apt(package: str) -> None:
    if os.geteuid() or not shutil.which("apt-get"):
        raise _refuse(f"needs {package}: run `apt-get install -y {package}` as root, then again")
    print(f"bench: installing {package}", file=sys.stderr)
    # Run level 1 keeps a Debian package from starting its service, nginx's on port 80 for one.
    apt = ["env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    subprocess.run([*apt, "update"], check=False, capture_output=True)
    if subprocess.run([*apt, "install", "-y", package], check=False, capture_output=True).returncode:
        raise _refuse(f"`apt-get install -y {package}` failed: run it by hand and see why")


def program(name: str, package: str) -> str:
    found = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
    if not found:
        _apt(package)
        return program(name, package)
    return found


def nginx() -> str:
    was_there = Path("/usr/sbin/nginx").exists()
    path = program("nginx", "nginx-light")
    if not was_there and shutil.which("systemctl"):
        # Where systemd runs it asks no run level; the server it started is not wanted.
        subprocess.run(["systemctl", "disable", "--now", "nginx"], check=False, capture_output=True)
    return path


def native(name: str) -> Path:
    """One of native/*.c, compiled; again only when the source is newer."""
    source, binary = HERE / "native" / f"{name}.c", BUILD / name
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        compiler = program("gcc", "gcc")
        if not Path("/usr/include/stdio.h").exists():
            _apt("libc6-dev")
        fresh = BUILD / f"{name}.{os.getpid()}"
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", fresh, source, "-lm"], check=True)
        fresh.replace(binary)
    return binary


def environment(name: str, requirements: list[str]) -> Path:
    """A virtual environment of its own under bench/build with these packages; made once for one list."""
    home = BUILD / name
    stamp, wanted = home / "installed.txt", "\n".join(requirements)
    lock = HERE / f"{name}.lock"
    if lock.exists():
        wanted += lock.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"bench: installing {name} into bench/build/{name}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        locked = ["--require-hashes", "-r", str(lock)] if lock.exists() else requirements
        pip = [str(home / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *locked]
        done = subprocess.run(pip, check=False, capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise _refuse(f"{name} does not install ({' '.join(errors)[:300]}): leave it out with --without {name}")
        stamp.write_text(wanted)
    return home / "bin"


def free_ports(count: int) -> list[int]:
    """Ports nobody uses now, held all at once so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports
