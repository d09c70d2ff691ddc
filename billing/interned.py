"""The accounts that entries name, as rows: cost accounts of whom and what was paid for, and what is owed. Pure."""

from typing import Any, Final, TypeVar

import msgspec

_json: Final = msgspec.json.Encoder(order="deterministic")
_Text = TypeVar("_Text", str, str | None)

# A cost account's dimensions: key, team, user, end user, provider, model, tags, organization.
CostDimensions = tuple[
    str | None, str | None, str | None, str | None, str | None, str | None, tuple[str, ...], str | None
]


def name_of(*parts: object) -> str:
    return _json.encode(parts).decode()


def cost_row(dimensions: CostDimensions) -> tuple[Any, ...]:
    """Without its id: name, side, key, team, user, end user, provider, model, organization."""
    return (name_of("cost", *dimensions), "cost", *map(storable, dimensions[:6]), storable(dimensions[7]))


def other_row(side: str, provider: str | None) -> tuple[Any, ...]:
    """The same of an account that is no cost: payable, suspense, memo, opening."""
    return (name_of(side, provider), side, None, None, None, None, provider, None, None)


def tags_of(dimensions: CostDimensions) -> dict[str, str]:
    return split_tags(tuple(map(storable, dimensions[6])))


def split_tags(tags: tuple[str, ...]) -> dict[str, str]:
    """`feature=search` by name; of two with the same name the first counts."""
    return {name: value for name, _, value in (tag.partition("=") for tag in reversed(tags))}


def storable(text: _Text) -> _Text:
    # PostgreSQL's text holds no NUL, and a caller's own words (tags, end users) may.
    return text.replace("\0", "\ufffd") if text else text
