"""Two revisions of Turnpike against each other, paired, so that one can say which change cost what.

python -m bench.ab main HEAD                       # any two git revisions; `.` is the working tree
python -m bench.ab HEAD~1 . --phases requests,streams --rounds 7
python -m bench.ab HEAD~1 . --instructions         # what valgrind counts: the same on a busy machine, and far slower
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import phases, provision, report, targets
from bench.run import bring_up
from bench.targets import Mock, Running, Target

SERVE = "import sys; from gateway.cli.main import main; sys.exit(main())"
# Under valgrind: enough to have imported and kept what the first requests import and keep, then what is counted.
WARM, COUNTED = 200, 500
SETTLED_S = 3.0


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.ab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--phases", default="requests")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has Turnpike's dependencies")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    return parser.parse_args(given)


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=provision.ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def checkout(revision: str) -> Path:
    """A worktree of that revision under bench/build, kept for the next time; the working tree itself for `.`."""
    if revision == ".":
        return provision.ROOT
    commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    path = provision.BUILD / "ab" / commit[:12]
    if not path.exists():
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", str(path), commit)
    return path


def target(name: str, revision: str, args: argparse.Namespace, ports: Sequence[int], home: Path) -> Target:
    made = targets.turnpike(
        [args.python, "-c", SERVE], ports[0], ports[1], home / name, name=name, cwd=checkout(revision)
    )
    return replace(made, features=f"{revision} ({made.version})")


def spread(values: Sequence[float]) -> str:
    return f"{report.median(values):.3f} ({min(values):.3f}–{max(values):.3f})" if values else "–"


def paired(phase: phases.Phase, runs: Sequence[phases.Run]) -> str:
    a, b = report.by_round(runs, "a"), report.by_round(runs, "b")

    def ratios(measure: report.Measure) -> list[float]:
        return [measure(b[n]) / measure(a[n]) for n in a if n in b and measure(a[n])]

    measures: list[tuple[str, report.Measure, int]] = [("CPU µs", lambda run: run.cpu_us, 2)]
    if phase.rate:
        series = ("first_chunk_us", "chunk_us") if phase.stream else ("latency_us",)
        measures += [(f"{s} {q}", lambda run, s=s, q=q: run.load[s][q], 0) for s in series for q in ("p50", "p99")]  # type: ignore[misc]
    else:
        measures.insert(0, ("per s", lambda run: run.per_s, 0))
    rows = [
        [
            label,
            report.number(report.median(map(measure, a.values())), digits),
            report.number(report.median(map(measure, b.values())), digits),
            spread(ratios(measure)),
            # A change that some rounds see one way and some the other is no change yet: more rounds will tell.
            "yes" if min(ratios(measure)) > 1 or max(ratios(measure)) < 1 else "no",
        ]
        for label, measure, digits in measures
    ]
    return f"**{phase.title}**\n\n{report.table(['', 'a', 'b', 'b / a (range)', 'all rounds agree'], rows)}\n"


def compare(args: argparse.Namespace, track: phases.Track) -> bool:
    wanted = [phase for phase in phases.PHASES if phase.name in args.phases.split(",")]
    if not wanted:
        raise SystemExit(f"bench: no such phase; there are {', '.join(p.name for p in phases.PHASES)}")
    right = True
    for phase in wanted:
        runs = track.rounds(phase, args.rounds, args.seconds)
        print(f"\n{paired(phase, runs)}", flush=True)
        for run in runs:
            for text in run.wrong:
                right = False
                print(f"bench: WRONG: {run.target}, {phase.name}: {text}", file=sys.stderr)
        loudest = max(run.foreign_cores for run in runs)
        print(f"others used at most {loudest:.2f} cores")
    return right


def _under_valgrind(wanted: Target, out: Path) -> Target:
    at = next(i for i, word in enumerate(wanted.command) if not ("=" in word or word in ("env", "-i")))
    valgrind = (provision.program("valgrind", "valgrind"), "--tool=callgrind", f"--callgrind-out-file={out}")
    # With one hash seed every dictionary probes alike in both revisions.
    return replace(wanted, command=(*wanted.command[:at], "PYTHONHASHSEED=0", *valgrind, *wanted.command[at:]))


def _instructions(wanted: Target, mock: Mock, phase: phases.Phase, args: argparse.Namespace, home: Path) -> float:
    """Counted between two marks in one process, so that nothing of its start is in it."""
    out = home / f"{wanted.name}.callgrind"
    vgdb = provision.program("vgdb", "valgrind")
    running = Running(_under_valgrind(wanted, out), args.gateway_core)

    def load(count: int) -> None:
        # One connection: how many answers share a wake-up depends on timing, what one alone costs does not.
        words = phases.command(replace(phase, connections=1, rate=0.0), running.target, file, (1, 0), args.load_core)
        subprocess.run([*words, "--count", str(count)], check=True, stdout=subprocess.DEVNULL)
        time.sleep(SETTLED_S)  # what was put off until later belongs to those who caused it

    try:
        bring_up(running)
        mock.set_manners(wanted.door, delay_us=0, chunks=phase.chunks, gap_us=0)
        file = home / "body.json"
        file.write_bytes(phases.body(phase.body_kb, wanted.model, stream=phase.stream, temperature=phase.temperature))
        load(WARM)
        subprocess.run([vgdb, f"--pid={running.pid}", "zero"], check=True, capture_output=True)
        load(COUNTED)
        subprocess.run([vgdb, f"--pid={running.pid}", "dump"], check=True, capture_output=True)
        return total_of(Path(f"{out}.1").read_text()) / COUNTED
    finally:
        running.stop()


def total_of(callgrind_out: str) -> int:
    """The instructions of a dump: the line `totals: N`, or `summary: N`."""
    for line in reversed(callgrind_out.splitlines()):
        name, _, value = line.partition(":")
        if name in ("totals", "summary"):
            return int(value.split()[0])
    raise SystemExit("bench: callgrind wrote no total: see whether `valgrind --tool=callgrind true` works here")


def main(given: Sequence[str]) -> int:
    args = arguments(given)
    home = Path(tempfile.mkdtemp(prefix="turnpike-ab-"))
    ports = provision.free_ports(4)
    pair = [target("a", args.a, args, ports[:2], home), target("b", args.b, args, ports[2:], home)]
    for one in pair:
        print(f"{one.name}: {one.features}")
    os.sched_setaffinity(0, {args.load_core})
    mock = Mock([one.door for one in pair], args.load_core)
    runnings = [Running(one, args.gateway_core) for one in pair]
    try:
        if args.instructions:
            phase = next(p for p in phases.PHASES if p.name == args.phases.split(",")[0])
            a, b = (_instructions(one, mock, phase, args, home) for one in pair)
            print(f"instructions a request ({phase.name}): a {a:,.0f}, b {b:,.0f}, b / a {b / a:.4f}")
            return 0
        for running in runnings:
            bring_up(running)
        return 0 if compare(args, phases.Track(mock, runnings, args.load_core, home)) else 1
    finally:
        for running in runnings:
            running.stop()
        mock.stop()
        shutil.rmtree(home)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
