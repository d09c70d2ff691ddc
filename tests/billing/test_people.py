"""Organizations, users and members: made, changed, deleted; stale and impossible changes refused, in words."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from billing.audit import Actor
from billing.keys import Key, digest
from billing.refusals import AlreadyExists, Conflict, Invalid, NotFound, Stale
from billing.roles import Role
from billing.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW_US = 1_764_000_000_000_000
ACTOR = Actor("user", "user_0")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(Store(url)) as opened:
        yield opened


def give_user(store: Store, number: int = 1, **other: str | None) -> None:
    given = {"email": f"u{number}@example.org", "role": "member", "organization_id": None, **other}
    store.users.create(
        f"user_{number}",
        f"user {number}",
        str(given["email"]),
        str(given["role"]),
        given["organization_id"],
        ACTOR,
        NOW_US + number,
    )


def give_key(store: Store, **other: object) -> None:
    key = Key("key_1", "k", "tp-1", digest(b"1"), None, None, (), NOW_US)
    store.create_key(replace(key, **other), ACTOR, NOW_US)  # type: ignore[arg-type]


def test_an_organization_is_made_found_renamed_and_taken_away(store: Store) -> None:
    made = store.organizations.create("org_1", "one", ACTOR, NOW_US)
    assert store.organizations.get("org_1") == made
    renamed = store.organizations.update("org_1", {"name": "eins"}, 1, ACTOR, NOW_US)
    assert renamed == replace(made, name="eins", version=2)
    store.organizations.delete("org_1", 2, ACTOR, NOW_US)
    assert store.organizations.get("org_1") is None
    assert store.organizations.list(9).data == ()
    assert store.organizations.names() == {"org_1": "eins"}, "reports still name it"
    with pytest.raises(AlreadyExists, match="another id"):
        store.organizations.create("org_1", "two", ACTOR, NOW_US)


def test_an_organization_with_somebody_in_it_stays(store: Store) -> None:
    store.organizations.create("org_1", "one", ACTOR, NOW_US)
    store.create_team("team_1", "t", "org_1", ACTOR, NOW_US)
    with pytest.raises(Conflict, match="team 'team_1'"):
        store.organizations.delete("org_1", None, ACTOR, NOW_US)
    store.delete_team("team_1", None, ACTOR, NOW_US)
    give_user(store, organization_id="org_1")
    with pytest.raises(Conflict, match="user 'user_1'"):
        store.organizations.delete("org_1", None, ACTOR, NOW_US)
    store.users.delete("user_1", None, ACTOR, NOW_US)
    give_key(store, organization_id="org_1")
    with pytest.raises(Conflict, match="key 'key_1'"):
        store.organizations.delete("org_1", None, ACTOR, NOW_US)
    store.revoke_key("key_1", None, ACTOR, NOW_US)
    store.organizations.delete("org_1", None, ACTOR, NOW_US)


def test_a_user_is_made_found_changed_and_taken_away(store: Store) -> None:
    store.organizations.create("org_1", "one", ACTOR, NOW_US)
    made = store.users.create("user_1", "Ada", " Ada@Example.ORG", "billing", "org_1", ACTOR, NOW_US)
    assert (made.email, made.role) == ("ada@example.org", Role.BILLING)
    assert store.users.get("user_1") == store.users.by_email("ADA@example.org") == made
    changes = {"role": "owner", "email": "ada@example.com", "organization_id": None}
    changed = store.users.update("user_1", changes, 1, ACTOR, NOW_US)
    assert changed == replace(made, role=Role.OWNER, email="ada@example.com", organization_id=None, version=2)
    store.users.delete("user_1", 2, ACTOR, NOW_US)
    assert store.users.get("user_1") is store.users.by_email("ada@example.com") is None
    assert store.users.names() == {"user_1": "Ada"}, "reports still name them"


def test_an_address_is_one_live_users(store: Store) -> None:
    give_user(store, 1, email="a@example.org")
    give_user(store, 2)
    with pytest.raises(AlreadyExists, match="user_1"):
        give_user(store, 3, email="A@example.org")
    with pytest.raises(AlreadyExists, match="user_1"):
        store.users.update("user_2", {"email": "a@example.org"}, None, ACTOR, NOW_US)
    store.users.delete("user_1", None, ACTOR, NOW_US)
    store.users.update("user_2", {"email": "a@example.org"}, None, ACTOR, NOW_US)
    with pytest.raises(AlreadyExists, match="existed"):
        give_user(store, 1)


def test_of_two_users_who_take_an_address_at_once_one_has_it(store: Store) -> None:
    refused: list[str] = []

    def take(number: int) -> None:
        try:
            give_user(store, number, email="one@example.org")
        except AlreadyExists:
            refused.append(f"user_{number}")

    threads = [threading.Thread(target=take, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.users.list(9).data) == 1
    assert len(refused) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"email": "nobody"}, "name@example.org"),
        ({"email": "a@b@c"}, "name@example.org"),
        ({"email": "a b@example.org"}, "name@example.org"),
        ({"role": "king"}, "owner, admin, billing"),
        ({"name": " "}, "name"),
        ({"version": 7}, "'version'"),
    ],
)
def test_what_a_user_cannot_be_is_said(store: Store, changes: dict[str, object], said: str) -> None:
    give_user(store)
    with pytest.raises(Invalid, match=said):
        store.users.update("user_1", changes, None, ACTOR, NOW_US)


def test_a_user_with_keys_that_work_stays(store: Store) -> None:
    give_user(store)
    give_key(store, user_id="user_1")
    with pytest.raises(Conflict, match="key_1"):
        store.users.delete("user_1", None, ACTOR, NOW_US)
    store.revoke_key("key_1", None, ACTOR, NOW_US)
    store.users.delete("user_1", None, ACTOR, NOW_US)


def test_users_are_listed_in_pages_and_by_what_they_are(store: Store) -> None:
    store.organizations.create("org_1", "one", ACTOR, NOW_US)
    for number in range(1, 5):
        give_user(store, number, role="viewer" if number % 2 else "admin", organization_id="org_1")
    first = store.users.list(3)
    assert ([user.id for user in first.data], first.next) == (["user_1", "user_2", "user_3"], "user_3")
    assert [user.id for user in store.users.list(3, first.next).data] == ["user_4"]
    assert [user.id for user in store.users.list(9, None, {"role": "viewer"}).data] == ["user_1", "user_3"]
    assert len(store.users.list(9, None, {"organization_id": "org_1"}).data) == 4
    with pytest.raises(Invalid, match="name"):
        store.users.list(9, None, {"name": "x"})


def test_members_come_and_go(store: Store) -> None:
    store.create_team("team_1", "t", None, ACTOR, NOW_US)
    store.create_team("team_2", "t", None, ACTOR, NOW_US)
    give_user(store, 1)
    give_user(store, 2)
    first = store.members.add("team_1", "user_1", ACTOR, NOW_US)
    second = store.members.add("team_1", "user_2", ACTOR, NOW_US + 1)
    third = store.members.add("team_2", "user_1", ACTOR, NOW_US + 2)
    assert store.members.list("team_1") == (first, second)
    assert store.members.list(user_id="user_1") == (first, third)
    with pytest.raises(AlreadyExists, match="already"):
        store.members.add("team_1", "user_1", ACTOR, NOW_US)
    store.members.remove("team_1", "user_2", ACTOR, NOW_US)
    with pytest.raises(NotFound, match="members"):
        store.members.remove("team_1", "user_2", ACTOR, NOW_US)
    store.delete_team("team_1", None, ACTOR, NOW_US)
    assert store.members.list() == (third,)
    store.users.delete("user_1", None, ACTOR, NOW_US)
    assert store.members.list() == ()


def test_only_who_exists_can_be_a_member(store: Store) -> None:
    store.create_team("team_1", "t", None, ACTOR, NOW_US)
    give_user(store)
    with pytest.raises(NotFound, match="no team"):
        store.members.add("team_9", "user_1", ACTOR, NOW_US)
    with pytest.raises(NotFound, match="no user"):
        store.members.add("team_1", "user_9", ACTOR, NOW_US)
    with pytest.raises(NotFound, match="no organization"):
        give_user(store, 2, organization_id="org_9")
    with pytest.raises(NotFound, match="no organization"):
        store.users.update("user_1", {"organization_id": "org_9"}, None, ACTOR, NOW_US)


def stale_changes(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.organizations.update("org_1", {"name": "x"}, 7, ACTOR, NOW_US),
        lambda: store.organizations.delete("org_1", 7, ACTOR, NOW_US),
        lambda: store.users.update("user_1", {"name": "x"}, 7, ACTOR, NOW_US),
        lambda: store.users.delete("user_1", 7, ACTOR, NOW_US),
    ]


def test_a_stale_change_is_refused_and_what_does_not_exist_is_said_so(store: Store) -> None:
    for change in stale_changes(store):
        with pytest.raises(NotFound, match="list them"):
            change()
    store.organizations.create("org_1", "one", ACTOR, NOW_US)
    give_user(store)
    for change in stale_changes(store):
        with pytest.raises(Stale, match="read it again"):
            change()


@pytest.mark.parametrize("given", ["", "x" * 201])
def test_an_id_has_a_length(store: Store, given: str) -> None:
    with pytest.raises(Invalid, match="1 to 200"):
        store.organizations.create(given, "one", ACTOR, NOW_US)
    with pytest.raises(Invalid, match="1 to 200"):
        store.users.create(given, "u", "u@example.org", "member", None, ACTOR, NOW_US)
    with pytest.raises(Invalid, match="1 to 200"):
        store.create_team(given, "t", None, ACTOR, NOW_US)


def test_a_name_is_not_blank(store: Store) -> None:
    with pytest.raises(Invalid, match="name"):
        store.organizations.create("org_1", " ", ACTOR, NOW_US)
    with pytest.raises(Invalid, match="name"):
        store.create_team("team_1", "", None, ACTOR, NOW_US)
