"""Teams and keys: made, changed, rotated, revoked; stale writes refused; every list in pages."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from billing.audit import Actor
from billing.keys import Key, KeyRing, digest, mint
from billing.limits import Limit, Limits
from billing.store import AlreadyExists, Conflict, Invalid, NotFound, Stale, Store, prefix_of
from billing.tenancy import TeamRules
from tests.billing.ledger_rows import query

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_US = 1_764_000_000_000_000
ACTOR = Actor("admin_key")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(Store(url)) as opened:
        yield opened


def entropy(seed: int) -> bytes:
    return bytes([seed]) * 32


def key(number: int = 1, **other: object) -> Key:
    made = Key("", f"key {number}", f"tp-{number}", digest(bytes([number])), None, None, (), NOW_US + number)
    return replace(made, **({"id": f"key_{number}"} | other))  # type: ignore[arg-type]


def test_a_team_is_made_found_changed_and_taken_away(store: Store) -> None:
    made = store.create_team("team_1", "one", None, ACTOR, NOW_US)
    assert store.team("team_1") == made
    changed = store.update_team("team_1", {"name": "eins", "organization_id": "org_1"}, None, ACTOR, NOW_US)
    assert (changed.name, changed.organization_id, changed.version) == ("eins", "org_1", 2)
    store.delete_team("team_1", None, ACTOR, NOW_US)
    assert store.team("team_1") is None
    assert store.teams(10).data == ()
    assert store.team_names() == {"team_1": "eins"}, "reports still name it"


def test_a_team_with_keys_that_work_stays(store: Store) -> None:
    store.create_team("team_1", "one", None, ACTOR, NOW_US)
    store.create_key(key(team_id="team_1"), ACTOR, NOW_US)
    with pytest.raises(Conflict, match="revoke"):
        store.delete_team("team_1", None, ACTOR, NOW_US)
    store.revoke_key("key_1", None, ACTOR, NOW_US)
    store.delete_team("team_1", None, ACTOR, NOW_US)


def test_an_id_is_given_once(store: Store) -> None:
    store.create_team("team_1", "one", None, ACTOR, NOW_US)
    with pytest.raises(AlreadyExists):
        store.create_team("team_1", "two", None, ACTOR, NOW_US)
    store.delete_team("team_1", None, ACTOR, NOW_US)
    with pytest.raises(AlreadyExists):
        store.create_team("team_1", "three", None, ACTOR, NOW_US)
    store.create_key(key(), ACTOR, NOW_US)
    with pytest.raises(AlreadyExists):
        store.create_key(key(2, id="key_1"), ACTOR, NOW_US)


def test_a_secret_belongs_to_one_key(store: Store) -> None:
    store.create_key(key(), ACTOR, NOW_US)
    with pytest.raises(AlreadyExists, match="secret"):
        store.create_key(key(2, digest=key().digest), ACTOR, NOW_US)
    store.rotate_key("key_1", mint("new", entropy(9)), NOW_US + 10, None, ACTOR, NOW_US)
    with pytest.raises(AlreadyExists, match="secret"):
        store.create_key(key(2, digest=key().digest), ACTOR, NOW_US)


@pytest.mark.parametrize("version", [2, 0])
def test_a_stale_change_is_refused(store: Store, version: int) -> None:
    store.create_team("team_1", "one", None, ACTOR, NOW_US)
    store.create_key(key(), ACTOR, NOW_US)
    with pytest.raises(Stale):
        store.update_team("team_1", {"name": "x"}, version, ACTOR, NOW_US)
    with pytest.raises(Stale):
        store.delete_team("team_1", version, ACTOR, NOW_US)
    with pytest.raises(Stale):
        store.update_key("key_1", {"name": "x"}, version, ACTOR, NOW_US)
    with pytest.raises(Stale):
        store.revoke_key("key_1", version, ACTOR, NOW_US)
    with pytest.raises(Stale):
        store.rotate_key("key_1", mint("new", entropy(9)), NOW_US, version, ACTOR, NOW_US)
    assert store.update_team("team_1", {"name": "x"}, 1, ACTOR, NOW_US).version == 2
    assert store.update_key("key_1", {"name": "x"}, 1, ACTOR, NOW_US).version == 2


def test_what_does_not_exist_is_said_so(store: Store) -> None:
    assert (store.team("x"), store.key("x"), store.request("x")) == (None, None, None)
    with pytest.raises(NotFound):
        store.update_team("x", {}, None, ACTOR, NOW_US)
    with pytest.raises(NotFound):
        store.delete_team("x", None, ACTOR, NOW_US)
    with pytest.raises(NotFound):
        store.update_key("x", {}, None, ACTOR, NOW_US)
    with pytest.raises(NotFound):
        store.revoke_key("x", None, ACTOR, NOW_US)
    with pytest.raises(NotFound):
        store.rotate_key("x", mint("new", entropy(9)), NOW_US, None, ACTOR, NOW_US)
    with pytest.raises(NotFound):
        store.create_key(key(team_id="x"), ACTOR, NOW_US)
    store.create_key(key(), ACTOR, NOW_US)
    with pytest.raises(NotFound):
        store.update_key("key_1", {"team_id": "x"}, None, ACTOR, NOW_US)


def test_an_unknown_field_is_refused_by_name(store: Store) -> None:
    store.create_team("team_1", "one", None, ACTOR, NOW_US)
    store.create_key(key(), ACTOR, NOW_US)
    with pytest.raises(Invalid, match="budget"):
        store.update_team("team_1", {"budget": 1}, None, ACTOR, NOW_US)
    with pytest.raises(Invalid, match="digest"):
        store.update_key("key_1", {"digest": b""}, None, ACTOR, NOW_US)
    with pytest.raises(Invalid, match="colour"):
        store.usage(("colour",), None, None)
    with pytest.raises(Invalid, match="name"):
        store.usage((), None, None, filters={"name": "x"})


def test_a_key_comes_back_as_it_was_kept(store: Store) -> None:
    store.create_team("team_1", "one", None, ACTOR, NOW_US)
    kept = key(
        team_id="team_1",
        user_id="user_1",
        organization_id="org_1",
        models_allowed=("openai/*", "x"),
        scopes=("usage",),
        limits={"requests_per_minute": 60},
        expires_at_us=NOW_US + 1,
    )
    store.create_key(kept, ACTOR, NOW_US)
    assert store.key("key_1") == kept
    assert store.all_keys() == (kept,)
    changes: dict[str, object] = {"models_allowed": (), "limits": {}, "team_id": None, "expires_at_us": None}
    changed = store.update_key("key_1", changes, None, ACTOR, NOW_US)
    assert changed == replace(kept, models_allowed=(), limits={}, team_id=None, expires_at_us=None, version=2)


def test_a_revoked_key_stays_revoked(store: Store) -> None:
    store.create_key(key(), ACTOR, NOW_US)
    revoked = store.revoke_key("key_1", None, ACTOR, NOW_US)
    assert revoked.revoked_at_us == NOW_US
    assert store.revoke_key("key_1", None, ACTOR, NOW_US + 5) == revoked
    assert store.all_keys() == ()
    assert store.keys(10).data == (revoked,)
    with pytest.raises(Conflict):
        store.update_key("key_1", {"name": "x"}, None, ACTOR, NOW_US)
    with pytest.raises(Conflict):
        store.rotate_key("key_1", mint("new", entropy(9)), NOW_US, None, ACTOR, NOW_US)


def test_a_rotated_key_has_two_secrets_for_a_while(store: Store) -> None:
    store.create_key(key(), ACTOR, NOW_US)
    secret = mint("new", entropy(9))
    rotated = store.rotate_key("key_1", secret, NOW_US + 10, None, ACTOR, NOW_US)
    assert rotated.prefix == "tp-new"
    ring = KeyRing(store.all_keys())
    assert ring.find(digest(secret.encode()), NOW_US + 10) is not None
    assert ring.find(key().digest, NOW_US + 9) is not None
    assert ring.find(key().digest, NOW_US + 10) is None


def test_the_secret_itself_is_nowhere(sqlite_url: str) -> None:
    secret = mint("publicid1", entropy(7))
    made = key(digest=digest(secret.encode()), prefix=prefix_of(secret))
    with closing(Store(sqlite_url)) as store:
        store.create_key(made, ACTOR, NOW_US)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as database:
        dump = "\n".join(database.iterdump())
    database.close()
    assert made.digest.hex().upper() in dump.upper()
    assert secret not in dump
    assert secret.rpartition("-")[2] not in dump


def test_lists_come_in_pages(store: Store) -> None:
    for number in range(1, 6):
        store.create_team(f"team_{number}", "same", None, ACTOR, NOW_US)
        store.create_key(key(number, team_id="team_1" if number % 2 else None), ACTOR, NOW_US)
    first = store.teams(2)
    assert ([team.id for team in first.data], first.has_more, first.next) == (["team_1", "team_2"], True, "team_2")
    second = store.teams(2, first.next)
    last = store.teams(2, second.next)
    assert ([team.id for team in last.data], last.has_more, last.next) == (["team_5"], False, None)
    assert store.teams(5).has_more is False
    assert [one.id for one in store.keys(2, "key_1").data] == ["key_2", "key_3"]
    assert [one.id for one in store.keys(9, "key_1", "team_1").data] == ["key_3", "key_5"]
    assert store.keys(2, "gone").data == ()


def test_of_two_writers_at_once_one_is_stale(store: Store) -> None:
    store.create_team("team_1", "one", None, ACTOR, NOW_US)
    outcomes: list[str] = []

    def change(name: str) -> None:
        try:
            store.update_team("team_1", {"name": name}, 1, ACTOR, NOW_US)
            outcomes.append(name)
        except Stale:
            outcomes.append("stale")

    threads = [threading.Thread(target=change, args=(f"n{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.team("team_1")
    assert outcomes.count("stale") == 5
    assert found is not None
    assert found.name in outcomes


def test_a_store_says_what_its_database_lacks(empty_postgres_url: str) -> None:
    with closing(Store(empty_postgres_url)) as store:
        assert store.behind() == ("0001", "0002")
        assert store.migrate() == ("0001", "0002")
        assert store.behind() == ()
        assert query(empty_postgres_url, "SELECT version_num FROM alembic_version") == [("0002",)]


def test_what_a_team_says_of_its_keys_is_kept_and_read_for_the_data_plane(store: Store) -> None:
    rules = {
        "models_allowed": ("a/*",),
        "limits": {"requests_per_minute": 5, "models": {"m": {"concurrency_max": 2}}},
        "tags": {"env": "prod"},
        "tags_required": ("feature",),
        "tags_allowed": {"feature": ("x", "y")},
    }
    made = store.create_team("t1", "One", "org", ACTOR, 5, rules)
    assert store.team("t1") == made
    assert store.team_rules() == (
        TeamRules(
            "t1",
            "org",
            ("a/*",),
            Limits(Limit(requests_per_minute=5), (("m", Limit(concurrency_max=2)),)),
            {"env": "prod"},
            ("feature",),
            {"feature": ("x", "y")},
        ),
    )
    changed = store.update_team("t1", {"limits": {}, "tags": {}}, None, ACTOR, 6)
    assert (changed.limits, changed.tags, changed.tags_required) == ({}, {}, ("feature",))
    store.update_team("t1", {"tags_required": ()}, None, ACTOR, 7)
    store.delete_team("t1", None, ACTOR, 9)
    assert store.team_rules() == ()
    with pytest.raises(Invalid):
        store.create_team("t2", "Two", None, ACTOR, 5, {"version": 9})


def test_a_keys_limits_may_be_of_models_too(store: Store) -> None:
    limits = {"tokens_per_minute": 7, "models": {"m*": {"requests_per_minute": 1}}}
    made = key(limits=limits)
    store.create_key(made, ACTOR, NOW_US)
    found = store.key(made.id)
    assert found is not None
    assert found.limits == limits
    assert store.limits_of_models() == {}


def test_keys_and_teams_are_listed_by_whose_they_are(store: Store) -> None:
    store.create_team("team_1", "one", "org_1", ACTOR, NOW_US)
    store.create_team("team_2", "two", None, ACTOR, NOW_US)
    store.create_key(key(1, user_id="user_1", team_id="team_1"), ACTOR, NOW_US)
    store.create_key(key(2, user_id="user_2", team_id="team_1"), ACTOR, NOW_US)
    assert [team.id for team in store.teams(9, None, "org_1").data] == ["team_1"]
    assert [one.id for one in store.keys(9, None, None, "user_2").data] == ["key_2"]
    assert [one.id for one in store.keys(9, None, "team_1", "user_1").data] == ["key_1"]
