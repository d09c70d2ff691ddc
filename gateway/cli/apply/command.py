"""`turnpike apply FILE`: makes what a file describes, and says what it does; with --dry-run says it alone."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import reach
from gateway.cli.apply.carry_out import carry_out, present
from gateway.cli.apply.checks import checked
from gateway.cli.apply.kinds import KINDS
from gateway.cli.apply.plan import Change, plan
from gateway.cli.apply.show import as_json, diff, summary
from gateway.cli.apply.wanted import desired
from gateway.cli.refusal import Refused
from gateway.cli.tables import json_text
from gateway.config.document import TEXT_BYTES_MAX, Document, parse
from gateway.config.problems import ConfigError
from gateway.config.references import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.cli.situation import Situation


def apply(here: Situation) -> int:
    dry_run, prune = bool(here.option("dry_run")), bool(here.option("prune"))
    try:
        wanted = desired(_document(here.option("path"), here.environ))
        checked(wanted)
        settings = here.settings()
        desk = None if dry_run and reach.untouched(settings) else here.desk_of(settings)
        there = {} if desk is None else present(desk, wanted, prune=prune)
        changes = plan(wanted, there, datetime.now(UTC), prune=prune)  # noqa: TID251
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 1
    done = [] if desk is None or dry_run else list(carry_out(desk, changes))
    tell(here, changes, done, dry_run=dry_run)
    return 0


def tell(here: Situation, changes: Sequence[Change], done: Sequence[tuple[Change, Any]], *, dry_run: bool) -> None:
    """The changes and, this once, the secrets of keys that came without one."""
    made = [answer for change, answer in done if _minted(change, answer)]
    if here.option("json"):
        said = as_json(changes, dry_run=dry_run)
        said["keys"] = [{"id": key["id"], "name": key["name"], "key": key["key"]} for key in made]
        print(json_text(said))
        return
    if changes:
        print(diff(changes))
    for key in made:
        print(f"key {key['name']} ({key['id']}): {key['key']}")
    print(summary(changes, dry_run=dry_run), file=sys.stderr)


def _minted(change: Change, answer: Any) -> bool:
    """A secret that the file did not bring is known to nobody unless it is told now."""
    return change.kind == "keys" and isinstance(answer, dict) and bool(answer.get("key")) and "key" not in change.fields


def _document(name: str, environ: Mapping[str, str]) -> Document:
    """YAML, of which JSON is a part, with `env:` and `file:` replaced by what they stand for."""
    try:
        if name == "-":
            text, folder = sys.stdin.read(TEXT_BYTES_MAX + 1), Path()
        else:
            path = Path(name)
            with path.open("rb") as file:
                text, folder = file.read(TEXT_BYTES_MAX + 1).decode("utf-8-sig"), path.absolute().parent
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Refused(f"{name} cannot be read: {reason}; name a file with {', '.join(KINDS)}") from None
    document = parse(text, "standard input" if name == "-" else name, folder)
    problems = list(resolve(document, environ))
    if problems:
        raise ConfigError(problems)
    return document
