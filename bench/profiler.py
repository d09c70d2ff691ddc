"""Where the microseconds of a request go: Turnpike alone under full load, sampled by py-spy and by perf.

    bench/profile.sh [--phase requests] [--seconds 10]

py-spy says which of our rooms the time is spent in (a C call counts for the Python line that makes it); perf says how
much of it is the kernel, the interpreter, and which library. Shares are multiplied with the CPU time per request of an
undisturbed run.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import machine, phases, provision, report, stacks, targets
from bench.run import append, bring_up
from bench.targets import Mock, Running

SAMPLES_PER_S = 500
ROWS_MAX = 25
PERF_LINE = re.compile(r"^\s*(?P<percent>[\d.]+)%\s+(?P<name>.+?)\s*$")


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/profile.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--phase", default="requests", choices=[p.name for p in phases.PHASES])
    parser.add_argument("--seconds", type=float, default=10.0)
    # Compiled functions have no Python frames: the source tree is what a profile can name.
    interpreted = str(provision.ROOT / ".venv-dev/bin/turnpike")
    parser.add_argument("--turnpike", default=interpreted, help="the command to profile, an interpreted one")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--no-record", action="store_true", help="do not append to RESULTS.md")
    return parser.parse_args(given)


def sampled_by_py_spy(pid: int, seconds: float, home: Path) -> list[stacks.Stack]:
    out = home / "stacks.txt"
    command = [str(provision.environment("py-spy", ["py-spy==0.4.1"]) / "py-spy"), "record", "--pid", str(pid)]
    command += [
        "--rate",
        str(SAMPLES_PER_S),
        "--duration",
        str(max(1, int(seconds))),
        "--format",
        "raw",
        "--full-filenames",
        "--output",
        str(out),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode or not out.exists():
        raise SystemExit(
            f"bench: py-spy may not look at the gateway ({done.stderr.strip()[-200:]}): run as root, or allow ptrace"
        )
    return stacks.parse(out.read_text())


def sampled_by_perf(
    pid: int, seconds: float, home: Path
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]] | None:
    """Shares by binary and by symbol; None where there is no perf, which is then said."""
    perf = shutil.which("perf")
    if not perf:
        return None
    data = str(home / "perf.data")
    record = [
        perf,
        "record",
        "-q",
        "-e",
        "cpu-clock",
        "-F",
        "997",
        "-p",
        str(pid),
        "-o",
        data,
        "--",
        "sleep",
        str(seconds),
    ]
    if subprocess.run(record, check=False, capture_output=True).returncode:
        return None
    found = []
    for keys in ("dso", "dso,symbol"):
        told = machine.output_of(
            [perf, "report", "-i", data, "--stdio", "-q", "--sort", keys, "--percent-limit", "0.3"]
        )
        matches = [m for m in map(PERF_LINE.match, told.splitlines()) if m]
        found.append(
            [(re.sub(r"( -)+$", "", re.sub(r"\s+", " ", m["name"])), float(m["percent"]) / 100) for m in matches]
        )
    # The kernel's many small functions are one line among the binaries; nobody here can change them singly.
    return found[0], [(name, share) for name, share in found[1] if "[k]" not in name]


def under_load(track: phases.Track, phase: phases.Phase, running: Running, seconds: float) -> subprocess.Popen[bytes]:
    """Load that lasts a little longer than the sampling it is for."""
    file = track.home / "body.json"
    file.write_bytes(
        phases.body(phase.body_kb, running.target.model, stream=phase.stream, temperature=phase.temperature)
    )
    track.mock.set_manners(running.target.door, delay_us=phase.delay_us, chunks=phase.chunks, gap_us=phase.gap_us)
    words = phases.command(phase, running.target, file, (seconds + 2, 0.5), track.core)
    load = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    time.sleep(1)
    return load


def rows(found: Sequence[tuple[str, float]], cpu_us: float) -> list[list[str]]:
    return [[f"`{name}`", f"{share * 100:.1f}", f"{share * cpu_us:.2f}"] for name, share in found[:ROWS_MAX]]


def python_tables(sampled: Sequence[stacks.Stack], cpu_us: float) -> str:
    def lines(shares: Sequence[stacks.Share]) -> list[list[str]]:
        return [
            [f"`{s.name}`", f"{s.own * 100:.1f}", f"{s.own * cpu_us:.2f}", f"{s.within * cpu_us:.2f}"]
            for s in shares[:ROWS_MAX]
        ]

    head = ["own %", "own µs", "with what it calls, µs"]
    count = sum(stack.samples for stack in sampled)
    return (
        f"By room ({count:,} samples of py-spy):\n\n{report.table(['room', *head], lines(stacks.rooms(sampled)))}\n\n"
        f"By function:\n\n{report.table(['function', *head], lines(stacks.functions(sampled)))}\n"
    )


def measure(args: argparse.Namespace, track: phases.Track, running: Running) -> str:
    assert running.pid
    phase = next(p for p in phases.PHASES if p.name == args.phase)
    plain = track.run(phase, running, 0, args.seconds, 1.0)
    if plain.wrong:
        raise SystemExit(f"bench: nothing to profile, the answers are wrong: {'; '.join(plain.wrong)}")
    load = under_load(track, phase, running, args.seconds)
    sampled = sampled_by_py_spy(running.pid, args.seconds, track.home)
    load.wait()
    load = under_load(track, phase, running, args.seconds)
    native = sampled_by_perf(running.pid, args.seconds, track.home)
    load.wait()
    text = (
        f"{plain.per_s:,.0f} per s, **{plain.cpu_us:.1f} µs of CPU per request**, undisturbed.\n\n"
        f"{python_tables(sampled, plain.cpu_us)}"
    )
    if not native:
        return f"{text}\nperf is not to be had here: kernel and libraries are not told apart.\n"
    head = ["%", "µs"]
    binaries, symbols = (rows(found, plain.cpu_us) for found in native)
    return (
        f"{text}\nBy binary (perf):\n\n{report.table(['binary', *head], binaries)}\n\n"
        f"By symbol, the kernel's left out (perf):\n\n{report.table(['binary and symbol', *head], symbols)}\n"
    )


def main(given: Sequence[str]) -> int:
    args = arguments(given)
    home = Path(tempfile.mkdtemp(prefix="turnpike-profile-"))
    port, door = provision.free_ports(2)
    words = shlex.split(args.turnpike)
    if shutil.which(words[0]) is None:
        raise SystemExit(f"bench: no {words[0]}: run `make dev`, or name the command with --turnpike")
    target = targets.turnpike(words, port, door, home / "turnpike")
    provision.environment("py-spy", ["py-spy==0.4.1"])
    os.sched_setaffinity(0, {args.load_core})
    mock = Mock([door], args.load_core)
    running = Running(target, args.gateway_core)
    try:
        bring_up(running)
        text = measure(args, phases.Track(mock, [running], args.load_core, home), running)
    finally:
        running.stop()
        mock.stop()
        shutil.rmtree(home)
    print(text)
    if not args.no_record:
        append(
            f"where the microseconds go ({args.phase}, Turnpike {target.version})", f"{machine.describe()}\n\n{text}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
