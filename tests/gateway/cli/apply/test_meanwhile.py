"""Somebody else changes a thing between the reading and the change of `turnpike apply`: it is told, not overwritten."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from billing.store import migrate
from gateway.cli.apply.carry_out import carry_out, present
from gateway.cli.apply.plan import plan
from gateway.cli.apply.wanted import desired
from gateway.cli.over_books import open_books
from gateway.cli.refusal import Refused
from gateway.config.document import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gateway.cli.apply.plan import Change
    from gateway.cli.over_books import BooksDesk

NOW_US = 1_764_072_000_000_000
FILE = """\
organizations: [{id: o, name: O}]
teams: [{id: t, name: T, organization_id: o, models_allowed: ["openai/*"]}]
users: [{id: u, name: U, email: u@example.org}]
keys: [{id: k, name: K, team_id: t, key_sha256: "%s"}]
budgets: [{id: b, scope: {type: team, id: t}, limit_usd: 10}]
limits: [{model: m, requests_per_minute: 1}]
"""
MADE = FILE % ("ab" * 32)
CHANGED = """\
organizations: [{id: o, name: O2}]
teams: [{id: t, name: T2}]
users: [{id: u, name: U2, email: u@example.org}]
keys: [{id: k, name: K2}]
budgets: [{id: b, scope: {type: team, id: t}, limit_usd: 20}]
limits: [{model: m, requests_per_minute: 2}]
"""
# What somebody else does to each, and what is said of it.
MEANWHILE: dict[str, tuple[dict[str, Any], str]] = {
    "organizations/o": ({"name": "Theirs"}, "name was O, is Theirs"),
    "teams/t": ({"models_allowed": []}, "models_allowed was openai/*, is –"),
    "users/u": ({"name": "Theirs"}, "name was U, is Theirs"),
    "keys/k": ({"name": "Theirs"}, "name was K, is Theirs"),
    "budgets/b": ({"limit_usd": "5"}, "limit_usd was 10.000000000, is 5.000000000"),
    "limits/m": ({"requests_per_minute": 9}, "requests_per_minute was 1, is 9"),
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BooksDesk]:
    url = f"sqlite:///{tmp_path}/books.db"
    migrate(url)
    with closing(open_books(url, lambda: NOW_US)) as opened:
        list(carry_out(opened, changes(opened, MADE)))
        yield opened


def changes(desk: BooksDesk, text: str, *, prune: bool = False) -> tuple[Change, ...]:
    wanted = desired(parse(text, "wanted.yaml"))
    return plan(wanted, present(desk, wanted, prune=prune), datetime.now(UTC), prune=prune)  # noqa: TID251


def about(path: str, found: Sequence[Change]) -> list[Change]:
    kind, one = path.split("/")
    return [change for change in found if (change.kind, change.id) == (kind, one)]


def there(desk: BooksDesk, path: str) -> Any:
    return desk.ask("GET", f"/admin/v1/{path}")


@pytest.mark.parametrize("path", MEANWHILE)
def test_what_somebody_changed_meanwhile_is_not_overwritten(desk: BooksDesk, path: str) -> None:
    theirs, said = MEANWHILE[path]
    planned = about(path, changes(desk, CHANGED))
    desk.ask("PATCH", f"/admin/v1/{path}", theirs)
    kept = there(desk, path)
    with pytest.raises(Refused, match="somebody changed it meanwhile and it was left so") as refused:
        list(carry_out(desk, planned))
    assert said in str(refused.value)
    assert "run it again" in str(refused.value)
    assert there(desk, path) == kept
    list(carry_out(desk, about(path, changes(desk, CHANGED))))
    assert about(path, changes(desk, CHANGED)) == [], "another run reads anew"


def test_what_somebody_changed_meanwhile_is_not_removed(desk: BooksDesk) -> None:
    planned = changes(desk, "budgets: []\n", prune=True)
    desk.ask("PATCH", "/admin/v1/budgets/b", {"limit_usd": "5"})
    with pytest.raises(Refused, match=r"delete budget .* limit_usd was 10\.000000000, is 5\.000000000"):
        list(carry_out(desk, planned))
    assert there(desk, "budgets/b")["limit_usd"] == "5.000000000"


def test_what_somebody_removed_meanwhile_is_said_to_be_gone(desk: BooksDesk) -> None:
    planned = about("budgets/b", changes(desk, CHANGED))
    desk.ask("DELETE", "/admin/v1/budgets/b")
    with pytest.raises(Refused, match="No budget has the id `b`"):
        list(carry_out(desk, planned))


def test_a_whole_file_is_changed_and_pruned_at_once(desk: BooksDesk) -> None:
    """No change of the file's own makes another of its changes stale."""
    assert len(list(carry_out(desk, changes(desk, CHANGED)))) == 6
    nothing = "\n".join(f"{kind}: []" for kind in ("organizations", "teams", "users", "keys", "budgets", "limits"))
    assert len(list(carry_out(desk, changes(desk, nothing, prune=True)))) == 6
