"""`turnpike import litellm`: the configuration into a turnpike.yaml, and out of the database who there is, their keys,
budgets and spend so far. What is not converted is said, a line each. A second run finds nothing to do.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing.money import usd_text
from gateway.cli import reach
from gateway.cli.apply.carry_out import carry_out, present
from gateway.cli.apply.checks import checked
from gateway.cli.apply.plan import Change, Verb, gone, plan
from gateway.cli.apply.show import as_json, diff
from gateway.cli.apply.wanted import desired
from gateway.cli.litellm.brought import Converted, converted
from gateway.cli.litellm.from_dump import read_dump
from gateway.cli.litellm.notes import Notes
from gateway.cli.litellm.openings import beyond, openings
from gateway.cli.litellm.posting import post, posted
from gateway.cli.litellm.proxy_config import proxy_of
from gateway.cli.litellm.written import settings_of, standing, text_of, write
from gateway.cli.refusal import Refused
from gateway.cli.tables import json_text
from gateway.config.document import TEXT_BYTES_MAX, Document, parse
from gateway.config.problems import ConfigError
from gateway.config.references import UnresolvedError, variable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.litellm.openings import Opening
    from gateway.cli.litellm.rows import Tables
    from gateway.cli.situation import Situation
    from gateway.config.schema import Settings


@dataclass(frozen=True, slots=True)
class Brought:
    """What was brought or, on a dry run, would be."""

    changes: Sequence[Change]
    openings: Sequence[Opening]


def import_litellm(here: Situation) -> int:
    notes = Notes()
    path = Path(here.option("path"))
    proxy = proxy_of(_config(path), notes)
    out = Path(here.option("out")) if here.option("out") is not None else path.with_name("turnpike.yaml")
    text = text_of(proxy.tree)
    settings, wrong = settings_of(text, str(out), here.environ, proxy.tree)
    for problem in wrong:
        notes.add("turnpike.yaml", f"needs a hand: {problem}")
    tables = _tables(here)
    running = here.config_path()
    # A file of ours is as good as the text that it was written from, whatever credentials are missing here.
    if tables is not None and running is not None and standing(running) != text:
        settings = here.settings()
    if tables is not None and settings is None:
        raise Refused(f"{wrong[0]}; give a --config with which this Turnpike runs")
    written = _write(here, out, text, notes)
    if tables is None or settings is None:
        _tell(here, out, written, Brought((), ()), None, notes)
        return 0
    found = converted(tables, proxy.groups, proxy.timezone, datetime.now(UTC), notes)  # noqa: TID251
    brought = _bring(here, settings, found, notes)
    _tell(here, out, written, brought, found, notes)
    return 0


def _config(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(TEXT_BYTES_MAX + 1).decode("utf-8-sig")
        return parse(text, str(path)).tree
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Refused(f"{path} cannot be read: {reason}; name the proxy's config.yaml") from None
    except ConfigError as error:
        raise Refused(str(error)) from None


def _tables(here: Situation) -> Tables | None:
    if here.option("dump") is not None:
        return read_dump(Path(here.option("dump")))
    if here.option("database") is None:
        return None
    from gateway.cli.litellm.from_database import read_database  # noqa: PLC0415 - half a second of imports

    named: str = here.option("database")
    if named.startswith("env:"):
        try:
            value = variable(named.removeprefix("env:"), here.environ)
        except UnresolvedError as error:
            raise Refused(str(error)) from None
        if value is None:
            raise Refused(f"the environment variable {named.removeprefix('env:')} is not set")
        named = value
    return read_database(named)


def _write(here: Situation, out: Path, text: str, notes: Notes) -> str:
    there = standing(out)
    if there == text:
        return f"{out} says this already"
    if there is not None and here.option("out") is not None:
        raise Refused(f"{out} exists and says something else; move it away, or name another with --out")
    if there is not None:
        notes.add(str(out), "exists and says something else; --out FILE writes the configuration beside it")
        return f"{out} stays as it is"
    if here.option("dry_run"):
        return f"would write {out}"
    write(out, text)
    return f"wrote {out}"


def _bring(here: Situation, settings: Settings, found: Converted, notes: Notes) -> Brought:
    dry_run = bool(here.option("dry_run"))
    wanted = desired(Document(dict(found.tree)))
    try:
        checked(wanted)
        desk = None if dry_run and reach.untouched(settings) else here.desk_of(settings)
        there = present(desk, wanted, prune=False) if desk is not None else {}
        # Whoever revoked a key here since meant it.
        revoked = {row["id"] for row in there.get("keys", []) if gone(row)}
        for row in found.tree["keys"]:
            if row["id"] in revoked:
                notes.add(f"key {row['name']}", "was revoked here since; it stays so")
        wanted["keys"] = tuple(one for one in wanted["keys"] if one.fields["id"] not in revoked)
        wanted["budgets"] = tuple(one for one in wanted["budgets"] if one.fields["scope"]["id"] not in revoked)
        changes = plan(wanted, there, datetime.now(UTC), prune=False)  # noqa: TID251
    except ConfigError as error:
        raise Refused(str(error)) from None
    before = list(posted(desk)) if desk is not None else []
    to_post, short = openings(beyond(found.spends, before))
    for (team, user), left in short.items():
        notes.add(
            f"member {user} of team {team}",
            f"${usd_text(left)} of its spend is more than its team or its user has in the present period; begins "
            "without it",
        )
    if desk is not None and not dry_run:
        for _ in carry_out(desk, changes):
            pass
        post(desk, to_post, before)
    return Brought(changes, to_post)


def _tell(here: Situation, out: Path, written: str, brought: Brought, found: Converted | None, notes: Notes) -> None:
    dry_run = bool(here.option("dry_run"))
    if found is not None and found.rounded:
        notes.add(
            "amounts",
            f"{found.rounded} of LiteLLM's were finer than a nano-dollar: read by their decimal text and rounded half "
            "to even",
        )
    summary = _summary(brought, found, dry_run=dry_run)
    if here.option("json"):
        said = as_json(brought.changes, dry_run=dry_run)
        said |= {"file": str(out), "not_converted": notes.lines, "summary": summary}
        print(json_text(said))
        return
    if dry_run and brought.changes:
        print(diff(brought.changes))
    for line in notes.lines:
        print(f"not converted: {line}")
    print(written)
    print(summary, file=sys.stderr)


def _summary(brought: Brought, found: Converted | None, *, dry_run: bool) -> str:
    if found is None:
        return "the configuration alone; give --database or --dump for teams, keys, budgets and spend"
    made = Counter(change.kind for change in brought.changes if change.verb is Verb.CREATE)
    changed = sum(change.verb is Verb.UPDATE for change in brought.changes)
    said = ", ".join(f"{made[kind]} of {len(rows)} {kind}" for kind, rows in found.tree.items())
    total = usd_text(sum(one.amount_nano_usd for one in brought.openings))
    verb = "would be brought" if dry_run else "brought"
    return f"{verb}: {said}; {changed} changed; {len(brought.openings)} opening balances of ${total} together"
