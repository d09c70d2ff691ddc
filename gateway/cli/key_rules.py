"""What a key and a team say of each request alike, as it is typed: models, limits, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.cli.limits import limits_of
from gateway.cli.refusal import Refused
from gateway.cli.said import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.cli.situation import Situation


def rules(here: Situation) -> dict[str, Any]:
    """Those that were given; one not given changes nothing."""
    change: dict[str, Any] = {}
    if (models := here.option("models")) is not None:
        change["models_allowed"] = words_of(models, "all")
    if (limits := here.option("limits")) is not None:
        change["limits"] = limits_of(limits)
    if (tags := here.option("tags")) is not None:
        change["tags"] = dict(_tag(text, "--tags feature=search,env=prod") for text in words_of(tags, NONE))
    if (required := here.option("tags_required")) is not None:
        change["tags_required"] = words_of(required, NONE)
    if (allowed := here.option("tags_allowed")) is not None:
        change["tags_allowed"] = _allowed(allowed)
    return change


def words_of(text: str, nothing: str) -> list[str]:
    return [] if text == nothing else [word.strip() for word in text.split(",") if word.strip()]


def _tag(text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise Refused(f"{text!r} is no tag: write {example}")
    return name.strip(), value.strip()


def _allowed(texts: Iterable[str]) -> dict[str, list[str]]:
    pairs = [_tag(text, "--tags-allowed 'env=prod|dev'") for text in texts if text != NONE]
    return {name: [value.strip() for value in values.split("|")] for name, values in pairs}
