"""An entity tag is a hash of what was shown: whoever sends it back has seen exactly that. Pure."""

import hashlib

from pydantic import BaseModel

from gateway.admin.problem import Problem


def etag_of(shown: BaseModel) -> str:
    return f'"{hashlib.sha256(shown.model_dump_json().encode()).hexdigest()[:24]}"'


def demand_fresh(if_match: str | None, shown: BaseModel) -> None:
    """`if-match` is no demand, but whoever sends it must not overwrite what he has not seen."""
    if if_match is None or if_match.strip() == "*":
        return
    sent = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    if etag_of(shown) not in sent:
        raise Problem("stale", "Somebody changed it since you read it: GET it again, and send that answer's `etag`.")
