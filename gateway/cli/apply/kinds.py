"""The sections that a file for `turnpike apply` may have: by what a thing is known there, and what it may point at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

Fields: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    name: str  # of the section, and of the admin API's resource
    one: str
    label: tuple[str, ...]  # which fields name one to people; the first that it has
    # The fields by which one is recognised that the file gives no id: together they are no two things' at once.
    natural: tuple[str, ...]
    refers: Mapping[str, str] = field(default_factory=dict)  # a field -> the kind that it names one of
    # Those of them that the gateway takes as they are: an organization and a user may be kept elsewhere.
    loose: tuple[str, ...] = ()
    unset: Fields = field(default_factory=dict)  # what a field of those is where the file leaves it out
    mints_id: bool = False  # where the file gives no id, one is made of the name, the same at every run
    unread: tuple[str, ...] = ()  # fields that no answer shows, and that therefore count at the creation alone
    fixed: tuple[str, ...] = ()  # fields that say which one it is: with others it would be another

    @property
    def has_id(self) -> bool:
        return self.name not in {"members", "limits"}

    @property
    def has_version(self) -> bool:
        """Two who change one meanwhile are told; a member is there or is not, and a price is never changed."""
        return self.name not in {"members", "prices"}


_TEAM: Final = ("team_id", "teams")
_USER: Final = ("user_id", "users")
_ORGANIZATION: Final = ("organization_id", "organizations")

# In this order things are made; in the other they are removed.
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("organizations", "organization", ("name", "id"), ("name",), mints_id=True),
            Kind(
                "teams",
                "team",
                ("name", "id"),
                ("name",),
                dict([_ORGANIZATION]),
                loose=("organization_id",),
                mints_id=True,
            ),
            Kind("users", "user", ("email", "name", "id"), ("email",), dict([_ORGANIZATION]), mints_id=True),
            Kind("members", "member", ("user_id",), ("team_id", "user_id"), dict([_TEAM, _USER])),
            Kind(
                "keys",
                "key",
                ("name", "id"),
                ("name",),
                dict([_ORGANIZATION, _TEAM, _USER]),
                loose=("organization_id", "user_id"),
                mints_id=True,
                unread=("key", "key_sha256"),
                fixed=("organization_id",),
            ),
            Kind(
                "budgets",
                "budget",
                ("id",),
                ("scope", "window", "timezone"),
                unset={"window": "total", "timezone": "UTC"},
                fixed=("scope", "window", "timezone"),
            ),
            Kind("prices", "price", ("id",), ("provider", "model", "team_id", "effective_at"), dict([_TEAM])),
            Kind("limits", "limit", ("model",), ("model",)),
        )
    }
)

# What a budget's scope names one of, by its type; the others are no things that the gateway keeps.
SCOPE_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {"organization": "organizations", "team": "teams", "user": "users", "member": "users", "key": "keys"}
)
EACH: Final = "*"
