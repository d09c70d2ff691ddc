"""What the commands that keep things have in common: how one is told, how a list is, and how `none` is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.cli.desk import Desk, NoSuchThing, find_id
from gateway.cli.tables import fields, json_text, listing_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.cli.situation import Situation

NONE: Final = "none"
EACH: Final = "*"


def tell(here: Situation, one: Mapping[str, Any]) -> None:
    print(json_text(one) if here.option("json") else fields(one))


def tell_all(here: Situation, found: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    print(listing_json(found) if here.option("json") else table(found, columns))


def tell_gone(here: Situation, one_id: str, answer: object = None) -> None:
    """A deletion answers nothing, or what there was."""
    said = answer if isinstance(answer, dict) else {"id": one_id, "deleted": True}
    print(json_text(said) if here.option("json") else f"deleted {one_id}")


def given(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}


def id_or_none(desk: Desk, kind: str, wanted: str) -> str | None:
    return None if wanted == NONE else find_id(desk, kind, wanted)


def meant_or_none(desk: Desk, kind: str, wanted: str) -> str | None:
    """As above, and what nobody is called is an id, of which the gateway says whether there is one."""
    try:
        return id_or_none(desk, kind, wanted)
    except NoSuchThing:
        return wanted


def id_or_each(desk: Desk, kind: str, wanted: str) -> str:
    return EACH if wanted == EACH else find_id(desk, kind, wanted)
