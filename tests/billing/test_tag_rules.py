"""Tags that keys and teams fix, demand and limit."""

from __future__ import annotations

import pytest

from billing.tag_rules import TagNotAllowed, TagRules, tagged, together


def rules(
    team: dict[str, str] | None = None,
    key: dict[str, str] | None = None,
    required: tuple[str, ...] = (),
    team_allowed: dict[str, tuple[str, ...]] | None = None,
    key_allowed: dict[str, tuple[str, ...]] | None = None,
) -> TagRules:
    return together((team or {}, key or {}), (required, ()), (team_allowed or {}, key_allowed or {}))


def test_fixed_tags_are_added_and_the_teams_value_stands() -> None:
    assert tagged(rules({"env": "prod"}, {"env": "dev", "app": "x"}), ("feature=a",)) == (
        "app=x",
        "env=prod",
        "feature=a",
    )


def test_a_fixed_tag_without_a_value_is_the_plain_tag_that_requests_send() -> None:
    assert tagged(rules({"beta": ""}), ("beta",)) == ("beta",)


def test_a_fixed_tag_may_be_repeated_but_not_contradicted() -> None:
    fixed = rules({"env": "prod"})
    assert tagged(fixed, ("env=prod",)) == ("env=prod",)
    for sent in ("env=dev", "env", "env="):
        with pytest.raises(TagNotAllowed, match="fixed to 'prod'"):
            tagged(fixed, (sent,))


def test_a_demanded_tag_must_be_there_and_a_fixed_one_will_do() -> None:
    with pytest.raises(TagNotAllowed, match="'feature'"):
        tagged(rules(required=("feature",)), ("other=1",))
    assert tagged(rules(required=("feature",)), ("feature=x",)) == ("feature=x",)
    assert tagged(rules({"feature": "y"}, required=("feature",)), ()) == ("feature=y",)


@pytest.mark.parametrize(
    ("sent", "may"),
    [("feature=search", True), ("feature=chat-7", True), ("feature=ads", False), ("feature", False), ("other=x", True)],
)
def test_values_must_be_among_those_allowed(sent: str, *, may: bool) -> None:
    allowed = rules(team_allowed={"feature": ("search", "chat-*")})
    if may:
        assert tagged(allowed, (sent,)) == (sent,)
    else:
        with pytest.raises(TagNotAllowed, match="allowed: search, chat-"):
            tagged(allowed, (sent,))


def test_key_and_team_must_both_allow_a_value() -> None:
    both = rules(team_allowed={"feature": ("a", "b")}, key_allowed={"feature": ("b", "c")})
    assert tagged(both, ("feature=b",)) == ("feature=b",)
    for sent in ("feature=a", "feature=c"):
        with pytest.raises(TagNotAllowed):
            tagged(both, (sent,))


def test_each_value_of_a_tag_that_is_sent_twice_is_looked_at() -> None:
    with pytest.raises(TagNotAllowed):
        tagged(rules(team_allowed={"f": ("a",)}), ("f=a", "f=b"))


def test_no_value_at_all_may_be_allowed() -> None:
    with pytest.raises(TagNotAllowed, match="allowed: none"):
        tagged(rules(team_allowed={"f": ()}), ("f=a",))
