"""Budgets as people keep them: made, changed, deleted, what is left of each, and what cannot be given."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from billing.audit import Actor
from billing.books import EntryKind
from billing.budget_store import STEPS, AccountState
from billing.budgets import OVER_BUDGET, Budget, rule_of
from billing.database import open_engine, writing
from billing.keys import Key, digest
from billing.migrating import migrate
from billing.queries import account_ids
from billing.refusals import AlreadyExists, Invalid, NotFound, Stale
from billing.scopes import SCOPE_TYPES, Account, Dimensions
from billing.store import Store
from billing.usage_span import QUARTER_US
from billing.windows import Window, span
from tests.billing.budget_rows import execute
from tests.billing.ledger_rows import query
from tests.billing.makers import AT_US, USAGE, hold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from billing.books import Books
    from billing.scopes import Rule
    from tests.billing.conftest import Opened

ACTOR = Actor("admin_key")
USD = 1_000_000_000
TEAM = Budget("b1", "team", "team_1", limit_nano_usd=5 * USD)
HOUR_US = 4 * QUARTER_US


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(Store(url)) as opened:
        opened.create_team("team_1", "t", None, ACTOR, AT_US)
        yield opened


def spend(books: Books, number: int, at_us: int, **other: Any) -> int:
    """As a request does: what it cost."""
    held = hold(number, opened_at_us=at_us, **other)
    books.reserve_and_dispatch(held)
    books.settle(held, USAGE, number, EntryKind.ACTUAL)
    books.flush()
    return number


def give_account(url: str, budget_id: str, subject: str, start_us: int, end_us: int | None, **other: int) -> None:
    given = {"limit_nano_usd": 5 * USD, "posted_nano_usd": 0, "pending_nano_usd": 0, **other}
    execute(
        url,
        "INSERT INTO budget_accounts (budget_id, subject, window_start_us, window_end_us, limit_nano_usd,"
        " posted_nano_usd, pending_nano_usd, contended_until_us)"
        f" VALUES ('{budget_id}', '{subject}', {start_us}, {'NULL' if end_us is None else end_us},"
        f" {given['limit_nano_usd']}, {given['posted_nano_usd']}, {given['pending_nano_usd']}, 0)",
    )


def give_lease(url: str, subject: str, boot_id: str, amount: int, open_: int, holds: int) -> None:
    execute(
        url,
        "INSERT INTO leases (account_id, journal, boot_id, amount_nano_usd, open_nano_usd, holds, serial, taken_at_us)"
        f" SELECT id, 'journal', '{boot_id}', {amount}, {open_}, {holds}, 1, {AT_US} FROM budget_accounts"
        f" WHERE subject = '{subject}'",
    )


def limits_in(url: str) -> list[tuple[int, int | None]]:
    found = query(url, "SELECT window_start_us, limit_nano_usd FROM budget_accounts ORDER BY window_start_us")
    return [(row[0], row[1]) for row in found]


def states(store: Store, budget_id: str, at_us: int) -> tuple[AccountState, ...]:
    return store.budgets.standings([budget_id], at_us, 9)[budget_id].accounts


def test_a_budget_is_made_found_changed_and_taken_away(store: Store) -> None:
    made = store.budgets.create(TEAM, ACTOR, AT_US)
    assert made == replace(TEAM, created_at_us=AT_US)
    assert store.budgets.get("b1") == made
    changes: dict[str, Any] = {"limit_nano_usd": 7 * USD, "soft_limit_nano_usd": 6 * USD, "over_budget": "downgrade"}
    changed = store.budgets.update("b1", changes, 1, ACTOR, AT_US)
    assert changed == replace(made, **changes, version=2)
    store.budgets.delete("b1", 2, ACTOR, AT_US)
    assert store.budgets.get("b1") is None
    assert store.budgets.list(9).data == ()
    assert store.budgets.standings(["b1"], AT_US, 9) == {}
    with pytest.raises(AlreadyExists, match="another id"):
        store.budgets.create(TEAM, ACTOR, AT_US)


def test_every_kind_of_budget_can_be_kept(store: Store) -> None:
    store.create_key(Key("key_1", "k", "tp-1", digest(b"1"), None, None, (), AT_US), ACTOR, AT_US)
    scopes = [
        *((kind, "*", None) for kind in SCOPE_TYPES),
        *[("organization", "org_1", None), ("team", "team_1", None), ("user", "user_1", None), ("key", "key_1", None)],
        *[("member", "user_1", "team_1"), ("member", "*", "team_1"), ("model", "gpt-*", "team_1")],
        *[("tag", "feature=search", None), ("tag", "feature=*", None), ("end_user", "u", None), ("model", "a/b", None)],
    ]
    for number, (kind, name, team_id) in enumerate(scopes):
        for over in (None, *OVER_BUDGET):
            budget = Budget(
                f"b{number}{over}", kind, name, team_id, USD, 0, [*Window][number % 5], "Asia/Kolkata", over
            )
            made = store.budgets.create(budget, ACTOR, AT_US)
            assert store.budgets.get(made.id) == replace(budget, created_at_us=AT_US)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"id": ""}, "1 to 200"),
        ({"scope_type": "planet"}, "organization, team, user, member, key, tag, model, end_user, provider"),
        ({"scope_id": ""}, "id of its team"),
        ({"scope_type": "tag", "scope_id": "feature"}, "NAME=VALUE"),
        ({"scope_type": "tag", "scope_id": "=x"}, "NAME=VALUE"),
        ({"scope_type": "tag", "scope_id": "x="}, "NAME=VALUE"),
        ({"scope_type": "member", "scope_id": "user_1"}, "say of which"),
        ({"scope_team_id": "team_1"}, "has no team"),
        ({"scope_type": "key", "scope_id": "*", "scope_team_id": "team_1"}, "has no team"),
        ({"limit_nano_usd": None}, "a limit, a soft limit, or both"),
        ({"limit_nano_usd": -1}, "0 to let nothing through"),
        ({"soft_limit_nano_usd": -1}, "0 to let nothing through"),
        ({"soft_limit_nano_usd": 5 * USD + 1}, "would never be told"),
        ({"limit_nano_usd": 2**63}, "give less"),
        ({"window": "fortnight"}, "total, hour, day, week, month"),
        ({"timezone": "Mars/Olympus"}, "Europe/Berlin"),
        ({"over_budget": "explode"}, "reject or downgrade"),
    ],
)
def test_what_cannot_be_is_said(store: Store, given: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        store.budgets.create(replace(TEAM, **given), ACTOR, AT_US)


def test_a_mistyped_id_does_not_bind_nothing_for_ever(store: Store) -> None:
    for scope in ({"scope_id": "team_9"}, {"scope_type": "member", "scope_id": "*", "scope_team_id": "team_9"}):
        with pytest.raises(NotFound, match="no team 'team_9'"):
            store.budgets.create(replace(TEAM, **scope), ACTOR, AT_US)  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="no key"):
        store.budgets.create(replace(TEAM, scope_type="key", scope_id="key_9"), ACTOR, AT_US)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window": "day"}, "window of a budget stays"),
        ({"scope_id": "team_2"}, "another budget"),
        ({"timezone": "Asia/Tokyo"}, "another budget"),
        ({"version": 3}, "'version'"),
        ({"limit_nano_usd": -1}, "0 to let nothing through"),
        ({"soft_limit_nano_usd": 6 * USD}, "would never be told"),
        ({"limit_nano_usd": None}, "or both"),
    ],
)
def test_a_change_that_cannot_be_is_refused(store: Store, changes: dict[str, Any], said: str) -> None:
    made = store.budgets.create(TEAM, ACTOR, AT_US)
    with pytest.raises(Invalid, match=said):
        store.budgets.update("b1", changes, None, ACTOR, AT_US)
    assert store.budgets.get("b1") == made


def test_a_stale_change_is_refused_and_what_does_not_exist_is_said_so(store: Store) -> None:
    for missing in (
        lambda: store.budgets.update("b1", {"limit_nano_usd": 1}, None, ACTOR, AT_US),
        lambda: store.budgets.delete("b1", None, ACTOR, AT_US),
        lambda: store.budgets.account("b1", "team_1", AT_US),
        lambda: store.budgets.history("b1", "team_1", 0, 1),
    ):
        with pytest.raises(NotFound, match="list them"):
            missing()
    store.budgets.create(TEAM, ACTOR, AT_US)
    with pytest.raises(Stale, match="read it again"):
        store.budgets.update("b1", {"limit_nano_usd": 1}, 2, ACTOR, AT_US)
    with pytest.raises(Stale, match="read it again"):
        store.budgets.delete("b1", 2, ACTOR, AT_US)


def test_budgets_are_listed_in_pages_and_by_scope(store: Store) -> None:
    for number in range(1, 5):
        kind = "model" if number % 2 else "user"
        store.budgets.create(Budget(f"b{number}", kind, f"x{number}", limit_nano_usd=1), ACTOR, AT_US)
    first = store.budgets.list(3)
    assert ([one.id for one in first.data], first.next) == (["b1", "b2", "b3"], "b3")
    assert [one.id for one in store.budgets.list(3, "b3").data] == ["b4"]
    assert [one.id for one in store.budgets.list(9, None, {"scope_type": "user"}).data] == ["b2", "b4"]
    found = store.budgets.list(9, None, {"scope_type": "user", "scope_id": "x4"}).data
    assert [one.id for one in found] == ["b4"]
    with pytest.raises(Invalid, match="colour"):
        store.budgets.list(9, None, {"colour": "red"})


def test_a_new_limit_holds_for_windows_that_are_not_over(url: str, store: Store) -> None:
    store.budgets.create(replace(TEAM, window=Window.DAY), ACTOR, AT_US)
    start_us, end_us = span(Window.DAY, "UTC", AT_US)
    assert end_us is not None
    give_account(url, "b1", "team_1", start_us - 24 * HOUR_US, start_us)
    give_account(url, "b1", "team_1", start_us, end_us)
    give_account(url, "b1", "team_1", end_us, end_us + 24 * HOUR_US)
    store.budgets.update("b1", {"limit_nano_usd": 3 * USD}, None, ACTOR, AT_US)
    assert [limit for _, limit in limits_in(url)] == [5 * USD, 3 * USD, 3 * USD]
    store.budgets.delete("b1", None, ACTOR, AT_US)
    assert [limit for _, limit in limits_in(url)] == [5 * USD, None, None]


def test_a_new_limit_holds_for_a_window_that_never_ends(url: str, store: Store) -> None:
    store.budgets.create(TEAM, ACTOR, AT_US)
    give_account(url, "b1", "team_1", 0, None)
    store.budgets.update("b1", {"limit_nano_usd": 3 * USD}, None, ACTOR, AT_US)
    assert limits_in(url) == [(0, 3 * USD)]
    store.budgets.update("b1", {"limit_nano_usd": None, "soft_limit_nano_usd": USD}, None, ACTOR, AT_US)
    assert limits_in(url) == [(0, None)]


def test_what_is_left_is_less_what_is_spent_and_what_is_in_flight_but_not_unused_leases(url: str, store: Store) -> None:
    made = store.budgets.create(TEAM, ACTOR, AT_US)
    give_account(url, "b1", "team_1", 0, None, posted_nano_usd=2 * USD, pending_nano_usd=2 * USD)
    give_lease(url, "team_1", "boot1", USD, USD // 2, 3)
    give_lease(url, "team_1", "boot2", USD, USD // 4, 1)
    (state,) = states(store, "b1", AT_US)
    assert (state.budget, state.subject, state.window_start_us, state.window_end_us) == (made, "team_1", 0, None)
    assert (state.limit_nano_usd, state.posted_nano_usd) == (5 * USD, 2 * USD)
    assert (state.pending_nano_usd, state.holds) == (USD * 3 // 4, 4)
    assert state.left_nano_usd == USD * 9 // 4
    assert store.budgets.account("b1", "team_1", AT_US) == state
    standing = store.budgets.standings(["b1"], AT_US, 0, {"boot1"})["b1"]
    assert (standing.accounts, standing.accounts_total, standing.posted_nano_usd) == ((), 1, 2 * USD)
    assert (standing.pending_nano_usd, standing.holds) == (USD // 4, 1)
    assert [(one.boot_id, one.amount_nano_usd, one.budget_id, one.subject) for one in store.leases()] == [
        ("boot1", USD, "b1", "team_1"),
        ("boot2", USD, "b1", "team_1"),
    ]


def test_without_a_limit_nothing_is_left_over(store: Store) -> None:
    store.budgets.create(replace(TEAM, limit_nano_usd=None, soft_limit_nano_usd=USD), ACTOR, AT_US)
    (state,) = states(store, "b1", AT_US)
    assert (state.limit_nano_usd, state.left_nano_usd) == (None, None)


def test_each_subject_of_a_budget_has_a_state_in_the_present_window_alone(url: str, store: Store) -> None:
    store.budgets.create(Budget("b1", "model", "*", limit_nano_usd=USD, window=Window.DAY), ACTOR, AT_US)
    start_us, end_us = span(Window.DAY, "UTC", AT_US)
    assert end_us is not None
    assert states(store, "b1", AT_US) == (), "no subject is known yet"
    give_account(url, "b1", "x", start_us, end_us)
    give_account(url, "b1", "y", start_us, end_us)
    give_account(url, "b1", "z", start_us - 24 * HOUR_US, start_us)
    assert [state.subject for state in states(store, "b1", AT_US)] == ["x", "y"]
    assert [state.subject for state in states(store, "b1", start_us)] == ["x", "y"]
    assert [state.subject for state in states(store, "b1", start_us - 1)] == ["z"]
    assert states(store, "b1", end_us) == ()


def test_of_many_subjects_the_dearest_are_read_and_the_others_counted(url: str, store: Store) -> None:
    store.budgets.create(Budget("b1", "model", "*", limit_nano_usd=USD, window=Window.DAY), ACTOR, AT_US)
    start_us, end_us = span(Window.DAY, "UTC", AT_US)
    for number in range(5):
        give_account(url, "b1", f"m{number}", start_us, end_us, posted_nano_usd=number)
        give_lease(url, f"m{number}", "boot1", 9, number, min(number, 1))
    standing = store.budgets.standings(["b1"], AT_US, 2)["b1"]
    assert [(one.subject, one.pending_nano_usd, one.holds) for one in standing.accounts] == [("m4", 4, 1), ("m3", 3, 1)]
    assert (standing.accounts_total, standing.posted_nano_usd) == (5, 10)
    assert (standing.pending_nano_usd, standing.holds) == (10, 4)
    assert (standing.window_start_us, standing.window_end_us) == (start_us, end_us)
    third = store.budgets.account("b1", "m2", AT_US)
    assert third is not None
    assert (third.posted_nano_usd, third.pending_nano_usd) == (2, 2)
    assert store.budgets.account("b1", "m9", AT_US) is None


def test_a_budget_made_late_knows_what_its_window_has_spent(url: str, store: Store, opened: Opened) -> None:
    day_us = span(Window.DAY, "UTC", AT_US)[0]
    with opened(url) as books:
        spent = spend(books, 1, day_us + 1)
        spend(books, 2, day_us - HOUR_US)
        spend(books, 3, day_us + 1, team_id="team_2")
    store.budgets.create(replace(TEAM, window=Window.DAY), ACTOR, AT_US)
    (state,) = states(store, "b1", AT_US)
    assert (state.subject, state.posted_nano_usd, state.pending_nano_usd) == ("team_1", spent, 0)
    assert (state.window_start_us, state.window_end_us) == span(Window.DAY, "UTC", AT_US)


def test_a_burn_down_counts_up_to_what_was_spent(url: str, store: Store, opened: Opened) -> None:
    store.budgets.create(TEAM, ACTOR, AT_US)
    day_us = span(Window.DAY, "UTC", AT_US)[0]
    with opened(url) as books:
        spend(books, 1, day_us - 1)
        spent = spend(books, 2, day_us + QUARTER_US)
        spent_late = spend(books, 3, day_us + 5 * QUARTER_US)
        spend(books, 4, day_us + QUARTER_US, team_id="team_2")
        spend(books, 5, day_us + 8 * QUARTER_US)
    points = store.budgets.history("b1", "team_1", day_us, day_us + 8 * QUARTER_US)
    assert [point.at_us for point in points] == [day_us + place * QUARTER_US for place in range(9)]
    both = spent + spent_late
    assert [point.posted_nano_usd for point in points] == [0, 0, spent, spent, spent, spent, both, both, both]


@pytest.mark.parametrize("step", STEPS)
def test_a_long_burn_down_has_wider_steps(store: Store, step: int) -> None:
    store.budgets.create(TEAM, ACTOR, AT_US)
    first = AT_US // QUARTER_US
    points = store.budgets.history("b1", "team_1", first * QUARTER_US, (first + 390 * step + 1) * QUARTER_US)
    assert points[1].at_us - points[0].at_us == step * QUARTER_US
    assert len(points) == 392
    assert points[-1].at_us == (first + 390 * step + 1) * QUARTER_US


def test_an_account_made_by_who_has_not_heard_of_a_new_limit_has_it_all_the_same(url: str, store: Store) -> None:
    stale = rule_of(store.budgets.create(TEAM, ACTOR, AT_US))
    store.budgets.update("b1", {"limit_nano_usd": USD}, None, ACTOR, AT_US)
    assert make_account(url, stale, "team_1") == USD
    store.budgets.delete("b1", None, ACTOR, AT_US)
    assert make_account(url, stale, "team_2") is None, "a budget that is gone binds nothing"


def test_a_new_limit_finds_the_account_that_is_being_made_meanwhile(empty_postgres_url: str) -> None:
    url = empty_postgres_url
    migrate(url)
    engine = writing(open_engine(url))
    with closing(Store(url)) as store, engine.connect() as tx:
        store.create_team("team_1", "t", None, ACTOR, AT_US)
        stale = rule_of(store.budgets.create(TEAM, ACTOR, AT_US))
        account_ids(tx, [(stale, Account("b1", "team_1", 0, None))])
        change = threading.Thread(target=store.budgets.update, args=("b1", {"limit_nano_usd": USD}, None, ACTOR, AT_US))
        change.start()
        change.join(0.3)
        assert change.is_alive(), "it waits for the account"
        tx.commit()
        change.join(30)
        assert limits_in(url) == [(0, USD)]
    engine.dispose()


def test_no_look_at_accounts_goes_through_all_of_them(sqlite_url: str) -> None:
    """However many subjects have been counted: each is found by an index."""
    with closing(Store(sqlite_url)) as store:
        made = store.budgets.create(Budget("b1", "key", "*", limit_nano_usd=USD, window=Window.DAY), ACTOR, AT_US)
        store.budgets.create(Budget("b2", "model", "*", limit_nano_usd=USD), ACTOR, AT_US)
        seen: list[tuple[str, Any]] = []

        def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            if "budget_accounts" in statement and statement.startswith("SELECT"):
                seen.append((statement, parameters))

        event.listen(store.engine, "before_cursor_execute", note)
        charge = Dimensions(None, None, None, "key_1", None, "p", "m", ())
        store.budgets.standings(["b1", "b2"], AT_US, 9, {"boot"})
        store.budgets.account("b1", "key_1", AT_US)
        store.budgets.binding([charge], AT_US)
        with store.engine.begin() as tx:
            start_us, end_us = span(Window.DAY, "UTC", AT_US)
            accounts = [Account("b1", f"key_{number}", start_us, end_us) for number in range(150)]
            account_ids(tx, [(rule_of(made), account) for account in accounts])
            asked = list(seen)
            plans = [tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given).all() for sql, given in asked]
    assert len(asked) >= 8
    steps = [str(row[3]) for plan in plans for row in plan]
    assert [step for step in steps if step.startswith("SCAN budget_accounts")] == []
    whole = "window_start_us=?"
    found = [step for step in steps if step.startswith("SEARCH budget_accounts") and "rowid" not in step]
    assert found
    assert [step for step in found if whole not in step] == []


def make_account(url: str, rule: Rule, subject: str) -> int | None:
    engine = writing(open_engine(url))
    with engine.begin() as tx:
        account_ids(tx, [(rule, Account(rule.id, subject, 0, None))])
    engine.dispose()
    ((limit,),) = query(url, f"SELECT limit_nano_usd FROM budget_accounts WHERE subject = '{subject}'")
    return None if limit is None else int(limit)
