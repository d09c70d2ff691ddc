"""Every change of the control plane leaves an audit row and raises its rooms' versions, or neither."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from billing.audit import Actor
from billing.audit_head import AUDIT, AuditHead, read_audit_heads
from billing.budgets import Budget
from billing.heads import Head, document, signing_key
from billing.keys import Key, digest, mint
from billing.refusals import Conflict, Invalid, Stale
from billing.store import Store
from billing.verify import verify
from tests.billing.budget_rows import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW_US = 1_764_000_000_000_000
ACTOR = Actor("user", "user_0")
KEY = Key("key_1", "k", "tp-1", digest(b"secret of key 1"), None, None, (), NOW_US)
SECRET = mint("new", bytes([9]) * 32)
BUDGET = Budget("b1", "team", "team_1", limit_nano_usd=1)
ROOMS = ("budgets", "limits", "prices", "tenancy")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(Store(url)) as opened:
        yield opened


def limits(number: int) -> dict[str, Any]:
    return {"limits": {"requests_per_minute": number}}


Step = tuple[str, "Callable[[Store], object]", set[str]]

# In this order on one store: the action, the change, and the rooms that it touches.
STEPS: list[Step] = [
    ("organization.create", lambda s: s.organizations.create("org_1", "o", ACTOR, NOW_US), {"tenancy"}),
    ("organization.update", lambda s: s.organizations.update("org_1", {"name": "p"}, None, ACTOR, NOW_US), {"tenancy"}),
    ("team.create", lambda s: s.create_team("team_1", "t", "org_1", ACTOR, NOW_US), {"tenancy"}),
    ("team.update", lambda s: s.update_team("team_1", {"name": "u"}, None, ACTOR, NOW_US), {"tenancy"}),
    ("team.update", lambda s: s.update_team("team_1", limits(5), None, ACTOR, NOW_US), {"tenancy", "limits"}),
    ("team.create", lambda s: s.create_team("team_2", "t", None, ACTOR, NOW_US, limits(5)), {"tenancy", "limits"}),
    ("team.delete", lambda s: s.delete_team("team_2", None, ACTOR, NOW_US), {"tenancy", "limits"}),
    (
        "user.create",
        lambda s: s.users.create("user_1", "u", "u@example.org", "member", "org_1", ACTOR, NOW_US),
        {"tenancy"},
    ),
    ("user.update", lambda s: s.users.update("user_1", {"role": "admin"}, None, ACTOR, NOW_US), {"tenancy"}),
    ("member.add", lambda s: s.members.add("team_1", "user_1", ACTOR, NOW_US), {"tenancy"}),
    ("key.create", lambda s: s.create_key(KEY, ACTOR, NOW_US), {"tenancy"}),
    ("key.update", lambda s: s.update_key("key_1", {"name": "l"}, None, ACTOR, NOW_US), {"tenancy"}),
    ("key.update", lambda s: s.update_key("key_1", limits(7), None, ACTOR, NOW_US), {"tenancy", "limits"}),
    ("key.rotate", lambda s: s.rotate_key("key_1", SECRET, NOW_US + 9, None, ACTOR, NOW_US), {"tenancy"}),
    ("budget.create", lambda s: s.budgets.create(BUDGET, ACTOR, NOW_US), {"budgets"}),
    ("budget.update", lambda s: s.budgets.update("b1", {"limit_nano_usd": 2}, None, ACTOR, NOW_US), {"budgets"}),
    ("budget.delete", lambda s: s.budgets.delete("b1", None, ACTOR, NOW_US), {"budgets"}),
    (
        "model_limits.set",
        lambda s: s.model_limits.set("gpt-*", {"concurrency_max": 1}, None, ACTOR, NOW_US),
        {"limits"},
    ),
    ("model_limits.delete", lambda s: s.model_limits.delete("gpt-*", None, ACTOR, NOW_US), {"limits"}),
    ("key.revoke", lambda s: s.revoke_key("key_1", None, ACTOR, NOW_US), {"tenancy"}),
    ("member.remove", lambda s: s.members.remove("team_1", "user_1", ACTOR, NOW_US), {"tenancy"}),
    ("user.delete", lambda s: s.users.delete("user_1", None, ACTOR, NOW_US), {"tenancy"}),
    ("team.delete", lambda s: s.delete_team("team_1", None, ACTOR, NOW_US), {"tenancy", "limits"}),
    ("organization.delete", lambda s: s.organizations.delete("org_1", None, ACTOR, NOW_US), {"tenancy"}),
]


def test_every_change_is_audited_and_told_to_the_workers(store: Store) -> None:
    seen = store.control_versions()
    for place, (action, change, rooms) in enumerate(STEPS):
        change(store)
        now = store.control_versions()
        assert {room for room in ROOMS if now[room] != seen[room]} == rooms, action
        seen = now
        (row,) = store.audit.page(1).data
        assert (row.id, row.action, row.actor, row.at_us) == (place + 1, action, ACTOR, NOW_US)
        made, gone = action.endswith((".create", ".add")), action.endswith((".delete", ".remove"))
        assert (row.before is None, row.after is None) == (made or action == "model_limits.set", gone)
    assert store.audit.verify() == ()


def test_a_change_that_changes_nothing_leaves_no_trace(store: Store) -> None:
    for _, change, _ in STEPS[:16]:
        change(store)
    store.model_limits.set("gpt-*", {"concurrency_max": 1}, None, ACTOR, NOW_US)
    seen, last = store.control_versions(), store.audit.page(1).data
    store.organizations.update("org_1", {"name": "p"}, None, ACTOR, NOW_US)
    store.update_team("team_1", {"name": "u", **limits(5)}, None, ACTOR, NOW_US)
    store.update_key("key_1", {"name": "l", **limits(7), "models_allowed": ()}, None, ACTOR, NOW_US)
    store.users.update("user_1", {"role": "admin", "email": "U@example.org"}, None, ACTOR, NOW_US)
    store.budgets.update("b1", {"limit_nano_usd": 2, "soft_limit_nano_usd": None}, None, ACTOR, NOW_US)
    store.model_limits.set("gpt-*", {"concurrency_max": 1, "tokens_per_minute": None}, None, ACTOR, NOW_US)
    assert (store.control_versions(), store.audit.page(1).data) == (seen, last)


def test_a_refused_change_leaves_no_trace(store: Store) -> None:
    store.create_team("team_1", "t", None, ACTOR, NOW_US)
    store.create_key(replace(KEY, team_id="team_1"), ACTOR, NOW_US)
    seen = store.control_versions()
    with pytest.raises(Conflict):
        store.delete_team("team_1", None, ACTOR, NOW_US)
    with pytest.raises(Stale):
        store.update_key("key_1", {"name": "x"}, 9, ACTOR, NOW_US)
    with pytest.raises(Invalid):
        store.budgets.create(replace(BUDGET, limit_nano_usd=-1), ACTOR, NOW_US)
    assert store.control_versions() == seen
    assert len(store.audit.page(9).data) == 2


def test_no_secret_is_in_the_log(store: Store) -> None:
    store.create_key(KEY, ACTOR, NOW_US)
    store.rotate_key("key_1", SECRET, NOW_US + 9, None, ACTOR, NOW_US)
    for row in store.audit.page(9).data:
        told = str((row.before, row.after))
        assert SECRET.rpartition("-")[2] not in told
        assert "digest" not in told
    rotated = store.audit.page(1).data[0]
    assert rotated.before is not None
    assert rotated.after is not None
    assert (rotated.before["prefix"], rotated.after["prefix"]) == ("tp-1", "tp-new")


def test_pages_go_back_in_time_and_by_object(store: Store) -> None:
    for number in range(1, 6):
        store.create_team(f"team_{number}", "t", None, ACTOR, NOW_US)
    store.update_team("team_3", {"name": "x"}, None, Actor("admin_key"), NOW_US)
    first = store.audit.page(2)
    assert ([row.id for row in first.data], first.has_more, first.next) == ([6, 5], True, "5")
    assert [row.id for row in store.audit.page(9, first.next).data] == [4, 3, 2, 1]
    assert [row.id for row in store.audit.page(9, None, "team_3").data] == [6, 3]
    assert [row.id for row in store.audit.page(9, action="team.update").data] == [6]
    assert len(store.audit.page(9, actor_id="user_0").data) == 5
    with pytest.raises(Invalid, match="next"):
        store.audit.page(9, "x")


@pytest.mark.parametrize("harm", ["action = 'team.delete'", "at_us = at_us + 1", "after = NULL", "actor_id = NULL"])
def test_a_row_that_was_changed_is_found(url: str, store: Store, harm: str) -> None:
    for number in range(1, 4):
        store.create_team(f"team_{number}", "t", None, ACTOR, NOW_US)
    unprotected(url, f"UPDATE audit SET {harm} WHERE id = 2")
    assert store.audit.verify() == (2,)


def test_a_row_that_was_taken_out_is_found(url: str, store: Store) -> None:
    for number in range(1, 4):
        store.create_team(f"team_{number}", "t", None, ACTOR, NOW_US)
    unprotected(url, "DELETE FROM audit WHERE id = 2")
    assert store.audit.verify() == (3,)


def test_a_row_with_a_hash_of_its_own_does_not_fit_its_follower(url: str, store: Store) -> None:
    for number in range(1, 4):
        store.create_team(f"team_{number}", "t", None, ACTOR, NOW_US)
    literal = "X'00'" if url.startswith("sqlite") else "'\\x00'::bytea"
    unprotected(url, f"UPDATE audit SET hash = {literal} WHERE id = 2")
    assert store.audit.verify() == (2, 3)


def test_changes_at_once_make_one_chain(store: Store) -> None:
    def change(number: int) -> None:
        for turn in range(4):
            store.create_team(f"team_{number}_{turn}", "t", None, ACTOR, NOW_US)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.id for row in store.audit.page(99).data] == [*range(20, 0, -1)]
    assert store.audit.verify() == ()


def test_a_long_log_is_verified_to_its_end(url: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.audit.VERIFIED_AT_ONCE", 3)
    for number in range(1, 8):
        store.create_team(f"team_{number}", "t", None, ACTOR, NOW_US)
    assert store.audit.verify() == ()
    unprotected(url, "UPDATE audit SET object_id = 'x' WHERE id = 7")
    assert store.audit.verify() == (7,)


def cut(url: str, from_id: int) -> None:
    unprotected(url, f"DELETE FROM audit WHERE id >= {from_id}")


def ledger_says(store: Store, state: Path) -> list[str]:
    return [problem.sentence for problem in verify(store.engine, state).problems if problem.kind == "audit"]


def test_a_tail_that_was_cut_off_shows_by_the_signed_head(url: str, store: Store, tmp_path: Path) -> None:
    head = AuditHead(tmp_path, store.engine)
    head.put(NOW_US)
    assert read_audit_heads(tmp_path) == {}, "nothing to sign"
    for number in range(1, 5):
        store.create_team(f"team_{number}", "t", None, ACTOR, NOW_US)
        head.put(NOW_US + number)
        head.put(NOW_US + 9)  # nothing new
    [(name, put)] = read_audit_heads(tmp_path).items()
    assert put is not None
    assert (name, put.last_id, put.at_us) == ("audit.json", 4, NOW_US + 4)
    assert (store.audit.lost(tmp_path), ledger_says(store, tmp_path)) == ((), [])
    cut(url, 3)
    assert store.audit.verify() == (), "the chain alone does not tell"
    [told] = store.audit.lost(tmp_path)
    assert "signed up to row 4 and ends at 2" in told
    assert ledger_says(store, tmp_path) == [told]


def test_a_tail_that_was_written_anew_shows_and_its_head_is_kept(
    url: str, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 4):
        store.create_team(f"team_{number}", "t", None, ACTOR, NOW_US)
    AuditHead(tmp_path, store.engine).put(NOW_US)
    cut(url, 3)
    for number in range(4, 9):
        store.create_team(f"team_{number}", "t", None, ACTOR, NOW_US)
    AuditHead(tmp_path, store.engine).put(NOW_US)
    assert "has lost the end of the audit log" in caplog.text
    assert set(read_audit_heads(tmp_path)) == {"audit.json", "audit.lost-3.json"}
    [told] = store.audit.lost(tmp_path)
    assert "audit.lost-3.json" in told


def test_several_processes_put_one_head_and_the_newest_stays(store: Store, tmp_path: Path) -> None:
    late, early = AuditHead(tmp_path, store.engine), AuditHead(tmp_path, store.engine)
    store.create_team("team_1", "t", None, ACTOR, NOW_US)
    late._write(Head(AUDIT, *first_row(store), NOW_US))
    old = Head(AUDIT, *first_row(store), NOW_US)
    store.create_team("team_2", "t", None, ACTOR, NOW_US)
    early.put(NOW_US)
    late._write(old)
    assert [head.last_id for head in read_audit_heads(tmp_path).values() if head is not None] == [2]


def first_row(store: Store) -> tuple[int, str]:
    row = store.audit.page(1).data[0]
    return row.id, row.hash.hex()


@pytest.mark.parametrize("forged", [b"", b"{}", b"ledger"])
def test_a_head_that_is_not_signed_for_this_log_is_told(store: Store, tmp_path: Path, forged: bytes) -> None:
    store.create_team("team_1", "t", None, ACTOR, NOW_US)
    AuditHead(tmp_path, store.engine).put(NOW_US)
    if forged == b"ledger":
        forged = document(signing_key(tmp_path), Head(0, *first_row(store), NOW_US))
    (tmp_path / "ledger" / "audit.json").write_bytes(forged)
    [told] = store.audit.lost(tmp_path)
    assert "not signed" in told


def test_a_head_that_cannot_be_written_is_told_and_stops_nothing(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = AuditHead(tmp_path, store.engine)
    (tmp_path / "ledger" / "audit.json").mkdir()
    store.create_team("team_1", "t", None, ACTOR, NOW_US)
    head.put(NOW_US)
    assert "free the disk" in caplog.text


def test_what_is_no_hash_at_all_is_found(sqlite_url: str) -> None:
    with closing(Store(sqlite_url)) as store:
        store.create_team("team_1", "t", None, ACTOR, NOW_US)
        unprotected(sqlite_url, "UPDATE audit SET hash = 'text' WHERE id = 1")
        assert store.audit.verify() == (1,)


def unprotected(url: str, statement: str) -> None:
    """As who owns the database can."""
    if url.startswith("sqlite"):
        execute(url, "DROP TRIGGER audit_no_update")
        execute(url, "DROP TRIGGER audit_no_delete")
    else:
        execute(url, "DROP TRIGGER audit_append_only ON audit")
    execute(url, statement)
