"""What a key may ask of its own usage: the report of `/admin/v1/usage`, kept to this key."""

from collections.abc import Mapping
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from billing.keys import Key
from billing.roles import Role
from gateway.admin.asked import TAG_PREFIX, Asked, advice, columns_of, known_timezone
from gateway.admin.instant import bound_at_us
from gateway.admin.rooms import AdminRooms
from gateway.admin.rules import Reach
from gateway.admin.sight import Sight
from gateway.admin.usage import report
from gateway.admin.usage_report import Span
from gateway.errors import BadRequest

COLUMNS = ("model", "provider", "day", "end_user")


def _own_columns(text: str) -> str:
    for column in columns_of(text):
        named_tag = column.startswith(TAG_PREFIX) and len(column) > len(TAG_PREFIX)
        if column not in COLUMNS and not named_tag:
            raise PydanticCustomError("unknown_column", "{hint}", {"hint": advice(column, (*COLUMNS, "tag:NAME"))})
    return text


class KeyUsageAsked(Asked):
    group_by: Annotated[str, Field(max_length=500), AfterValidator(_own_columns)] = ""
    from_: Annotated[str | None, Field(alias="from", max_length=40)] = None
    to: Annotated[str, Field(max_length=40)] | None = None
    timezone: Annotated[str, Field(max_length=60), AfterValidator(known_timezone)] = "UTC"


def key_usage(rooms: AdminRooms, key: Key, parameters: Mapping[str, str]) -> dict[str, Any]:
    try:
        asked = KeyUsageAsked.model_validate(dict(parameters))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or str(first.get("ctx", {}).get("field", ""))
        raise BadRequest(str(first["msg"]), param=name or None, code="invalid_value") from None
    zone = ZoneInfo(asked.timezone)
    span = Span(_bound("from", asked.from_, zone), _bound("to", asked.to, zone))
    # Everything is seen, and of that this key's alone.
    everybody = Sight(Role.OWNER, Reach.ORGANIZATION)
    rows = report(rooms, everybody, columns_of(asked.group_by), span, zone, {"key_id": key.id})
    return {"object": "list", "data": rows, "has_more": False, "next": None}


def _bound(name: str, text: str | None, zone: ZoneInfo) -> int | None:
    if text is None:
        return None
    try:
        return bound_at_us(text, zone)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name} is no time: {error}", param=name, code="invalid_value") from error
