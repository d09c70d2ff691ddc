"""A process dies before and after every statement, commit and write of the paid path: the books are whole each time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.billing.blank_books import blank_books

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.billing.blank_books import Blank
    from tests.fixtures.figures import Tell

ROOT: Final = Path(__file__).parents[2]
# Of a death at every step: what must be among the places, or the path leads past what it is for.
PLACES: Final = (
    *("DefaultDialect.do_commit", "Journal._write", "Journal._new", "Journal.sync", "Journal.discard", "Heads.put"),
    *("Path.unlink", "INSERT INTO leases", "INSERT INTO budget_accounts", "INSERT INTO entries", "INSERT INTO batches"),
    *("INSERT INTO requests", "INSERT INTO usage_quarters", "UPDATE budget_accounts", "UPDATE leases"),
    *("DELETE FROM leases",),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def blank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blank]:
    server = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    with blank_books(server, tmp_path) as made:
        yield made


# The steps that it dies at are wrapped around methods.
@pytest.mark.source
@pytest.mark.slow
@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.long)])
def test_a_crash_at_any_step_of_the_paid_path_leaves_whole_books(
    blank: Blank, tmp_path: Path, every: int, request: pytest.FixtureRequest, figure: Tell
) -> None:
    command = [sys.executable, "-m", "tests.billing.crash_path", blank.url, str(tmp_path / "state"), "1", str(every)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["deaths"] >= found["steps"] // every * 0.97, "some walks end a few steps earlier than the first"
    if every == 1:
        missing = [
            (when, place)
            for when in ("before", "after")
            for place in PLACES
            if not any(where.startswith(f"{when} {place}") for where in found["places"])
        ]
        assert missing == []
    figure(
        "a process that dies at every step of the paid path (statements, commits, journal), then recovers",
        f"{request.node.callspec.params['blank']}, {found['deaths']} of {found['steps']} steps",
        f"invariants hold at each; {len(found['places'])} kinds of places",
    )
