"""What is seen, decided for one thing at a time: never another's, and never less for who sees everything."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from billing.roles import Role
from billing.scopes import SCOPE_TYPES
from gateway.admin.rules import BUDGETS_BELOW, Reach
from gateway.admin.sight import BLIND, Sight

IDS = st.sampled_from(["a", "b", "*"]) | st.none()
NAMES = st.sampled_from(["a", "b", "*"])


@given(st.sampled_from([Reach.GATEWAY, Reach.ORGANIZATION]), IDS, IDS, IDS, st.sampled_from(SCOPE_TYPES), NAMES)
def test_who_belongs_to_no_organization_and_reaches_that_far_sees_everything(
    reach: Reach, team: str | None, user: str | None, organization: str | None, scope: str, scope_id: str
) -> None:
    sight = Sight(Role.VIEWER, reach)
    assert sight.whole
    assert sight.team(team)
    assert sight.user(user)
    assert sight.key(team, user, organization)
    assert sight.budget(scope, scope_id, team)


@given(
    st.sampled_from([Reach.ORGANIZATION, Reach.TEAMS, Reach.OWN]),
    IDS,
    IDS,
    IDS,
    st.sampled_from(sorted(set(SCOPE_TYPES) - {"key"})),
    NAMES,
)
def test_nothing_of_anothers_is_ever_seen(
    reach: Reach, team: str | None, user: str | None, organization: str | None, scope: str, scope_id: str
) -> None:
    """One who knows nobody and nothing but himself, whatever his role's reach."""
    sight = Sight(Role.ADMIN, reach, "org_mine", "me")
    assert not sight.whole
    assert not sight.team(team)
    assert not sight.user(user)
    assert not sight.key(team, user, organization)
    assert not sight.budget(scope, scope_id, team)


def test_a_budget_of_each_of_everybodys_is_for_who_sees_everything() -> None:
    sight = Sight(Role.ADMIN, Reach.ORGANIZATION, "org", "me", frozenset({"team"}), frozenset({"me", "other"}))
    for scope in SCOPE_TYPES:
        if scope != "key":
            assert not sight.budget(scope, "*", None)
    assert sight.budget("member", "*", "team")
    assert sight.budget("model", "*", "team")
    assert sight.budget("organization", "org", None)


def test_a_member_looks_into_no_team() -> None:
    sight = Sight(Role.MEMBER, Reach.OWN, None, "me", frozenset({"team"}))
    assert sight.team("team")
    assert not sight.teams_of("team")
    assert not sight.budget("team", "team", None)
    assert sight.key("team", "me", None)
    assert not sight.key("team", "other", None)


def test_who_stands_above_a_budget() -> None:
    """Each reach above fewer scopes than the next wider one, and above none that is as wide as itself."""
    widths = [BUDGETS_BELOW[reach] for reach in Reach]
    assert all(narrower < wider for wider, narrower in itertools.pairwise(widths))
    assert BUDGETS_BELOW[Reach.GATEWAY] == set(SCOPE_TYPES)
    assert not Sight(Role.TEAM_ADMIN, Reach.TEAMS, None, "me", frozenset({"team"})).above("team")
    assert not Sight(Role.OWNER, Reach.ORGANIZATION, "org", "me").above("organization")
    assert Sight(Role.OWNER, Reach.ORGANIZATION).above("organization"), "of who belongs to none: everything"


def test_nobody_acts_for_more_than_himself() -> None:
    for role in Role:
        sight = Sight(role, Reach.OWN)
        assert {other for other in Role if sight.may_act_for(other)} == {
            Role.OWNER: set(Role),
            Role.ADMIN: set(Role) - {Role.OWNER},
            Role.TEAM_ADMIN: {Role.MEMBER, Role.VIEWER},
        }.get(role, set())


def test_before_anybody_was_asked_nothing_is_seen() -> None:
    assert not BLIND.whole
    assert not BLIND.key(None, None, None)
