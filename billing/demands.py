"""What the control plane demands of whatever is given to it: known fields, versions, ids and names. Pure."""

from collections.abc import Iterable
from typing import Final

from billing.refusals import Invalid, Stale

ID_CHARS_MAX: Final = 200


def demand_known(given: Iterable[str], known: frozenset[str]) -> None:
    for name in given:
        if name not in known:
            raise Invalid(f"{name!r} is not known here: use {', '.join(sorted(known))}")


def demand_version(present: int, expected: int | None) -> None:
    if expected is not None and expected != present:
        raise Stale(f"version {expected} was changed to {present} since: read it again")


def demand_id(what: str, given: str) -> None:
    if not 0 < len(given) <= ID_CHARS_MAX:
        raise Invalid(f"an id has 1 to {ID_CHARS_MAX} characters: give the {what} such a one")


def demand_name(what: str, given: str) -> None:
    if not given.strip():
        raise Invalid(f"a {what} needs a name: give it one that people know it by")
