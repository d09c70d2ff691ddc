"""What a field offers to choose from. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.admin.pages.scope_words import KINDS
from gateway.admin.pages.views import Names

Choices = Sequence[tuple[str, str]]

ROLES: Final[Choices] = (
    ("owner", "Owner: everything"),
    ("admin", "Admin: everything but owners"),
    ("billing", "Billing: budgets, prices, reports"),
    ("team_admin", "Team admin: their teams' keys and members, and these' budgets"),
    ("member", "Member: their own keys and usage"),
    ("viewer", "Viewer: reads everything, changes nothing"),
)
SCOPES: Final[Choices] = tuple(KINDS.items())
WINDOWS: Final[Choices] = (
    ("month", "Each month"),
    ("week", "Each week, from Monday"),
    ("day", "Each day"),
    ("hour", "Each hour"),
    ("total", "Once, in all"),
)
OVER_BUDGET: Final[Choices] = (
    ("", "As the configuration says"),
    ("reject", "Refuse requests"),
    ("downgrade", "Use the cheapest model allowed"),
)
OVERLAPS: Final[Choices] = (
    ("0", "End at once"),
    ("3600", "Go on for an hour"),
    ("86400", "Go on for a day"),
    ("604800", "Go on for a week"),
    ("2592000", "Go on for 30 days"),
)


def named(known: Mapping[str, str], nothing: str = "") -> Choices:
    """By name; ids tell apart who share one. `nothing` is what the empty choice is called."""
    twice = [name for name in known.values() if list(known.values()).count(name) > 1]
    rows = ((one, f"{name} ({one})" if name in twice else name) for one, name in known.items())
    choices = sorted(rows, key=lambda row: row[1].casefold())
    return [("", nothing), *choices] if nothing else choices


def scope_ids(names: Names) -> Choices:
    """Of every kind, for a field whose kind is chosen beside it."""
    kinds: Iterable[tuple[str, Mapping[str, str]]] = (
        ("organization", names.organizations),
        ("team", names.teams),
        ("user", names.users),
        ("key", names.keys),
    )
    return [
        ("*", "each of them separately"),
        *((one, f"{kind} {name}") for kind, of in kinds for one, name in of.items()),
    ]
