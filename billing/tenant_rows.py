"""Teams and keys between their rows and what leaves the store: frozen values, and what the audit log tells of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from billing import queries
from billing.keys import Key

TEAM_RULES: Final = frozenset({"models_allowed", "limits", "tags", "tags_required", "tags_allowed"})
# What only the rows themselves need. A digest is no secret, but nobody who reads the log has a use for it.
_UNTOLD: Final = frozenset({"digest", "old_digest", "version", "created_at_us", "deleted_at_us"})

_IN_JSON: Final = TEAM_RULES | {"scopes"}
_json: Final = msgspec.json.Encoder()
_texts: Final = msgspec.json.Decoder(tuple[str, ...])
limits_in: Final = msgspec.json.Decoder(dict[str, object]).decode
_tags: Final = msgspec.json.Decoder(dict[str, str])
_tags_allowed: Final = msgspec.json.Decoder(dict[str, tuple[str, ...]])


@dataclass(frozen=True, slots=True)
class Team:
    """What it allows and fixes binds each of its keys, beside what the key itself says."""

    id: str
    name: str
    organization_id: str | None
    version: int
    created_at_us: int
    models_allowed: tuple[str, ...] = ()  # none means all
    limits: Mapping[str, object] = field(default_factory=dict)  # `billing.limits` reads it
    tags: Mapping[str, str] = field(default_factory=dict)
    tags_required: tuple[str, ...] = ()
    tags_allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def stored(name: str, value: object) -> object:
    return _json.encode(value).decode() if name in _IN_JSON else value


def team_values(team: Team) -> dict[str, object]:
    names = ("id", "name", "organization_id", "version", "created_at_us", *sorted(TEAM_RULES))
    return {name: stored(name, getattr(team, name)) for name in names}


def team_of(row: queries.Row) -> Team:
    given = dict(zip(queries.TEAM_COLUMNS, row, strict=True))
    return Team(
        given["id"],
        given["name"],
        given["organization_id"],
        given["version"],
        given["created_at_us"],
        _texts.decode(given["models_allowed"]),
        limits_in(given["limits"]),
        _tags.decode(given["tags"]),
        _texts.decode(given["tags_required"]),
        _tags_allowed.decode(given["tags_allowed"]),
    )


def team_told(team: Team) -> dict[str, Any]:
    """A team as the audit log has it."""
    return {name: getattr(team, name) for name in queries.TEAM_COLUMNS if name not in _UNTOLD}


def key_values(key: Key) -> dict[str, object]:
    return {name: stored(name, getattr(key, name)) for name in queries.KEY_COLUMNS}


def key_of(row: queries.Row) -> Key:
    given = dict(zip(queries.KEY_COLUMNS, row, strict=True))
    return Key(
        **{
            **given,
            "digest": bytes(given["digest"]),
            "old_digest": None if given["old_digest"] is None else bytes(given["old_digest"]),
            "models_allowed": _texts.decode(given["models_allowed"]),
            "scopes": _texts.decode(given["scopes"]),
            "limits": limits_in(given["limits"]),
            "tags": _tags.decode(given["tags"]),
            "tags_required": _texts.decode(given["tags_required"]),
            "tags_allowed": _tags_allowed.decode(given["tags_allowed"]),
        }
    )


def key_told(key: Key) -> dict[str, Any]:
    """A key as the audit log has it."""
    return {name: getattr(key, name) for name in queries.KEY_COLUMNS if name not in _UNTOLD}
