"""Which tags a request carries and may carry: what its key and its team fix, demand and allow. Pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from billing.keys import name_matches

ALLOWED_SHOWN_MAX: Final = 10


class TagNotAllowed(Exception):
    """A tag is missing, contradicts a fixed one, or has a value that is not among those allowed."""


class TagRules(NamedTuple):
    """Those of a key and its team together: both bind."""

    fixed: tuple[tuple[str, str], ...]
    required: tuple[str, ...]
    allowed: tuple[tuple[str, tuple[str, ...]], ...]  # a name may stand twice; a name not in it takes any value

    @property
    def any(self) -> bool:
        return bool(self.fixed or self.required or self.allowed)


def together(
    fixed: tuple[Mapping[str, str], Mapping[str, str]],
    required: tuple[tuple[str, ...], tuple[str, ...]],
    allowed: tuple[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]],
) -> TagRules:
    """Of a team and a key, in this order. Where both fix a tag, the team's value stands."""
    team_fixed, key_fixed = fixed
    return TagRules(
        tuple(sorted({**key_fixed, **team_fixed}.items())),
        tuple(sorted({*required[0], *required[1]})),
        (*sorted(allowed[0].items()), *sorted(allowed[1].items())),
    )


def tagged(rules: TagRules, tags: tuple[str, ...]) -> tuple[str, ...]:
    """The request's tags with the fixed ones, `NAME=VALUE` or plain, in one order. Raises `TagNotAllowed`."""
    fixed = dict(rules.fixed)
    given = [_parts(tag) for tag in tags]
    for name, value in given:
        if fixed.get(name, value) != value:
            raise TagNotAllowed(f"the tag {name!r} is fixed to {fixed[name]!r} for this key: leave it out")
    for name, values in rules.allowed:
        _demand_allowed(name, values, given)
    names = {*fixed, *(name for name, _ in given)}
    for name in rules.required:
        if name not in names:
            raise TagNotAllowed(f"this key must send the tag {name!r}: add it to x-turnpike-tags as {name}=VALUE")
    return tuple(sorted({*tags, *(f"{name}={value}" if value else name for name, value in rules.fixed)}))


def _demand_allowed(name: str, values: tuple[str, ...], given: list[tuple[str, str]]) -> None:
    for sent, value in given:
        if sent == name and not any(name_matches(pattern, value) for pattern in values):
            shown = ", ".join(values[:ALLOWED_SHOWN_MAX]) or "none"
            raise TagNotAllowed(f"the tag {name!r} may not be {value!r} here; allowed: {shown}")


def _parts(tag: str) -> tuple[str, str]:
    name, _, value = tag.partition("=")
    return name, value
