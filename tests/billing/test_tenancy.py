"""A key and its team are merged once; what is changed counts from the next look on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from billing.keys import Key, may_use
from billing.limits import Limit, Limits, limits_of
from billing.tag_rules import TagNotAllowed
from billing.tenancy import TeamRules, Tenancy


def key(key_id: str = "k", team_id: str | None = "t", **more: object) -> Key:
    made = Key(key_id, "n", "tp-", b"d", team_id, None, (), 0)
    return replace(made, **more)  # type: ignore[arg-type]


def ids(tenancy: Tenancy, of: Key, *names: str) -> list[str]:
    return [subject.id for subject in tenancy.of(of).subjects(names)]


def test_a_key_without_any_limit_has_no_subjects() -> None:
    assert Tenancy([TeamRules("t")]).of(key()).subjects(("m",)) == ()
    assert Tenancy().of(key(team_id="unknown")).subjects(("m",)) == ()


def test_every_limit_that_binds_is_a_subject_of_its_own() -> None:
    limit = {"requests_per_minute": 1}
    rules = limits_of({**limit, "models": {"a/*": limit, "b": limit}})
    tenancy = Tenancy([TeamRules("t", limits=rules)], {"a/x": Limit(1), "*": Limit(2), "none": Limit()})
    of = key(limits={**limit, "models": {"a/x": limit}})
    assert ids(tenancy, of, "a/x") == ["key:k", "team:t", "key:k model:a/x", "team:t model:a/*", "model:*", "model:a/x"]
    assert ids(tenancy, of, "b") == ["key:k", "team:t", "team:t model:b", "model:*"]
    assert ids(tenancy, of, "a:x", "a/x")[2:] == ["key:k model:a/x", "team:t model:a/*", "model:*", "model:a/x"]


def test_the_configured_limits_are_each_keys_where_it_says_nothing() -> None:
    tenancy = Tenancy(defaults=Limit(60, None, 5))
    own = tenancy.of(key(limits={"concurrency_max": 2, "tokens_per_minute": 9})).subjects(("m",))
    assert [(subject.id, subject.limit) for subject in own] == [("key:k", Limit(60, 9, 2))]


def test_the_merging_happens_once_for_each_key_and_team() -> None:
    tenancy, of = Tenancy([TeamRules("t", organization_id="o")]), key()
    holder = tenancy.of(of)
    assert tenancy.of(of) is holder
    assert tenancy.of(holder.key) is holder
    assert holder.key.organization_id == "o"
    tenancy.replace([TeamRules("t", organization_id="o")], {})
    assert tenancy.of(of) is holder, "nothing has changed"
    tenancy.replace([TeamRules("t", organization_id="p")], {})
    assert tenancy.of(of).key.organization_id == "p"
    assert tenancy.of(key(organization_id="own")).key.organization_id == "own"


def test_two_secrets_of_a_key_that_rotates_are_both_good_for_what_they_are() -> None:
    tenancy = Tenancy()
    new = key()
    old = replace(new, expires_at_us=5)
    assert tenancy.of(old).key.expires_at_us == 5
    assert tenancy.of(new).key.expires_at_us is None


def test_a_team_narrows_what_its_keys_may_use() -> None:
    tenancy = Tenancy([TeamRules("t", models_allowed=("openai/*",))])
    free, bound = tenancy.of(key()).key, tenancy.of(key(models_allowed=("*/gpt-*", "lab/x"))).key
    assert may_use(free, "openai/o3")
    assert not may_use(free, "lab/x")
    assert may_use(bound, "openai/gpt-5")
    assert not may_use(bound, "openai/o3")
    assert not may_use(bound, "lab/x")
    assert may_use(tenancy.of(key(models_allowed=("openai:o3",))).key, "openai:o3", "openai/o3")


def test_tags_are_ruled_by_key_and_team() -> None:
    tenancy = Tenancy([TeamRules("t", tags={"env": "prod"}, tags_required=("feature",))])
    holder = tenancy.of(key(tags={"app": "x"}))
    assert holder.tagged(("feature=a",)) == ("app=x", "env=prod", "feature=a")
    with pytest.raises(TagNotAllowed):
        holder.tagged(())
    free = tenancy.of(key(team_id=None))
    assert free.tagged(("any=thing",)) == ("any=thing",)


def test_limits_of_a_team_are_one_count_for_all_its_keys() -> None:
    tenancy = Tenancy([TeamRules("t", limits=Limits(Limit(1)))])
    assert ids(tenancy, key("a"), "m") == ids(tenancy, key("b"), "m") == ["team:t"]


def test_teams_are_found_by_their_id() -> None:
    tenancy = Tenancy([TeamRules("t")])
    assert tenancy.team("t") == TeamRules("t")
    assert tenancy.team("none") is None
