"""`make bench`: Turnpike beside nginx, LiteLLM and no gateway, in one run on one machine; see README.md."""

import argparse
import os
import shlex
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import machine, provision, report, targets
from bench.phases import PHASES, Phase, Run, Track, body
from bench.targets import Mock, Running, Target

RESULTS = provision.HERE / "RESULTS.md"
BUILT_IN = ("nginx", "turnpike", "litellm")
HEADING = """\
# What `make bench` measured

Newest last. Figures of one section compare with one another; README.md says what is fair.
"""
ALL_RIGHT = "Every answer was whole and right."


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of one measurement")
    parser.add_argument("--phases", default=",".join(p.name for p in PHASES), help="comma-separated; default: all")
    parser.add_argument(
        "--without", action="append", default=[], choices=BUILT_IN, help="leave a target out, and say so"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="a further gateway; {port} and {upstream} are filled in",
    )
    parser.add_argument("--turnpike", default=str(provision.ROOT / ".venv/bin/turnpike"), help="the command to measure")
    parser.add_argument("--budgets", action="store_true", help="Turnpike once more, with a hard budget on every scope")
    parser.add_argument("--unbooked", metavar="COMMAND", help="Turnpike without money: see bench/unbooked.py")
    parser.add_argument("--starts", type=int, default=3, help="start-ups timed per target; 0: none")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1, help="for load generator, mock and this program")
    parser.add_argument("--no-record", action="store_true", help="do not append to RESULTS.md")
    args = parser.parse_args(given)
    known = {phase.name for phase in PHASES}
    if unknown := set(args.phases.split(",")) - known:
        parser.error(f"no phase {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in PHASES)}")
    if not {args.gateway_core, args.load_core} <= os.sched_getaffinity(0) or args.gateway_core == args.load_core:
        parser.error("needs two cores, one for the gateway and one for the load: see --gateway-core and --load-core")
    return args


def choose(args: argparse.Namespace, home: Path) -> list[Target]:
    count = len(BUILT_IN) + 2 + len(args.also)
    ports = provision.free_ports(2 * count + 1)
    doors, ports = ports[: count + 1], ports[count + 1 :]
    chosen = [targets.direct(doors[0])]
    if "nginx" not in args.without:
        chosen.append(targets.nginx(ports[0], doors[1], home / "nginx"))
    if "turnpike" not in args.without:
        words = shlex.split(args.turnpike)
        if not shutil.which(words[0]):
            raise SystemExit(f"bench: no {words[0]}: run `make setup`, or name the command with --turnpike")
        chosen.append(targets.turnpike(words, ports[1], doors[2], home / "turnpike"))
        if args.budgets:
            chosen.append(targets.turnpike(words, ports[3], doors[4], home / "budgets", name="budgets", budgeted=True))
    if args.unbooked:
        words = shlex.split(args.unbooked)
        chosen.append(
            targets.turnpike(words, ports[4], doors[5], home / "unbooked", name="unbooked", keeps_books=False)
        )
    if "litellm" not in args.without:
        chosen.append(targets.litellm(ports[2], doors[3], home / "litellm"))
    chosen += [targets.other(text, ports[5 + i], doors[6 + i], home / f"also-{i}") for i, text in enumerate(args.also)]
    return chosen


def bring_up(running: Running) -> None:
    running.start()
    if running.target.takes_key:
        running.take_key()
    running.wait_for("/v1/chat/completions", body(1, running.target.model, stream=False))


def start_up_s(running: Running) -> float:
    """From exec to the first answered request. It was started before, so its files and caches are there."""
    running.stop()
    began = time.perf_counter()
    running.start()
    running.wait_for("/v1/chat/completions", body(1, running.target.model, stream=False))
    return time.perf_counter() - began


def standing(
    running: Sequence[Running], idle_mb: dict[str, float], starts: dict[str, list[float]], runs: Sequence[Run]
) -> str:
    """Memory and start-up."""
    peak = {
        r.target.name: max((run.rss_mb for run in runs if run.target == r.target.name), default=0.0) for r in running
    }
    start = {name: statistics.median(times) if times else None for name, times in starts.items()}
    rows = []
    for name in (r.target.name for r in running if r.pid):
        row = [name]
        for values, digits in ((idle_mb, 1), (peak, 1), (start, 3)):
            value, base = values.get(name), values.get("nginx")
            row += [report.number(value, digits), report.times(value / base if value and base else None)]
        rows.append(row)
    head = ["", "idle MB", "× nginx", "under load MB", "× nginx", "start-up s", "× nginx"]
    return f"**Memory and start-up** (exec to first answer, files warm)\n\n{report.table(head, rows)}\n"


def measure(
    args: argparse.Namespace, runnings: list[Running], mock: Mock, home: Path
) -> tuple[dict[str, list[Run]], list[str]]:
    starts: dict[str, list[float]] = {}
    for running in runnings:
        bring_up(running)
        if running.target.command:
            starts[running.target.name] = [start_up_s(running) for _ in range(args.starts)]
    time.sleep(1)
    idle_mb = {r.target.name: machine.rss_mb(r.pid) for r in runnings if r.pid}
    track = Track(mock, runnings, args.load_core, home)
    wanted: list[Phase] = [phase for phase in PHASES if phase.name in args.phases.split(",")]
    results: dict[str, list[Run]] = {}
    sections = []
    for phase in wanted:
        results[phase.name] = track.rounds(phase, args.rounds, args.seconds)
        sections.append(report.section(phase, results[phase.name]))
        print(f"\n{sections[-1]}", flush=True)
    every = [run for runs in results.values() for run in runs]
    rest = [report.growth(dict(results)), standing(runnings, idle_mb, starts, every)]
    if any(r.target.name == "turnpike" for r in runnings):
        rest.append(report.bounds(dict(results)))
    for text in filter(None, rest):
        print(f"\n{text}", flush=True)
    return results, sections + [text for text in rest if text]


def faults(results: dict[str, list[Run]]) -> tuple[list[str], list[str]]:
    """What was wrong at all, and what of it fails the run: LiteLLM's faults are told, ours and the yardsticks' fail."""
    told, fatal = [], []
    for phase, runs in results.items():
        for run in runs:
            for text in run.wrong:
                line = f"{run.target}, {phase}, round {run.round}: {text}"
                told.append(line)
                if run.target in ("direct", "nginx", "turnpike", "budgets"):
                    fatal.append(line)
    return told, fatal


def append(title: str, text: str) -> None:
    """A dated section at the end of RESULTS.md."""
    if not RESULTS.exists():
        RESULTS.write_text(HEADING)
    with RESULTS.open("a") as file:
        file.write(f"\n## {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC: {title}\n\n{text}")
    print(f"bench: appended to {RESULTS.relative_to(provision.ROOT)}")


def circumstances(
    args: argparse.Namespace, given: Sequence[str], runnings: Sequence[Running], told: Sequence[str]
) -> str:
    """What a figure means nothing without: the command, the machine, the versions, what was on, what went wrong."""
    typed = " ".join(["bench/run.sh", *map(shlex.quote, given)])
    lines = [
        f"`{typed}` on {machine.describe()}.",
        f"{args.rounds} rounds of {args.seconds:g} s, gateway on core {args.gateway_core}, load on {args.load_core}.",
        "",
        *(f"- {r.target.name} {r.target.version}: {r.target.features}".replace(" :", ":") for r in runnings),
        "",
    ]
    if args.without:
        lines += [f"Left out: {', '.join(args.without)}.", ""]
    lines += [f"- {line}" for line in told]
    if any(r.target.keeps_books for r in runnings):
        lines.append("- Turnpike's `usage` equalled the mock's bill after every run.")
    return "\n".join([*lines, "", ""])


def others(results: dict[str, list[Run]]) -> str:
    """A warning when the machine was not ours alone; empty when it was."""
    limit = machine.FOREIGN_CORES_MAX
    loud = [run.foreign_cores for runs in results.values() for run in runs if run.foreign_cores > limit]
    share = f"{len(loud)} measurements ({max(loud, default=0):.2f} at worst)"
    return f"others used more than {limit} cores in {share}: run again on a quiet machine" if loud else ""


def main(given: Sequence[str]) -> int:
    args = arguments(given)
    home = Path(tempfile.mkdtemp(prefix="turnpike-bench-"))
    chosen = choose(args, home)
    os.sched_setaffinity(0, {args.load_core})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    mock = Mock([target.door for target in chosen], args.load_core)
    runnings = [Running(target, args.gateway_core) for target in chosen]
    try:
        results, sections = measure(args, runnings, mock, home)
    finally:
        for running in runnings:
            running.stop()
        mock.stop()
        shutil.rmtree(home)
    told, fatal = faults(results)
    for line in told:
        print(f"bench: WRONG: {line}", file=sys.stderr)
    told = told or [ALL_RIGHT]
    if warning := others(results):
        print(f"bench: {warning}", file=sys.stderr)
        told.append(warning)
    if not fatal and not args.no_record:
        append("Turnpike beside the others", circumstances(args, given, runnings, told) + "\n".join(sections))
    if fatal:
        print(
            "bench: FAILED, nothing recorded: a figure counts only if every answer was right and the books agree",
            file=sys.stderr,
        )
    return bool(fatal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
