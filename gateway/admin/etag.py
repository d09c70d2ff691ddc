"""An entity tag is a row's version: whoever sends it back has seen exactly that state. Pure."""

from typing import Protocol

from gateway.admin.problem import Problem


class Versioned(Protocol):
    @property
    def version(self) -> int: ...


def etag_of(one: Versioned) -> str:
    return f'"v{one.version}"'


def version_seen(if_match: str | None, present: Versioned) -> int | None:
    """The version that must still be there when the change is written; None where nothing is demanded.

    `if-match` is no demand, but whoever sends it must not overwrite what he has not seen.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    if etag_of(present) not in {tag.strip() for tag in if_match.split(",")}:
        raise Problem("stale", "Somebody changed it since you read it: GET it again, and send that answer's `etag`.")
    return present.version
