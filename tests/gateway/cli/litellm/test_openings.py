"""Spend so far, shared out: every scope ends with what LiteLLM says, and nothing is counted that need not be."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.litellm.openings import Charge, KeySpend, MemberSpend, Opening, Spends, beyond, openings

IDS = ["a", "b"]
AMOUNTS = st.integers(0, 30)


@st.composite
def spends(draw: st.DrawFn) -> Spends:
    """Whatever the columns say: periods that began at different times make them disagree."""
    some = st.one_of(st.none(), st.sampled_from(IDS))
    keys = draw(st.lists(st.tuples(some, some, some, AMOUNTS), max_size=5))
    pairs = draw(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)), unique=True, max_size=4))
    scopes = st.tuples(st.sampled_from(["team", "user", "organization"]), st.sampled_from(IDS))
    return Spends(
        keys=[KeySpend(f"k{number}", *one) for number, one in enumerate(keys)],
        members=[MemberSpend(*pair, draw(AMOUNTS), draw(st.booleans())) for pair in pairs],
        scopes=draw(st.dictionaries(scopes, AMOUNTS, max_size=6)),
        bound=draw(st.sets(scopes, max_size=6)),
        team_organizations=draw(st.dictionaries(st.sampled_from(IDS), st.sampled_from(IDS), max_size=2)),
    )


def charged(found: tuple[Opening, ...], name: str) -> Counter[object]:
    sums: Counter[object] = Counter()
    for charge, amount in found:
        if getattr(charge, name) is not None:
            sums[getattr(charge, name)] += amount
    return +sums


@given(spends())
def test_a_scope_with_a_budget_is_charged_exactly_what_it_has_spent_and_others_at_least_that(
    given_spends: Spends,
) -> None:
    found, short = openings(given_spends)
    assert all(amount > 0 for _, amount in found)
    assert charged(found, "key_id") == +Counter({key.key_id: key.spent_nano_usd for key in given_spends.keys})
    for kind in ("team", "user", "organization"):
        sums = charged(found, f"{kind}_id")
        for one in IDS:
            spent = given_spends.scopes.get((kind, one), 0)
            assert sums[one] == spent if (kind, one) in given_spends.bound else sums[one] >= spent
    seats: Counter[tuple[str, str]] = Counter()
    for charge, amount in found:
        if charge.team_id is not None and charge.user_id is not None:
            seats[charge.team_id, charge.user_id] += amount
    for member in given_spends.members:
        if member.has_budget:
            seat = (member.team_id, member.user_id)
            assert seats[seat] + short.get(seat, 0) == member.spent_nano_usd


@given(spends())
def test_no_charge_comes_twice_so_each_has_an_id_of_its_own(given_spends: Spends) -> None:
    found, _ = openings(given_spends)
    assert len({charge for charge, _ in found}) == len(found)


@given(spends())
def test_what_was_charged_is_not_charged_again(given_spends: Spends) -> None:
    found, _ = openings(given_spends)
    assert openings(beyond(given_spends, found))[0] == ()


@given(spends(), spends())
def test_after_another_run_nobody_with_a_budget_is_charged_more_than_either_says(first: Spends, then: Spends) -> None:
    before, _ = openings(first)
    after, _ = openings(beyond(then, before))
    whole = (*before, *after)
    for kind in ("team", "user", "organization"):
        sums = charged(whole, f"{kind}_id")
        for one in IDS:
            if (kind, one) in first.bound & then.bound:
                spent = [spends.scopes.get((kind, one), 0) for spends in (first, then)]
                assert sums[one] == max(spent)


def test_what_agrees_is_counted_once() -> None:
    found, short = openings(
        Spends(
            keys=[KeySpend("k1", "t", "u", None, 60), KeySpend("k2", "t", None, None, 30)],
            members=[MemberSpend("t", "u", 70, has_budget=True)],
            scopes={("team", "t"): 110, ("user", "u"): 70, ("organization", "o"): 110},
            bound={("team", "t"), ("user", "u"), ("organization", "o")},
            team_organizations={"t": "o"},
        )
    )
    assert found == (
        (Charge("k1", "t", "u", "o"), 60),
        (Charge("k2", "t", None, "o"), 30),
        # A key that is gone, of the user in the team.
        (Charge(None, "t", "u", "o"), 10),
        # And one that was of the team alone.
        (Charge(None, "t", None, "o"), 10),
    )
    assert sum(amount for _, amount in found) == 110
    assert short == {}


def test_a_key_that_has_spent_longer_than_its_teams_month_charges_the_team_its_month_alone() -> None:
    found, _ = openings(Spends([KeySpend("k", "t", None, None, 50)], [], {("team", "t"): 5}, {("team", "t")}, {}))
    assert found == ((Charge("k", "t"), 5), (Charge("k"), 45))
